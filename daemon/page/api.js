// What the server is asked. Failures are Problem, with the server's own sentence.

const KEY = "imago-key";

export class Problem extends Error {
  constructor({ status = 0, detail, hint = "", code = "" }) {
    super(detail);
    Object.assign(this, { status, hint, code });
  }
}

export const key = () => sessionStorage.getItem(KEY) ?? "";

// Keeps a key that the server knows; one question, since servers count wrong keys.
export async function tryKey(text) {
  if (!/^[\x21-\x7e]+$/.test(text)) return false;
  const answer = await fetch("/v1/library", { headers: { Authorization: "Bearer " + text }, credentials: "omit" }).catch(() => null);
  const known = Boolean(answer && answer.status !== 401 && answer.status !== 429);
  if (known) sessionStorage.setItem(KEY, text);
  else sessionStorage.removeItem(KEY);
  return known;
}

let askForKey = () => Promise.resolve(false);
export const onKeyNeeded = (ask) => { askForKey = ask; };

// A whole answer, as fetch gives it.
export async function send(path, { body, signal, accept } = {}) {
  const headers = {};
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (accept) headers.Accept = accept;
  for (;;) {
    if (key()) headers.Authorization = "Bearer " + key();
    let answer;
    try {
      answer = await fetch(path, { method: body === undefined ? "GET" : "POST", headers, signal,
        body: body === undefined ? undefined : JSON.stringify(body), credentials: "omit", redirect: "error" });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Problem({ detail: "imago does not answer", hint: "is 'imago serve' still running?" });
    }
    if (answer.status === 401 && await askForKey(Boolean(key()))) continue;
    if (!answer.ok) throw await problemOf(answer);
    return answer;
  }
}

async function problemOf(answer) {
  const isProblem = (answer.headers.get("Content-Type") ?? "").startsWith("application/problem+json");
  const problem = isProblem ? await answer.json().catch(() => ({})) : {};
  return new Problem({ ...problem, status: answer.status, detail: problem.detail ?? `the server answered ${answer.status}` });
}

export const ask = async (path, options) => (await send(path, options)).json();

// ---- pictures: addresses are made of numbers alone ----

export const thumbnailPath = (id, size) => `/v1/items/${Number(id)}/thumbnail?size=${size}`;
export const originalPath = (id) => `/v1/items/${Number(id)}/original`;

// Shows a picture; where a key is needed it is fetched with it, since <img> sends none.
export async function show(image, path) {
  if (!key()) {
    image.src = path;
    return;
  }
  try {
    const url = URL.createObjectURL(await (await send(path)).blob());
    image.addEventListener("load", () => URL.revokeObjectURL(url), { once: true });
    image.src = url;
  } catch {
    image.dispatchEvent(new Event("error"));
  }
}
