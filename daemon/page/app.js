// The page: one query, its answer, and what people do to them.
import { $, announce, button, count, h } from "./dom.js";
import { ask, onKeyNeeded, tryKey } from "./api.js";
import { Chips, showSource } from "./chips.js";
import { Crop } from "./crop.js";
import { Detail } from "./detail.js";
import { watchDrops } from "./drop.js";
import { Filters } from "./filters.js";
import { Grid } from "./grid.js";
import { watchKeys } from "./keyboard.js";
import { clearMessage, markColumn, showEmptyLibrary, showNothing, showProblem, showWarnings } from "./messages.js";
import { Progress } from "./progress.js";
import { empty, filtersOf, hasParts, isEmpty, knowFields, requestOf, takePictures } from "./query.js";
import { addressOf, readAddress } from "./url.js";

let query = empty();
let answer = null; // the last page of hits
let wait = null; // of the request under way
let library = null;

const grid = new Grid($("grid"), {
  open: (hit) => openItem(hit, true),
  add: (hit, weight) => addPictures([`#${hit.id}`], weight),
  href: (id) => addressOf(query, id),
  dragged: () => setTimeout(() => { $("drop").hidden = false; }), // not within dragstart: it would end the drag
});
const chips = new Chips($("chips"), { change: (changed) => go(changed), crop: chooseCrop });
const filters = new Filters((values) => go({ ...query, ...values }));
const detail = new Detail($("detail"), {
  close: closeItem,
  step: stepItem,
  go: (hit) => openItem(hit, false),
  search: ({ id }, crop) => go({ ...empty(), pictures: [{ source: `#${id}`, crop, weight: 1 }] }),
  add: ({ id }, weight, crop) => addPictures([`#${id}`], weight, crop),
  filter: (values) => go({ ...query, ...values }),
  learn: (item) => filters.learn(item),
  drawn: (hit, parts) => model?.drawn(hit, parts),
});
let model = null; // the vision-language model (vlm.js), where there is one

// ---- asking ----

async function fetchPage(cursor, fetchIt = ({ path, body }, signal) => ask(path, { body, signal })) {
  wait?.abort();
  const mine = new AbortController();
  wait = mine;
  document.body.classList.add("waiting");
  try {
    return await fetchIt(requestOf(query, cursor), mine.signal);
  } finally {
    if (wait === mine) {
      wait = null;
      document.body.classList.remove("waiting");
    }
  }
}

async function run() {
  answer = null;
  model?.searching();
  clearMessage();
  showWarnings([]);
  $("box").removeAttribute("aria-invalid");
  try {
    const page = await fetchPage(null, model?.first);
    grid.clear();
    answer = page;
    grid.append(page.hits);
    showWarnings(page.warnings ?? []);
    describe(page);
    if (page.hits.length === 0) await explainNothing();
    performance.mark("imago-first-hits");
    fill();
  } catch (error) {
    if (error.name === "AbortError") return;
    grid.clear();
    $("heading").textContent = "No answer";
    $("facts").textContent = "";
    showProblem(error, run);
    if (error.status === 400 && query.text) markColumn(error);
  }
}

function describe(page) {
  const total = page.total ?? page.filtered;
  $("heading").textContent = isEmpty(query) ? "All pictures" : hasParts(query) ? "Results" : "Filtered pictures";
  const words = [`${count(total)} ${total === 1 ? "picture" : "pictures"}`];
  if (!isEmpty(query) && page.took_ms) {
    words.push(`${Math.max(1, Math.round(Object.values(page.took_ms).reduce((sum, ms) => sum + ms, 0)))} ms`);
    if (hasParts(query) && !page.exact) words.push("nearly all looked at");
  }
  $("facts").textContent = words.join(" · ");
  announce(words[0]);
  document.title = query.text ? `${query.text} · imago` : "imago";
}

async function explainNothing() {
  library ??= await ask("/v1/library").catch(() => null);
  if (library?.items === 0) showEmptyLibrary();
  else showNothing(filtersOf(query).length > 0 ? () => go({ ...query, from: "", to: "", camera: "", tag: "", place: "" }) : null, () => go(empty()));
}

