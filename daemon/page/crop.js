// A box on a picture, drawn with the mouse, a finger or keys. Boxes are shares of the picture, so they
// do not depend on the size that it is shown in.
import { h } from "./dom.js";

const LEAST = 0.03; // of width and height: less is a click
const STEP = 0.02;

export class Crop {
  // stage: the element that the picture fills; changed(box or null) after each change
  constructor(stage, changed) {
    this.stage = stage;
    this.changed = changed;
    this.box = null;
    this.frame = h("div", { class: "frame", hidden: true, tabindex: "0", role: "group",
      "aria-label": "Chosen part: arrows move it, Shift and arrows change its size", onkeydown: (event) => this.#key(event) });
    stage.append(this.frame);
    stage.addEventListener("pointerdown", (event) => this.#down(event));
    stage.addEventListener("pointermove", (event) => this.#move(event));
    stage.addEventListener("pointerup", (event) => this.#up(event));
    stage.addEventListener("pointercancel", () => { this.start = null; });
    stage.addEventListener("dragstart", (event) => event.preventDefault());
  }

  set(box) {
    this.box = box;
    this.#draw();
    this.changed(box);
  }

  // For keys: a box in the middle, which arrows move.
  begin() {
    if (!this.box) this.set([0.25, 0.25, 0.5, 0.5]);
    this.frame.focus();
  }

  #point(event) {
    const area = this.stage.getBoundingClientRect();
    const share = (at, begin, size) => Math.min(1, Math.max(0, (at - begin) / size));
    return [share(event.clientX, area.left, area.width), share(event.clientY, area.top, area.height)];
  }

  #down(event) {
    if (event.button !== 0 || event.target.closest("button, a")) return;
    event.preventDefault();
    this.stage.setPointerCapture(event.pointerId);
    this.start = this.#point(event);
  }

  #move(event) {
    if (!this.start) return;
    this.box = between(this.start, this.#point(event));
    this.#draw();
  }

  #up(event) {
    if (!this.start) return;
    const box = between(this.start, this.#point(event));
    this.start = null;
    this.set(box[2] >= LEAST && box[3] >= LEAST ? box : null);
  }

  #key(event) {
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!way) return;
    event.preventDefault();
    event.stopPropagation();
    let [x, y, w, height] = this.box;
    if (event.shiftKey) {
      w = Math.min(1 - x, Math.max(LEAST, w + way[0] * STEP));
      height = Math.min(1 - y, Math.max(LEAST, height + way[1] * STEP));
    } else {
      x = Math.min(1 - w, Math.max(0, x + way[0] * STEP));
      y = Math.min(1 - height, Math.max(0, y + way[1] * STEP));
    }
    this.set([x, y, w, height]);
  }

  #draw() {
    const { frame, box } = this;
    frame.hidden = !box;
    this.stage.classList.toggle("cut", Boolean(box));
    if (!box) return;
    const [x, y, w, height] = box.map((n) => `${n * 100}%`);
    Object.assign(frame.style, { left: x, top: y, width: w, height });
  }
}

const between = ([ax, ay], [bx, by]) => [Math.min(ax, bx), Math.min(ay, by), Math.abs(ax - bx), Math.abs(ay - by)];
