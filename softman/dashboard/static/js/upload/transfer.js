// Moves files: several requests at once, again with back-off when one fails, with pause, cancel and going on.
import { Refused, backoff, put, sleep } from "./server.js";

const PARALLEL = 6;   // requests to the object store at the same time; browsers make no more to one host
const FILES = 6;      // files under way
const WINDOW = 4;     // parts of one file under way
const SIGNED = 50;    // small files that are signed with one question
const TRIES = 8;
const FOLLOWED = 400; // files that are asked after with one question

class Places { // a counting semaphore
  constructor(free) {
    this.free = free;
    this.waiting = [];
  }

  async take() {
    if (this.free > 0) this.free -= 1;
    else await new Promise((resolve) => this.waiting.push(resolve));
  }

  give() {
    const next = this.waiting.shift();
    if (next) next();
    else this.free += 1;
  }
}

export class Transfer {
  // changed(item) is called when something about a file is to be shown anew.
  constructor(server, memory, changed) {
    this.server = server;
    this.memory = memory;
    this.changed = changed;
    this.items = [];
    this.places = new Places(PARALLEL);
    this.running = 0;
    this.paused = false;
    this.resumed = null;
    this.stop = new AbortController();
    this.toSign = [];
    this.signing = null;
    this.following = false;
    addEventListener("online", () => this.wake?.());
  }

  add(items) {
    this.items.push(...items);
    this._fill();
  }

  get active() {
    return this.items.some((item) => item.state === "waiting" || item.state === "running");
  }

  pause() {
    if (this.paused) return;
    this.paused = true;
    this.gate = new Promise((resolve) => { this.resumed = resolve; });
    this.stop.abort();
  }

  resume() {
    if (!this.paused) return;
    this.paused = false;
    this.stop = new AbortController();
    this.resumed();
    this._fill();
  }

  async cancel() {
    const left = this.items.filter((item) => item.state === "waiting" || item.state === "running");
    for (const item of left) this._set(item, "cancelled");
    this.stop.abort();
    this.stop = new AbortController();
    if (this.paused) { this.paused = false; this.resumed(); }
    await Promise.allSettled(left.filter((item) => item.upload).map((item) => this.forget(item)));
  }

  async forget(item) {
    this.memory.forget(item.upload);
    await this.server.ask("abort", { file: about(item), upload: item.upload });
  }

  again(item) {
    this._set(item, "waiting");
    this._fill();
  }

  _set(item, state, error = "") {
    item.state = state;
    item.error = error;
    this.changed(item);
  }

  _fill() {
    if (this.paused) return;
    while (this.running < FILES) {
      const item = this.items.find((each) => each.state === "waiting");
      if (!item) break;
      this.running += 1;
      item.run = (item.run ?? 0) + 1;
      this._set(item, "running");
      this._one(item).finally(() => { this.running -= 1; this._fill(); });
    }
  }

  async _one(item) {
    try {
      item.etag = item.part ? await this._inParts(item) : await this._atOnce(item);
      if (item.state === "cancelled") return;
      item.loaded = item.size;
      item.storedAt = Date.now();
      this._set(item, "stored");
      this._follow();
    } catch (error) {
      if (item.state !== "running") return;
      this._set(item, "failed", error instanceof Refused ? error.message : "the browser cannot read it any more");
    }
  }

  // Do something until it works. Questions that a pause stopped are asked again afterwards.
  async _persist(item, act) {
    const { run } = item;
    for (let attempt = 0; ; attempt += 1) {
      if (this.paused) await this.gate;
      if (item.state !== "running" || item.run !== run) throw new DOMException("stopped", "AbortError");
      const { signal } = this.stop;
      try {
        return await act(signal);
      } catch (error) {
        if (error.name === "AbortError") {
          attempt -= 1; // paused, or cancelled: see above
        } else if (!(error instanceof Refused) || error.final || [401, 422].includes(error.status) || attempt + 1 >= TRIES) {
          throw error;
        } else {
          await Promise.race([sleep(backoff(attempt)), new Promise((resolve) => { this.wake = resolve; })]);
        }
      }
    }
  }

  _atOnce(item) {
    return this._persist(item, async (signal) => {
      const request = await this._sign(item);
      await this.places.take();
      try {
        return await put(request, item.file.slice(0, item.size), (bytes) => this._loaded(item, 0, bytes), signal);
      } finally {
        item.sent.clear();
        this.places.give();
      }
    });
  }

