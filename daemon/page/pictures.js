// Pictures from outside the library: dropped, pasted, chosen. Their bytes stay in this tab, under a key.

const MOST_BYTES = 20 * 1024 * 1024; // a request holds 32 MiB, base64 takes a third more
const held = new Map(); // key → data URI
const STORED = "imago-picture-";

export const dataOf = (key) => {
  if (!held.has(key)) {
    const stored = sessionStorage.getItem(STORED + key);
    if (stored) held.set(key, stored);
  }
  return held.get(key) ?? "";
};

const readAll = (file) => new Promise((done, failed) => {
  const reader = new FileReader();
  reader.onload = () => done(reader.result);
  reader.onerror = () => failed(new Error(`${file.name || "the picture"} could not be read`));
  reader.readAsDataURL(file);
});

async function keyOf(text) {
  // crypto.subtle is not there on plain HTTP beyond localhost; a name within this tab need not be secret
  let a = 0x811c9dc5;
  let b = 0x1b873593;
  for (let i = 0; i < text.length; i++) {
    a = Math.imul(a ^ text.charCodeAt(i), 0x01000193);
    b = Math.imul(b + text.charCodeAt(i), 0x85ebca6b) ^ (b >>> 13);
  }
  return (a >>> 0).toString(16).padStart(8, "0") + (b >>> 0).toString(16).padStart(8, "0");
}

// Keeps a file; its source for a query.
export async function keep(file) {
  const name = file.name || "the picture";
  if (file.type && !file.type.startsWith("image/")) throw new Error(`${name} is not a picture`);
  if (file.size > MOST_BYTES) throw new Error(`${name} has ${Math.ceil(file.size / 1048576)} MB; at most 20 MB can be sent`);
  const data = (await readAll(file)).replace(/^data:[^;,]*/, `data:${file.type || "application/octet-stream"}`);
  const key = await keyOf(data);
  held.set(key, data);
  try {
    sessionStorage.setItem(STORED + key, data); // so that a reload still has it
  } catch { /* too large: it lives until the tab is reloaded */ }
  return "~" + key;
}

export const filesOf = (transfer) => [...(transfer?.files ?? [])];