// ---- the next pages ----

let filling = false;
async function fill() {
  const atEnd = () => $("end").getBoundingClientRect().top < innerHeight + 1200;
  if (filling) return;
  filling = true;
  try {
    while (answer?.cursor && grid.hits.length < (answer.total ?? Infinity) && atEnd()) {
      const before = answer;
      const page = await fetchPage(before.cursor);
      if (answer !== before) break; // another query meanwhile
      answer = { ...page, cursor: page.hits.length > 0 ? page.cursor : null };
      grid.append(page.hits);
    }
  } catch (error) {
    if (error.name !== "AbortError") showProblem(error, () => { clearMessage(); fill(); });
  } finally {
    filling = false;
  }
}

// ---- changing the query ----

function go(changed, { push = true } = {}) {
  const { text, pictures } = takePictures(changed.text);
  query = { ...changed, text: text.trim(), pictures: [...changed.pictures, ...pictures] };
  if (detail.dialog.open) detail.close();
  model?.changed();
  const address = addressOf(query);
  if (push && address !== location.pathname + location.hash) history.pushState({}, "", address);
  draw();
  scrollTo({ top: 0 });
  return run();
}

function draw() {
  $("box").value = query.text;
  const scored = hasParts(query);
  $("sort").options[0].disabled = !scored; // without texts and pictures there is no match
  $("sort").value = query.sort === "score" && !scored ? "newest" : query.sort;
  $("query").hidden = chips.draw(query) === 0;
  filters.draw(query);
  model?.draw(query);
}

function addPictures(sources, weight, crop = null) {
  const added = sources.map((source) => ({ source, crop, weight }));
  announce(weight > 0 ? "Added to the query" : "Added to the query, counts against");
  return go({ ...query, pictures: [...query.pictures, ...added] });
}

// ---- one picture ----

function openItem(hit, push) {
  const known = grid.hits[grid.indexOf(hit.id)] ?? hit;
  const address = addressOf(query, hit.id);
  if (push) history.pushState({ detail: true }, "", address);
  else history.replaceState(history.state, "", address);
  detail.open(known, known === hit && !hit.parts ? [] : answer?.parts);
}

function closeItem() {
  const id = detail.id;
  detail.close();
  if (history.state?.detail) history.back();
  else history.replaceState({}, "", addressOf(query));
  const index = grid.indexOf(id);
  if (index >= 0) grid.focus(index);
}

async function stepItem(by) {
  const index = grid.indexOf(detail.id) + by;
  if (index >= grid.hits.length - 3) {
    $("end").scrollIntoView({ block: "end" });
    await fill();
  }
  if (index >= 0 && grid.hits[index]) openItem(grid.hits[index], false);
}

// To a picture that an answer refers to: among the hits where it is one, else by itself.
function goToHit(id) {
  const index = grid.indexOf(id);
  if (index < 0) {
    openItem({ id }, true);
    return;
  }
  grid.focus(index);
  const { item } = grid.tiles[index];
  item.classList.add("looked-at");
  setTimeout(() => item.classList.remove("looked-at"), 3000);
}

// A part of a picture of the query.
function chooseCrop(picture, done) {
  const dialog = $("cropper");
  const image = h("img", { alt: "the picture", draggable: "false" });
  const stage = h("div", { class: "stage" }, image);
  const crop = new Crop(stage, (box) => { use.disabled = !box; });
  const end = (box) => {
    dialog.close();
    if (box !== undefined) done(box);
  };
  const use = h("button", { type: "button", class: "pill strong", id: "cropper-use", disabled: true, onclick: () => end(crop.box) }, "Use this part");
  showSource(image, picture.source, 1280);
  dialog.replaceChildren(
    h("header", {}, h("h2", { id: "cropper-name" }, "Choose a part"), button("Close", "close", { onclick: () => end() })),
    h("div", { class: "stage-room" }, stage),
    h("div", { class: "ends" }, use,
      h("button", { type: "button", class: "pill", id: "cropper-keys", onclick: () => crop.begin() }, "With keys"),
      h("button", { type: "button", class: "pill", id: "cropper-whole", onclick: () => end(null) }, "Whole picture")));
  dialog.showModal();
  crop.set(picture.crop);
}