  // Small files that come together are signed together.
  _sign(item) {
    return new Promise((resolve, reject) => {
      this.toSign.push({ item, resolve, reject });
      this.signing ??= setTimeout(() => this._signMany(), 15);
    });
  }

  async _signMany() {
    const wanted = this.toSign.splice(0, SIGNED);
    this.signing = this.toSign.length ? setTimeout(() => this._signMany(), 0) : null;
    try {
      const { requests } = await this.server.ask("sign", { files: wanted.map(({ item }) => about(item)) });
      wanted.forEach(({ resolve, reject }, at) => {
        if (requests[at].reason) reject(Object.assign(new Refused(422, requests[at].reason), { final: true }));
        else resolve(requests[at]);
      });
    } catch (error) {
      for (const { reject } of wanted) reject(Object.assign(error, { final: true }));
    }
  }

  async _inParts(item) {
    const done = await this._begun(item);
    const count = Math.ceil(item.size / item.part);
    const left = Array.from({ length: count }, (_, at) => at + 1).filter((number) => !done.has(number));
    item.loaded = item.arrived = [...done].reduce((sum, number) => sum + partSize(item, number), 0);
    this.changed(item);
    const lanes = Array.from({ length: Math.min(WINDOW, left.length) }, async () => {
      for (let number = left.shift(); number; number = left.shift()) await this._part(item, number);
    });
    await Promise.all(lanes);
    const { etag } = await this._persist(item, (signal) => this.server.ask("complete", { file: about(item), upload: item.upload }, { signal }));
    this.memory.forget(item.upload);
    return etag;
  }

  // The parts that are there already, of an upload that began before or begins now.
  async _begun(item) {
    const known = item.upload ?? this.memory.of(item.file, item.path)?.upload;
    if (known) {
      try {
        const { numbers } = await this._persist(item, (signal) => this.server.ask("parts", { file: about(item), upload: known }, { signal }));
        item.upload = known;
        return new Set(numbers);
      } catch (error) {
        if (error.status !== 404) throw error;
        this.memory.forget(known);
      }
    }
    const { upload } = await this._persist(item, (signal) => this.server.ask("begin", { file: about(item) }, { signal }));
    item.upload = upload;
    this.memory.add(item);
    return new Set();
  }

  _part(item, number) {
    const size = partSize(item, number), from = (number - 1) * item.part;
    return this._persist(item, async (signal) => {
      await this.places.take();
      try {
        const { requests } = await this.server.ask("parts/sign", { file: about(item), upload: item.upload, numbers: [number] }, { signal });
        await put(requests[number], item.file.slice(from, from + size), (bytes) => this._loaded(item, number, bytes), signal);
        item.arrived += size;
      } finally {
        item.sent.delete(number);
        this.places.give();
      }
    });
  }

  _loaded(item, number, bytes) {
    item.sent.set(number, bytes);
    item.loaded = Math.min(item.size, item.arrived + [...item.sent.values()].reduce((sum, each) => sum + each, 0));
    this.changed(item);
  }

  // Ask until everything that arrived is published or refused.
  async _follow() {
    if (this.following) return;
    this.following = true;
    for (let round = 0; ; round += 1) {
      await sleep(Math.min(10000, 700 * 1.25 ** round));
      const stored = this.items.filter((item) => item.state === "stored" && item.etag);
      if (!stored.length && !this.active) break;
      const asked = stored.slice(0, FOLLOWED);
      if (!asked.length || document.hidden && round % 4) continue;
      try {
        const answer = await this.server.ask("followed", { etags: Object.fromEntries(asked.map((item) => [item.path, item.etag])) }, { tries: 1 });
        const published = new Set(answer.published);
        for (const item of asked) {
          if (published.has(item.path)) this._set(item, "published");
          else if (item.path in answer.refused) this._set(item, "refused", answer.refused[item.path]);
        }
        if (published.size) round = 0;
      } catch (error) {
        if ([401, 403, 404].includes(error.status)) break;
      }
    }
    this.following = false;
  }
}

export function about(item) {
  return { path: item.path, size: item.size, mtime: item.file.lastModified / 1000 };
}

function partSize(item, number) {
  return Math.min(item.part, item.size - (number - 1) * item.part);
}
