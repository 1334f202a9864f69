// Questions about the pictures of the query: the model's words as they come, then its references, which
// lead to the hits.
import { $, announce, h, nameOf } from "./dom.js";
import { show, thumbnailPath } from "./api.js";
import { BROKE_OFF, events, problemOf } from "./stream.js";
import { filtersOf, isEmpty, wordsOf } from "./query.js";

const K = 8;

export class Asking {
  // queryOf(): the query that is shown; go(id): to a hit
  constructor({ queryOf, go }) {
    Object.assign(this, { queryOf, go, control: null });
  }

  // There is a model that answers: from now on there is a box.
  show() {
    this.box = h("input", { id: "question", type: "text", autocomplete: "off", maxlength: "2000", placeholder: "Ask about these pictures", "aria-label": "Question about these pictures" });
    this.button = h("button", { type: "submit", class: "pill", id: "ask" }, "Ask");
    this.form = h("form", { class: "asking", id: "asking", onsubmit: (event) => {
      event.preventDefault();
      if (this.control) this.stop();
      else this.#ask();
    } }, this.box, this.button);
    this.words = h("p", { class: "words", id: "answer-words" });
    this.note = h("p", { class: "quiet", id: "answer-note" });
    this.list = h("ul", { class: "references", id: "references", "aria-label": "Pictures that the answer refers to" });
    this.answer = h("section", { class: "answer", id: "answer", "aria-label": "Answer", hidden: true }, this.words, this.note, this.list);
    document.querySelector("main .facts").after(this.form, this.answer);
  }

  // Another query is shown: an answer about the one before would be about other pictures.
  changed() {
    if (!this.form) return;
    this.stop();
    this.answer.hidden = true;
  }

  stop() {
    this.control?.abort();
    this.#ended();
  }

  #ended() {
    this.control = null;
    this.button.textContent = "Ask";
    this.answer.classList.remove("busy");
  }

  #body(question) {
    const query = this.queryOf();
    const body = { question, k: K };
    if (isEmpty(query)) return body;
    const words = wordsOf(query);
    const filter = typeof words === "string" ? filtersOf(query).map((one) => one.text).join(" ") : "";
    return { ...body, ...(words !== "" && { query: words }), ...(filter && { filter }) };
  }

  async #ask() {
    const question = this.box.value.trim();
    if (question === "") {
      this.box.focus();
      return;
    }
    const control = new AbortController();
    this.control = control;
    this.button.textContent = "Stop";
    this.answer.hidden = false;
    this.answer.classList.add("busy");
    this.#draw("", "Searching …");
    let hits = [];
    try {
      let whole = false;
      for await (const { name, data } of events("/v1/ask", { body: this.#body(question), signal: control.signal })) {
        if (this.control !== control) return;
        if (name === "problem") throw problemOf(data);
        if (name === "hits") hits = data.hits;
        if (name === "pictures") this.note.textContent = `Looking at ${data.pictures.length} pictures …`;
        if (name === "words") this.words.append(data.text);
        if (name === "answer") {
          whole = true;
          this.#take(data, hits);
        }
      }
      if (!whole) throw problemOf({ detail: BROKE_OFF });
    } catch (error) {
      if (error.name === "AbortError" || this.control !== control) return;
      this.#draw(this.words.textContent, `No answer: ${error.message}`, "fault");
    }
    if (this.control === control) this.#ended();
  }

  #draw(words, note, kind = "quiet") {
    this.words.textContent = words;
    this.note.textContent = note;
    this.note.className = kind;
    this.list.replaceChildren();
  }

  #take(answer, hits) {
    const { status, pictures, references, left_out: left } = answer;
    const notes = [];
    if (status === "nothing") notes.push(left.length > 0 ? "None of the pictures may be shown to the model." : "No picture was found to answer from.");
    if (status === "abstained") notes.push(`The model cannot tell from the ${pictures.length} pictures that were found.`);
    if (status === "answered" && left.length > 0) notes.push(`${left.length} pictures were not shown to the model.`);
    if (answer.unseen > 0) notes.push(`${answer.unseen} of ${pictures.length} pictures were not looked at.`);
    if (status === "answered") notes.push(`${answer.model || "The model"} looked at ${pictures.length} pictures.`);
    this.#draw(answer.answer ?? "", notes.join(" "));
    this.list.replaceChildren(...references.map((one) => this.#reference(one, hits.find((hit) => hit.id === one.id) ?? one)));
    announce(answer.answer ?? notes[0] ?? "");
  }

  #reference({ n, id }, hit) {
    const image = h("img", { alt: "", width: 72, height: 54 });
    image.addEventListener("error", () => image.classList.add("blank"));
    show(image, thumbnailPath(id, 320));
    return h("li", {}, h("button", { type: "button", "aria-label": `Picture ${n}: ${nameOf(hit)}`, title: nameOf(hit), onclick: () => this.go(id) }, image, h("span", {}, `[${n}]`)));
  }
}
