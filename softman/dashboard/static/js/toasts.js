// Short messages that go by themselves. toast("Copied") shows one.
const SECONDS = 6;

function leave(element) {
  let timer = setTimeout(() => element.remove(), SECONDS * 1000);
  element.addEventListener("pointerenter", () => clearTimeout(timer));
  element.addEventListener("pointerleave", () => { timer = setTimeout(() => element.remove(), 1500); });
}

export function toast(title, text = "") {
  const place = document.querySelector(".toasts");
  if (!place) return;
  const element = document.createElement("div");
  element.className = "notice toast";
  element.append(document.createElement("span"), document.createElement("div"));
  const strong = document.createElement("strong");
  strong.textContent = title;
  element.lastChild.append(strong);
  if (text) {
    const paragraph = document.createElement("p");
    paragraph.textContent = text;
    element.lastChild.append(paragraph);
  }
  place.append(element);
  leave(element);
}

export function startToasts() {
  for (const element of document.querySelectorAll("[data-toast]")) leave(element);
  const url = new URL(location.href);
  if (url.searchParams.has("said")) { // a reload shall not say it again
    url.searchParams.delete("said");
    history.replaceState(history.state, "", url);
  }
}
