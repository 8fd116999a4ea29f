// What an upload looks like. Rows are made once and changed in place; of very many files the first are shown.
const ROWS = 200;
const UNITS = ["B", "KB", "MB", "GB", "TB"];
const STATES = {
  waiting: "Waiting",
  running: "Uploading",
  stored: "Uploaded, being published",
  published: "Published",
  refused: "Not published",
  failed: "Failed",
  cancelled: "Cancelled",
};
const RANK = { failed: 0, refused: 0, running: 1, waiting: 2, stored: 3, published: 4, cancelled: 5 };

export function size(bytes) {
  let at = 0, value = bytes;
  while (value >= 1000 && at < UNITS.length - 1) { value /= 1000; at += 1; }
  return `${at && value < 10 ? value.toFixed(1) : Math.round(value)} ${UNITS[at]}`;
}

export function count(number, one, many = `${one}s`) {
  return `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
}

export function time(seconds) {
  if (!Number.isFinite(seconds)) return "";
  if (seconds < 60) return `about ${Math.max(1, Math.round(seconds))} s left`;
  if (seconds < 3600) return `about ${Math.round(seconds / 60)} min left`;
  return `about ${(seconds / 3600).toFixed(1)} h left`;
}

export function make(tag, { text, ...attributes } = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name === "className" ? "class" : name, value);
  if (text !== undefined) element.textContent = text;
  element.append(...children);
  return element;
}

export class Rows {
  constructor(list, more, retry) {
    this.list = list;
    this.more = more;
    this.retry = retry;
    this.rows = new Map();
    this.dirty = new Set();
    this.items = [];
    this.frame = 0;
  }

  add(items) {
    this.items.push(...items);
    for (const item of items) {
      if (this.rows.size >= ROWS) break;
      this._make(item);
    }
    this._count();
  }

  changed(item) {
    this.dirty.add(item);
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      for (const each of this.dirty) {
        if (!this.rows.has(each) && RANK[each.state] === 0) this._make(each); // what went wrong is always shown
        if (this.rows.has(each)) this._draw(each);
      }
      this.dirty.clear();
      this._count();
    });
  }

  clear() {
    this.rows.clear();
    this.items = [];
    this.list.replaceChildren();
    this._count();
  }

  _make(item) {
    const parts = {
      row: make("li", { className: "transfer" }),
      name: make("bdi", { text: item.path }),
      size: make("span", { className: "muted num small", text: size(item.size) }),
      bar: make("progress", { max: Math.max(1, item.size), value: 0, "aria-label": `Progress of ${item.path}` }),
      state: make("span", { className: "transfer-state small" }),
      again: make("button", { type: "button", className: "button button-small", text: "Try again", "aria-label": `Try ${item.path} again` }),
    };
    parts.again.addEventListener("click", () => this.retry(item));
    parts.row.append(make("div", { className: "transfer-name" }, parts.name, parts.size), parts.state, parts.again, parts.bar);
    this.rows.set(item, parts);
    this.list.append(parts.row);
    this._draw(item);
  }

  _draw(item) {
    const { row, bar, state, again } = this.rows.get(item);
    row.dataset.state = item.state;
    bar.value = item.size ? item.loaded : Number(["stored", "published"].includes(item.state));
    bar.hidden = !["running", "waiting"].includes(item.state);
    again.hidden = item.state !== "failed";
    const percent = item.size ? Math.floor(100 * item.loaded / item.size) : 0;
    state.textContent = STATES[item.state] + (item.state === "running" && item.size ? ` ${percent} %` : "") + (item.error ? `: ${item.error}` : "");
  }

  _count() {
    const hidden = this.items.length - this.rows.size;
    this.more.hidden = hidden <= 0;
    this.more.textContent = hidden > 0 ? `and ${count(hidden, "more file")}` : "";
  }
}

// Numbers for all files: how far, how fast, how long still.
export class Rate {
  constructor() {
    this.samples = [];
  }

  add(bytes) {
    const now = performance.now();
    if (this.samples.length && now - this.samples.at(-1)[0] < 250) return;
    this.samples.push([now, bytes]);
    while (this.samples.length > 2 && now - this.samples[0][0] > 8000) this.samples.shift();
  }

  get perSecond() {
    if (this.samples.length < 2) return 0;
    const [from, to] = [this.samples[0], this.samples.at(-1)];
    return Math.max(0, (to[1] - from[1]) * 1000 / (to[0] - from[0]));
  }

  reset() {
    this.samples = [];
  }
}

export function listOf(paths, reasons = null) {
  const shown = paths.slice(0, 50).map((path) => make("li", {}, make("bdi", { text: path }), ...(reasons?.[path] ? [make("span", { className: "muted", text: ` – ${reasons[path]}` })] : [])));
  if (paths.length > 50) shown.push(make("li", { className: "muted", text: `and ${count(paths.length - 50, "more")}` }));
  return make("ul", { className: "plainlist small" }, ...shown);
}
