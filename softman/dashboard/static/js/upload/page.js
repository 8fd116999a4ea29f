// The tab "Upload": from what is dropped or chosen, over what would become of it, to what is published.
import { chosen, dropped, folder } from "./files.js";
import { Memory } from "./memory.js";
import { Server } from "./server.js";
import { Transfer } from "./transfer.js";
import { Rate, Rows, count, listOf, make, size, time } from "./view.js";

const PLANNED = 500; // files that are asked after with one question
const place = document.getElementById("uploader");
if (place) start(place);

function start(place) {
  const part = (name) => place.querySelector(`[data-part="${name}"]`);
  const server = new Server(place.dataset.home);
  const memory = new Memory(place.dataset.repository);
  const rows = new Rows(part("list"), part("more"), (item) => transfer.again(item));
  const rate = new Rate();
  const transfer = new Transfer(server, memory, (item) => { rows.changed(item); summary(); });
  let planned = null, timer = 0, said = "";

  const say = (text) => {
    if (text !== said) part("status").textContent = said = text;
  };
  const fail = (title, text) => {
    part("problem").replaceChildren(make("strong", { text: title }), make("p", { text }));
    part("problem-box").hidden = false;
  };

  async function take(found) {
    part("problem-box").hidden = true;
    if (!found.length) return;
    const most = Number(place.dataset.most);
    if (found.length > most) {
      fail("These are too many files at once", `${count(found.length, "file")} were given; this page takes ${count(most, "file")} at a time. A program such as rclone does it better, see below.`);
      return;
    }
    const into = folder(part("folder").value);
    const items = found.map(({ path, file }) => ({
      path: memory.byFile(file)?.path ?? (into ? `${into}/${path}` : path),
      file, size: file.size, loaded: 0, arrived: 0, sent: new Map(), state: "waiting", error: "",
    }));
    say(`Looking at ${count(items.length, "file")}`);
    part("drop").setAttribute("aria-busy", "true");
    try {
      planned = await plan(items);
    } catch (error) {
      fail("This cannot be looked at now", error.message);
      say("");
      return;
    } finally {
      part("drop").removeAttribute("aria-busy");
    }
    if (planned.refused.length || planned.replaces.length || planned.tooMuch) review();
    else go();
  }

  async function plan(items) {
    const all = { items: [], refused: [], reasons: {}, replaces: [], bytesLeft: null, tooMuch: "" };
    for (let at = 0; at < items.length; at += PLANNED) {
      const some = items.slice(at, at + PLANNED);
      const answer = await server.ask("plan", { files: some.map(({ path, size, file }) => ({ path, size, mtime: file.lastModified / 1000 })) });
      some.forEach((item, index) => {
        const said = answer.files[index];
        if (said.reason !== null) {
          all.refused.push(item.path);
          all.reasons[item.path] = said.reason;
          return;
        }
        if (said.replaces !== null) all.replaces.push(item.path);
        all.items.push(Object.assign(item, { part: said.part, kind: said.kind }));
      });
      all.bytesLeft = answer.bytes_left;
      all.entriesLeft = answer.entries_left;
    }
    const bytes = all.items.reduce((sum, item) => sum + item.size, 0);
    if (all.bytesLeft !== null && bytes > all.bytesLeft) all.tooMuch = `They have ${size(bytes)}; the repository has room for ${size(all.bytesLeft)} more.`;
    else if (all.entriesLeft !== null && all.items.length > all.entriesLeft) all.tooMuch = `The repository has room for ${count(all.entriesLeft, "more file", "more files")}.`;
    return all;
  }

  function review() {
    const { items, refused, reasons, replaces, tooMuch } = planned;
    const box = part("review-body");
    box.replaceChildren();
    const block = (kind, title, ...more) => box.append(make("div", { className: `notice notice-${kind} notice-plain` }, make("div", {}, make("strong", { text: title }), ...more)));
    if (tooMuch) block("warn", "This is more than the quota allows", make("p", { text: `${tooMuch} What does not fit will not be published.` }));
    if (refused.length) block("bad", `${count(refused.length, "file")} cannot be published and will be left out`, listOf(refused, reasons));
    if (replaces.length) block("warn", `${count(replaces.length, "file")} will be replaced`, listOf(replaces));
    const sum = items.reduce((all, item) => all + item.size, 0);
    part("review-go").textContent = items.length ? `Upload ${count(items.length, "file")}, ${size(sum)}` : "Upload";
    part("review-go").hidden = !items.length;
    part("review").hidden = false;
    part("drop").hidden = true;
    say("");
    part("review-title").focus();
  }

  function go() {
    const { items } = planned;
    planned = null;
    part("review").hidden = true;
    part("drop").hidden = false;
    part("progress").hidden = false;
    rate.reset();
    rows.add(items);
    transfer.add(items);
    interrupted();
    summary();
    part("pause").focus({ preventScroll: true });
  }

  function summary() {
    timer ||= setTimeout(() => { timer = 0; draw(); }, 120);
  }

  function draw() {
    const items = transfer.items.filter((item) => item.state !== "cancelled");
    const of = (...states) => items.filter((item) => states.includes(item.state));
    const all = items.reduce((sum, item) => sum + item.size, 0);
    const done = items.reduce((sum, item) => sum + Math.min(item.loaded, item.size), 0);
    const stored = of("stored", "published", "refused").length, published = of("published").length, wrong = of("failed", "refused").length;
    rate.add(done);
    part("bar").max = Math.max(1, all);
    part("bar").value = all ? done : Number(stored === items.length);
    const active = transfer.active;
    part("headline").textContent = headline(items.length, stored, published, wrong, active);
    const speed = rate.perSecond;
    part("numbers").textContent = [
      `${size(done)} of ${size(all)}`,
      active && !transfer.paused && speed > 0 ? `${size(speed)}/s` : "",
      active && !transfer.paused && speed > 0 ? time((all - done) / speed) : "",
    ].filter(Boolean).join(" · ");
    part("pause").hidden = part("cancel").hidden = !active;
    part("pause").textContent = transfer.paused ? "Go on" : "Pause";
    part("clear").hidden = active || of("stored").length > 0;
    place.dataset.state = active ? "active" : published === items.length ? "published" : "idle";
    if (!active) say(part("headline").textContent);
    else if (transfer.paused) say("Paused");
    else say(`Uploading ${count(items.length, "file")}`);
  }

  function headline(all, stored, published, wrong, active) {
    if (transfer.paused) return `Paused: ${stored} of ${count(all, "file")} uploaded`;
    if (active) return `Uploading: ${stored} of ${count(all, "file")}`;
    if (!all) return "Cancelled";
    if (wrong) return `${count(published, "file")} published, ${wrong} not`;
    if (published === all) return all === 1 ? "Published" : `All ${count(all, "file")} published`;
    return `Uploaded; ${published} of ${count(all, "file")} published`;
  }

  // What a reload or a closed page interrupted.
  function interrupted() {
    const under = new Set(transfer.items.map((item) => item.upload));
    const left = memory.all().filter((each) => !under.has(each.upload) && !transfer.items.some((item) => item.path === each.path));
    part("interrupted").hidden = !left.length;
    part("interrupted-list").replaceChildren(listOf(left.map((each) => `${each.path} (${size(each.size)})`)));
  }

  async function forgetInterrupted() {
    const left = memory.all();
    for (const each of left) memory.forget(each.upload);
    interrupted();
    await Promise.allSettled(left.map(({ path, size, modified, upload }) => server.ask("abort", { file: { path, size, mtime: modified / 1000 }, upload })));
  }

  const choose = (name) => {
    const input = part(name);
    input.addEventListener("change", async () => {
      const found = chosen(input);
      input.value = "";
      await take(found);
    });
    part(`${name}-button`).addEventListener("click", () => input.click());
  };
  choose("files");
  choose("folders");

  const zone = part("drop");
  let depth = 0;
  const over = (on) => zone.classList.toggle("over", on);
  zone.addEventListener("dragenter", (event) => { event.preventDefault(); depth += 1; over(true); });
  zone.addEventListener("dragleave", () => { depth -= 1; over(depth > 0); });
  zone.addEventListener("dragover", (event) => event.preventDefault());
  zone.addEventListener("drop", async (event) => {
    event.preventDefault();
    depth = 0;
    over(false);
    try {
      await take(await dropped(event.dataTransfer));
    } catch (error) {
      fail("This cannot be read", error.message || "The browser does not give what was dropped.");
    }
  });
  for (const name of ["dragover", "drop"]) addEventListener(name, (event) => { if (!zone.contains(event.target)) event.preventDefault(); });

  part("review-go").addEventListener("click", go);
  part("review-back").addEventListener("click", () => {
    planned = null;
    part("review").hidden = true;
    zone.hidden = false;
    part("files-button").focus();
  });
  part("pause").addEventListener("click", () => {
    if (transfer.paused) transfer.resume();
    else transfer.pause();
    rate.reset();
    draw();
  });
  part("cancel").addEventListener("click", async () => {
    await transfer.cancel();
    draw();
  });
  part("clear").addEventListener("click", () => {
    transfer.items = [];
    rows.clear();
    part("progress").hidden = true;
    part("files-button").focus();
  });
  part("forget").addEventListener("click", forgetInterrupted);
  addEventListener("beforeunload", (event) => { if (transfer.active) event.preventDefault(); });
  interrupted();
  place.dataset.ready = "yes";
}
