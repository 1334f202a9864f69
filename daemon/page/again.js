// "Look again": the vision-language model looks at the best hits while they are shown already, and moves
// some of them. What it does not say leaves the search's order as it is, and the page says so.
import { $, announce, h } from "./dom.js";
import { BROKE_OFF, events, problemOf } from "./stream.js";
import { partsOf } from "./query.js";

const N = 20;
const STORED = "imago-look-again"; // app.js looks at it before this file is there

// A model judges by words, and moves hits in the order of the score.
const canJudge = (query) => query.sort === "score" && (partsOf(query.text) ?? []).some((part) => part.kind === "text" && part.weight > 0);
const percent = (p) => `${Math.round(p * 100)} %`;

// What became of a hit, in words; "" for one that was not looked at.
export function judgementOf(hit) {
  const judged = hit.rerank;
  if (!judged) return "";
  const place = judged.from_rank === hit.rank ? `stays at place ${hit.rank}` : `from place ${judged.from_rank} to ${hit.rank}`;
  return judged.p_yes === null ? `${place}: the model did not say (${judged.outcome})` : `${place}: the model says yes with ${percent(judged.p_yes)}`;
}

// A mark on a hit that moved.
export function markOf(hit) {
  const by = hit.rerank ? hit.rerank.from_rank - hit.rank : 0;
  if (by === 0) return null;
  return h("span", { class: by > 0 ? "moved up" : "moved down", title: judgementOf(hit), "aria-hidden": "true" },
    `${by > 0 ? "↑" : "↓"} ${hit.rerank.from_rank} → ${hit.rank}`);
}

export class Again {
  // change(): the switch was turned; order(hits): the first ones in their new order
  constructor({ change, order }) {
    Object.assign(this, { change, order, control: null, box: null });
  }

  // There is a model: from now on there is a switch.
  show() {
    this.box = h("input", { type: "checkbox", role: "switch", id: "look-again", onchange: () => {
      try { localStorage.setItem(STORED, this.box.checked ? "1" : ""); } catch { /* for this page only */ }
      this.change();
    } });
    try { this.box.checked = localStorage.getItem(STORED) === "1"; } catch { /* off */ }
    this.label = h("label", { class: "pill switch", title: "A vision-language model looks at the best hits and moves them" }, this.box, "Look again");
    $("sort").after(this.label);
    this.note = h("p", { class: "again", id: "again", role: "status", hidden: true });
    $("facts").after(this.note);
  }

  get on() { return Boolean(this.box?.checked); }
  wants(query) { return this.on && canJudge(query); }

  draw(query) {
    if (this.label) this.label.hidden = !canJudge(query);
  }

  stop() {
    this.control?.abort();
    this.control = null;
    this.#say("");
  }

  // The hits of a search, as soon as they are there; the new order comes by itself.
  async first({ path, body }, signal) {
    const control = new AbortController();
    this.control = control;
    signal.addEventListener("abort", () => control.abort());
    const wanted = body ? [path, { ...body, rerank: { n: N } }] : [`${path}&rerank=${N}`];
    const stream = events(wanted[0], { body: wanted[1], signal: control.signal });
    const { value } = await stream.next();
    if (value?.name !== "hits") throw value ? problemOf(value.data) : problemOf({ detail: BROKE_OFF });
    setTimeout(() => this.#wait(stream, control, Math.min(N, value.data.hits.length))); // they are shown by then
    return value.data;
  }

  async #wait(stream, control, n) {
    const say = (...words) => { if (this.control === control) this.#say(...words); };
    if (n > 0) say(`Looking again at the ${n} best …`, "busy");
    try {
      for await (const { name, data } of stream) {
        if (this.control !== control) return;
        if (name === "problem") throw problemOf(data);
        if (name === "rerank") {
          this.#take(data);
          return;
        }
      }
      throw problemOf({ detail: BROKE_OFF });
    } catch (error) {
      if (error.name !== "AbortError") say(`The model could not look: ${error.message}. The order is that of the search.`, "fault");
    }
  }

  #take({ hits, rerank }) {
    this.order(hits);
    const moved = rerank.moved === 0 ? "none moved" : `${rerank.moved} moved`;
    if (rerank.n === 0) this.#say("");
    else if (rerank.status === "done") this.#say(`Looked again at ${rerank.n}: ${moved}`);
    else if (rerank.judged > 0) this.#say(`Looked at ${rerank.judged} of ${rerank.n}, ${moved}; the others keep their place (${rerank.reason})`, "fault");
    else this.#say(`The model could not look (${rerank.reason}). The order is that of the search.`, "fault");
    announce(this.note.textContent);
  }

  #say(text, kind = "") {
    if (!this.note) return;
    this.note.textContent = text;
    this.note.className = `again ${kind}`;
    this.note.hidden = text === "";
  }
}
