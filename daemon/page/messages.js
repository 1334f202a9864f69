// What stands in place of pictures, or above them: nothing there, nothing found, something wrong.
import { $, h } from "./dom.js";

export function clearMessage() {
  $("message").hidden = true;
  $("message").replaceChildren();
}

function put(kind, title, ...rest) {
  const box = $("message");
  box.className = `message ${kind}`;
  box.replaceChildren(h("h2", {}, title), ...rest);
  box.hidden = false;
}

const pill = (text, onclick) => h("button", { type: "button", class: "pill", onclick }, text);

export const showEmptyLibrary = () => put("empty", "No pictures yet",
  h("p", {}, "Add a folder: ", h("code", {}, "imago add ~/Pictures")), h("p", { class: "quiet" }, "They appear here while they are added."));

export const showNothing = (clearFilters, clearAll) => put("empty", "Nothing found",
  h("p", {}, clearFilters ? "No picture passes all of these filters." : "No picture fits this query."),
  h("div", { class: "ends" }, clearFilters ? pill("Clear filters", clearFilters) : "", pill("Show all pictures", clearAll)));

// A long sentence has its beginning as the title.
const split = (text) => {
  const at = text.length > 80 ? text.indexOf(": ") : -1;
  return at > 0 ? [text.slice(0, at), text.slice(at + 2)] : [text, ""];
};

export function showProblem(problem, again) {
  const [title, rest] = split(problem.message);
  put("fault", sentence(title), rest ? h("p", {}, sentence(rest)) : "", problem.hint ? h("p", {}, sentence(problem.hint)) : "",
    h("div", { class: "ends" }, pill("Try again", again)));
  $("message").setAttribute("role", "alert");
  const column = /\(?(?:at )?column (\d+)\)?/.exec(problem.message);
  if (column && problem.status === 400) $("box").setAttribute("aria-invalid", "true");
}

// Columns count characters, selections count UTF-16 units.
export function markColumn(problem) {
  const column = /column (\d+)/.exec(problem.message);
  if (!column) return;
  const before = [...$("box").value].slice(0, Number(column[1]) - 1).join("").length;
  $("box").focus();
  $("box").setSelectionRange(before, $("box").value.length);
}

export const showWarnings = (warnings) => {
  $("notes").hidden = warnings.length === 0;
  $("notes").replaceChildren(...warnings.map((text) => h("li", {}, text)));
};

const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1);
