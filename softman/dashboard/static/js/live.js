// Live pages. The server says over an event stream that something changed; the page is then fetched again, and its
// parts marked data-region take the place of those shown. So there is one rendering, the server's. Where streams do
// not get through, the page asks every few seconds.
const POLL = 5;
const HIDDEN_POLL = 60;
const APART = 700;  // milliseconds between two fetches
const GIVE_UP = 3;  // failures in a row before polling begins

let latest = 0;

function swap(fresh) {
  for (const region of document.querySelectorAll("[data-region]")) {
    const name = region.dataset.region;
    const other = fresh.querySelector(`[data-region="${CSS.escape(name)}"]`);
    if (!other || region.innerHTML === other.innerHTML) continue;
    const focused = region.contains(document.activeElement) ? document.activeElement : null;
    const mark = focused && (focused.id ? `#${CSS.escape(focused.id)}` : focused.getAttribute("href") && `[href="${CSS.escape(focused.getAttribute("href"))}"]`);
    const open = [...region.querySelectorAll("details[id][open]")].map((each) => each.id);
    region.replaceChildren(...other.childNodes);
    for (const id of open) document.getElementById(id)?.setAttribute("open", "");
    if (mark) region.querySelector(mark)?.focus({ preventScroll: true });
  }
}

async function refresh() {
  const mine = ++latest;
  const answer = await fetch(location.href, { headers: { "X-Requested-With": "softman" }, cache: "no-store" });
  if (answer.redirected && new URL(answer.url).pathname === "/login") {
    location.reload(); // signed out meanwhile
    return;
  }
  if (!answer.ok) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  if (mine !== latest) return;
  const before = document.body.dataset.stage, now = fresh.body.dataset.stage;
  if (before !== now) location.reload(); // such as from being made to ready: another page altogether
  else swap(fresh);
  document.dispatchEvent(new CustomEvent("softman:refreshed"));
}

function calmly(task) { // not more often than APART, and never lost
  let timer = null, running = false, again = false;
  const run = async () => {
    timer = null;
    running = true;
    try { await task(); } catch { /* the next event or poll tries again */ }
    running = false;
    if (again) { again = false; timer = setTimeout(run, APART); }
  };
  return () => {
    if (running) again = true;
    else if (timer === null) timer = setTimeout(run, 30);
  };
}

export function startLive() {
  const address = document.body.dataset.live;
  if (!address) return;
  const update = calmly(refresh);
  const say = (state, text) => {
    for (const sign of document.querySelectorAll("[data-live-state]")) {
      sign.dataset.state = state;
      sign.textContent = text;
    }
  };
  let source = null, failures = 0, polling = null;
  const poll = () => {
    if (polling) return;
    say("polling", "Updates every few seconds");
    polling = setInterval(() => { if (!document.hidden) update(); }, POLL * 1000);
    setTimeout(() => { clearInterval(polling); polling = null; failures = 0; open(); }, HIDDEN_POLL * 1000);
  };
  const open = () => {
    source = new EventSource(address);
    source.addEventListener("open", () => { failures = 0; say("live", "Live"); });
    source.addEventListener("change", update);
    source.addEventListener("bye", () => { source.close(); update(); }); // signed out, or no longer allowed
    source.addEventListener("error", () => {
      failures += 1;
      if (source.readyState === EventSource.CLOSED || failures >= GIVE_UP) { source.close(); poll(); }
    });
  };
  open();
  addEventListener("pagehide", () => source.close());
  addEventListener("pageshow", (event) => { if (event.persisted) { open(); update(); } });
}