// ---- the key of a server that wants one ----

let keyAsked = null; // several requests that are refused at once ask once
onKeyNeeded((wrong) => {
  keyAsked ??= askKey(wrong).finally(() => { keyAsked = null; });
  return keyAsked;
});

const WRONG_KEY = "The server does not know this key, or it was revoked.";

function askKey(wrong) {
  const dialog = $("key-dialog");
  $("key-fault").textContent = wrong ? WRONG_KEY : "";
  dialog.showModal();
  return new Promise((done) => {
    const finish = (known) => {
      $("key").value = "";
      dialog.close();
      done(known);
    };
    $("key-form").onsubmit = async (event) => {
      event.preventDefault();
      if (await tryKey($("key").value.trim())) finish(true);
      else $("key-fault").textContent = WRONG_KEY;
    };
    $("key-cancel").onclick = () => finish(false);
    dialog.oncancel = () => finish(false);
  });
}

// ---- beginning ----

function readLocation() {
  const { query: wanted, item } = readAddress(location.hash);
  const same = answer && addressOf(wanted) === addressOf(query);
  const ready = same ? Promise.resolve() : go(wanted, { push: false });
  if (item === null) detail.close();
  else ready.then(() => { if (detail.id !== item) openItem({ id: item }, false); });
  return ready;
}

// What belongs to a vision-language model is fetched where there is one, behind the first hits.
async function findModel() {
  try {
    const what = await ask("/v1/vlm");
    if (!what.set) return;
    const { Model } = await import("./vlm.js");
    model = new Model(what, { grid, queryOf: () => query, run, go: goToHit });
    if (detail.dialog.open) model.drawn(detail.hit, detail.parts);
  } catch { /* it is not needed */ }
}

function lookedAgain() {
  try { return localStorage.getItem("imago-look-again") === "1"; } catch { return false; }
}

function start() {
  $("search").addEventListener("submit", (event) => {
    event.preventDefault();
    go({ ...query, text: $("box").value });
  });
  $("sort").addEventListener("change", () => go({ ...query, sort: $("sort").value }));
  $("clear").addEventListener("click", () => go(empty()));
  $("brand").addEventListener("click", (event) => { event.preventDefault(); go(empty()); });
  $("skip").addEventListener("click", () => grid.focus(grid.current));
  $("theme").addEventListener("click", () => {
    const dark = document.documentElement.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
    document.documentElement.dataset.theme = dark === "dark" ? "light" : "dark";
    try { localStorage.setItem("imago-theme", document.documentElement.dataset.theme); } catch { /* for this page only */ }
  });
  new IntersectionObserver(fill, { rootMargin: "1200px 0px" }).observe($("end"));
  addEventListener("scroll", fill, { passive: true });
  addEventListener("popstate", readLocation);
  watchDrops({ add: (sources, weight) => addPictures(sources, weight), fail: (error) => showProblem(error, () => run()) });
  watchKeys({ grid, detail, add: (hit, weight) => addPictures([`#${hit.id}`], weight) });
  if (lookedAgain()) findModel().finally(readLocation); // the first search is then one that looks again
  else readLocation().finally(findModel);
  look().then(draw);
  new Progress({ looked: look, finished: (job) => {
    library = null;
    look();
    announce(job.state === "done" ? "New pictures are there" : "Adding pictures did not come to its end");
    if (isEmpty(query) && scrollY < 200 && !detail.dialog.open) run();
  } });
}

// What the library holds. Pictures that no search can find are said wherever one is.
async function look() {
  const status = await ask("/v1/library").catch(() => null);
  if (!status) return;
  library = status;
  knowFields(Object.keys(status.fields ?? {}));
  const { unembedded: n } = status;
  $("missing").hidden = n === 0;
  $("missing").textContent = `${count(n)} ${n === 1 ? "picture has" : "pictures have"} no vector: searches do not find ${n === 1 ? "it" : "them"}`;
}

start();
