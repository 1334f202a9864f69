// The query in the address: what is shown can be bookmarked, and back and forward work. It stands behind
// the "#", which browsers do not send: no log of a server or proxy holds what was searched for.
import { SORTS, empty, readPicture, writePicture } from "./query.js";
import { dataOf } from "./pictures.js";

const WORDS = { text: "q", from: "from", to: "to", camera: "camera", tag: "tag", place: "near", sort: "sort" };

export function addressOf(query, item = null) {
  const params = new URLSearchParams();
  for (const [key, name] of Object.entries(WORDS)) {
    if (query[key] && !(key === "sort" && query[key] === "score")) params.set(name, query[key]);
  }
  query.pictures.forEach((picture) => params.append("p", writePicture(picture)));
  if (item !== null) params.set("item", item);
  const text = params.toString();
  return text ? "/#" + text : "/";
}

// hash: as in location.hash
export function readAddress(hash) {
  const params = new URLSearchParams(hash.slice(1));
  const query = empty();
  for (const [key, name] of Object.entries(WORDS)) query[key] = params.get(name) ?? query[key];
  if (!(query.sort in SORTS)) query.sort = "score";
  // a pasted picture is known to this tab only
  query.pictures = params.getAll("p").map(readPicture)
    .filter((picture) => picture && (picture.source[0] !== "~" || dataOf(picture.source.slice(1))));
  const item = /^[1-9][0-9]{0,17}$/.exec(params.get("item") ?? "");
  return { query, item: item ? Number(item[0]) : null };
}
