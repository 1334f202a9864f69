// The query as the page knows it, and what the server is asked for it.
//
// {text, pictures: [{source, crop, weight}], from, to, camera, tag, place, sort}
//   text     as typed, in the query language; its pictures are taken out into `pictures`
//   source   "#17": item 17; "~KEY": bytes that the page has (pictures.js); else a path
//   crop     [x, y, w, h] as shares of the picture, or null
//   place    "latitude,longitude,distance"
import { quote, split, write, join } from "./language.js";
import { dataOf } from "./pictures.js";

export const SORTS = { score: {}, newest: { sort: "taken", order: "desc" }, oldest: { sort: "taken", order: "asc" },
  added: { sort: "added", order: "desc" } };
export const PAGE = 60;

export const empty = () => ({ text: "", pictures: [], from: "", to: "", camera: "", tag: "", place: "", sort: "score" });

let ownFields = [];
export const knowFields = (names) => { ownFields = names; };

// The parts of a typed text; null when it cannot be read here.
export function partsOf(text) {
  try {
    return split(text, ownFields);
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}

const percent = (share) => Math.round(share * 10000) / 100;
const box = (crop) => (crop ? "[" + crop.map((n) => percent(n) + "%").join(",") + "]" : "");

// Shares of the picture, or null when the box is in pixels, whose share is not known.
function shares(text) {
  const numbers = text.slice(1, -1).split(",");
  return text && numbers.every((n) => n.endsWith("%")) ? numbers.map((n) => parseFloat(n) / 100) : null;
}

export const writePicture = (picture) =>
  write({ kind: "picture", source: picture.source, quoted: !/^[#~]/.test(picture.source), box: box(picture.crop), weight: picture.weight });

export function readPicture(token) {
  const parts = partsOf(token);
  if (parts?.length !== 1 || parts[0].kind !== "picture") return null;
  return { source: parts[0].source, crop: shares(parts[0].box), weight: parts[0].weight };
}

// Pictures that were typed become pictures of the query; what is left is the text. Boxes in pixels
// stay in the text: the server knows the picture's size.
export function takePictures(text) {
  const parts = partsOf(text);
  const taken = (part) => part.kind === "picture" && part.source !== "-" && (!part.box || shares(part.box));
  if (!parts?.some(taken)) return { text, pictures: [] };
  return {
    text: join(parts.filter((part) => !taken(part))),
    pictures: parts.filter(taken).map((part) => ({ source: part.source, crop: shares(part.box), weight: part.weight })),
  };
}

const value = (text) => (/^[^\s"()]+$/.test(text) ? text : quote(text));

// The filters of the form, each as the language writes it.
export function filtersOf(query) {
  const list = [];
  if (query.from || query.to) {
    list.push({ field: "taken", text: query.from === query.to ? `taken:${query.from}` : `taken:${query.from}..${query.to}` });
  }
  for (const field of ["camera", "tag"]) {
    if (query[field]) list.push({ field, text: `${field}:${value(query[field])}` });
  }
  if (query.place) list.push({ field: "place", text: `near:${value(query.place)}` });
  return list;
}

export const isEmpty = (query) => query.text.trim() === "" && query.pictures.length === 0 && filtersOf(query).length === 0;
export const hasParts = (query) => query.pictures.length > 0 || (partsOf(query.text) ?? [{}]).some((part) => part.kind !== "filter");

function picturePart(picture) {
  const { source } = picture;
  const image = source[0] === "#" ? { id: Number(source.slice(1)) }
    : source[0] === "~" ? { data: dataOf(source.slice(1)) } : { path: source };
  const part = { image, weight: picture.weight };
  if (picture.crop) part.crop = picture.crop.map((n) => percent(n) + "%");
  return part;
}

function typedPart(part) {
  if (part.kind === "picture") {
    const picture = picturePart({ source: part.source, weight: part.weight });
    if (part.box) picture.crop = part.box.slice(1, -1).split(",").map((n) => (n.endsWith("%") ? n : Number(n)));
    return picture;
  }
  return part.must ? { text: part.text, weight: part.weight, must: true } : { text: part.text, weight: part.weight };
}

// What to send: {path} for GET, {path, body} for POST. Typed text alone goes as it was typed.
export function requestOf(query, cursor = null) {
  const filter = filtersOf(query).map((one) => one.text).join(" ");
  const order = hasParts(query) || query.sort !== "score" ? SORTS[query.sort] : {};
  if (query.pictures.length === 0 && query.text.trim() !== "") {
    const params = new URLSearchParams({ q: query.text, k: PAGE, ...order });
    if (filter) params.set("filter", filter);
    if (cursor) params.set("cursor", cursor);
    return { path: "/v1/search?" + params };
  }
  if (query.pictures.length === 0) {
    const params = new URLSearchParams({ k: PAGE, ...order, ...(filter && { filter }), ...(cursor && { cursor }) });
    return { path: "/v1/items?" + params };
  }
  const parts = partsOf(query.text);
  if (parts === null) return { path: "/v1/search?" + new URLSearchParams({ q: query.text, k: PAGE }) }; // for its sentence
  const typed = parts.filter((part) => part.kind === "filter").map((part) => part.text).join(" ");
  const texts = parts.filter((part) => part.kind !== "filter").map(typedPart);
  const body = { parts: [...texts, ...query.pictures.map(picturePart)], k: PAGE, ...order };
  const all = [typed, filter].filter(Boolean).join(" ");
  if (all) body.filter = all;
  if (cursor) body.cursor = cursor;
  return { path: "/v1/search", body };
}

// What the query asks for, without order and number: text as it was typed, or an object; its form's
// filters stand in the object alone.
export function wordsOf(query) {
  if (query.pictures.length === 0) return query.text.trim();
  const { path, body } = requestOf(query);
  if (!body) return new URLSearchParams(path.split("?")[1]).get("q"); // cannot be read here
  return { parts: body.parts, ...(body.filter && { filter: body.filter }) };
}
