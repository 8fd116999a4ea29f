// The dashboard's side of an upload: small JSON questions. The bytes go to the object store.
const TRIES = 6;

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
export const backoff = (attempt) => Math.min(20000, 400 * 2 ** attempt) * (0.5 + Math.random() / 2);

export class Server {
  constructor(home) {
    this.home = home;
    this.token = document.querySelector('meta[name="csrf-token"]').content;
  }

  // Ask, and again when the network or the server is away for a moment.
  async ask(what, body, { signal, tries = TRIES } = {}) {
    for (let attempt = 0; ; attempt += 1) {
      let answer = null;
      try {
        answer = await fetch(`${this.home}/upload/${what}`, {
          method: "POST",
          headers: { "Content-Type": "application/json", Accept: "application/json", "X-CSRF-Token": this.token },
          body: JSON.stringify(body),
          redirect: "manual",
          signal,
        });
      } catch (error) {
        if (error.name === "AbortError" || attempt + 1 >= tries) throw error;
      }
      if (answer?.ok) return answer.status === 204 ? null : answer.json();
      if (answer && answer.status !== 429 && answer.status < 500) {
        if (answer.type === "opaqueredirect" || answer.status === 401) throw new Refused(401, "You are signed out. Load this page again; what has arrived stays.");
        throw new Refused(answer.status, await reason(answer));
      }
      if (attempt + 1 >= tries) throw new Refused(answer?.status ?? 0, answer ? await reason(answer) : "The dashboard does not answer.");
      await sleep(Math.max(backoff(attempt), 1000 * (Number(answer?.headers.get("Retry-After")) || 0)));
    }
  }
}

async function reason(answer) {
  try {
    return (await answer.json()).detail || answer.statusText;
  } catch {
    return answer.statusText || `status ${answer.status}`;
  }
}

// One PUT to the object store; resolves to its ETag. Progress is told in bytes.
export function put(request, blob, progress, signal) {
  return new Promise((resolve, reject) => {
    const sending = new XMLHttpRequest();
    const stop = () => sending.abort();
    const done = (act) => { signal?.removeEventListener("abort", stop); act(); };
    sending.open("PUT", request.url);
    for (const [name, value] of Object.entries(request.headers)) sending.setRequestHeader(name, value);
    sending.upload.addEventListener("progress", (event) => progress(event.loaded));
    sending.addEventListener("load", () => done(() => {
      if (sending.status >= 200 && sending.status < 300) resolve((sending.getResponseHeader("ETag") || "").replaceAll('"', ""));
      else reject(new Refused(sending.status, `the object store answers ${sending.status}`));
    }));
    sending.addEventListener("error", () => done(() => reject(new Refused(0, "the object store does not answer"))));
    sending.addEventListener("abort", () => done(() => reject(new DOMException("stopped", "AbortError"))));
    if (signal?.aborted) return reject(new DOMException("stopped", "AbortError"));
    signal?.addEventListener("abort", stop);
    sending.send(blob);
  });
}
