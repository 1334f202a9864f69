// Keys: "/" to the search box, arrows through the pictures, Enter opens, + and - add to the query, Esc goes back.
import { $ } from "./dom.js";

const ARROWS = ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End"];
const typing = (target) => target.closest("input:not([type=checkbox]), select, textarea") !== null;

export function watchKeys({ grid, detail, add }) {
  document.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || event.isComposing) return;
    if (detail.dialog.open) {
      detail.key(event);
      return;
    }
    if (document.querySelector("dialog[open]")) return;
    if (event.target === $("box") && (event.key === "Escape" || event.key === "ArrowDown")) {
      if (grid.tiles.length > 0) grid.focus(grid.current);
      else $("box").blur();
      event.preventDefault();
      return;
    }
    if (typing(event.target)) return;
    if (event.key === "/") {
      $("box").focus();
      $("box").select();
    } else if (ARROWS.includes(event.key) && grid.tiles.length > 0 && !event.target.closest("header")) {
      const inside = grid.list.contains(document.activeElement);
      grid.focus(inside ? grid.step(event.key) : grid.current);
    } else if ((event.key === "+" || event.key === "-") && grid.list.contains(document.activeElement)) {
      add(grid.hits[grid.current], event.key === "+" ? 1 : -0.5);
    } else {
      return;
    }
    event.preventDefault();
  });
}
