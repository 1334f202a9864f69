// Why a picture is a hit, in the words of the vision-language model: asked for with a button, or by itself
// while "Look again" is on. Its words become text nodes, whatever they are.
import { $, h } from "./dom.js";
import { BROKE_OFF, events, problemOf } from "./stream.js";
import { wordsOf } from "./query.js";
import { judgementOf } from "./again.js";

const VERDICTS = { match: "It fits", partial: "It fits in part", "no match": "It does not fit" };
const named = (one) => (one.place ? `${one.attribute} (${one.place})` : one.attribute);
const list = (label, ones) => (ones.length > 0 ? ` ${label}: ${ones.map(named).join(", ")}.` : "");

// The sentence of an explanation.
export function sentenceOf(vlm) {
  if (vlm.abstain) return "The model cannot tell.";
  return `${VERDICTS[vlm.verdict] ?? "It says"}.${list("It shows", vlm.matches)}${list("It does not show", vlm.missing)}` +
    `${list("Said, but not seen in the picture's vector", vlm.dropped)}${list("Said to be missing, but seen", vlm.disputed)}`;
}

export class Explain {
  // queryOf(): the query that is shown; automatic(): whether to ask without being told to
  constructor({ queryOf, automatic }) {
    Object.assign(this, { queryOf, automatic, control: null });
    $("detail").addEventListener("close", () => this.stop());
  }

  stop() {
    this.control?.abort();
    this.control = null;
  }

  // A picture is shown in the detail view; it is a hit of words when `parts` of the answer are known.
  drawn(hit, parts) {
    this.stop();
    const judged = judgementOf(hit);
    if (judged) $("sentence").before(h("p", { class: "judged", id: "judged" }, `Looked at again: ${judged}`));
    if (!(parts ?? []).some((part) => part.type === "text")) return;
    const button = h("button", { type: "button", class: "pill", id: "detail-explain", title: "The vision-language model says what of the query the picture shows",
      onclick: () => this.#ask(hit, button) }, "Explain");
    $("detail-original").before(button);
    if (this.automatic()) this.#ask(hit, button);
  }

  async #ask(hit, button) {
    this.stop();
    const control = new AbortController();
    this.control = control;
    const say = (text, kind = "") => {
      if (this.control !== control) return;
      $("sentence").textContent = text;
      $("sentence").className = kind;
      $("sentence").hidden = false;
    };
    button.disabled = true;
    say("The model is looking …", "busy");
    try {
      let whole = false;
      for await (const { name, data } of events(`/v1/items/${Number(hit.id)}/explain`,
        { body: { query: wordsOf(this.queryOf()), vlm: true }, signal: control.signal })) {
        if (name === "problem") throw problemOf(data);
        if (name === "explanation") {
          whole = true;
          say(sentenceOf(data.vlm), data.vlm.disagreement ? "doubtful" : "");
        }
      }
      if (!whole) throw problemOf({ detail: BROKE_OFF });
    } catch (error) {
      if (error.name !== "AbortError") say(`The model did not explain it: ${error.message}`, "fault");
    } finally {
      button.disabled = false;
    }
  }
}
