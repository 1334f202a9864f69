// The justified grid: rows of one height each, as wide as the page. Sizes are known before pictures
// are, so nothing moves when they arrive.
import { button, h, nameOf } from "./dom.js";
import { show, thumbnailPath } from "./api.js";


export class Grid {
  constructor(list, { open, add, href, dragged }) {
    Object.assign(this, { list, open, add, href, dragged, hits: [], tiles: [], current: 0, fromRow: 0, width: 0 });
    this.watch = new IntersectionObserver((entries) => this.#near(entries), { rootMargin: "600px 0px" });
    new ResizeObserver(() => requestAnimationFrame(() => this.#resized())).observe(list);
    list.addEventListener("focusin", (event) => this.#focused(event.target));
  }

  clear() {
    this.watch.disconnect();
    this.list.replaceChildren();
    Object.assign(this, { hits: [], tiles: [], current: 0, fromRow: 0 });
  }

  append(hits) {
    const tiles = hits.map((hit, i) => this.#tile(hit, this.hits.length + i));
    this.hits.push(...hits);
    this.tiles.push(...tiles);
    this.list.append(...tiles.map((tile) => tile.item));
    this.#layout(this.fromRow);
    tiles.forEach((tile) => this.watch.observe(tile.item));
  }

  // The first hits stand in another order now; markOf(hit) is what a tile bears for that, or null.
  reorder(hits, markOf, wordsOf) {
    const known = new Map(this.tiles.map((tile) => [tile.hit.id, tile]));
    const first = hits.filter((hit) => known.has(hit.id)).map((hit) => Object.assign(known.get(hit.id), { hit }));
    const focused = this.list.contains(document.activeElement) ? document.activeElement : null;
    this.tiles = [...first, ...this.tiles.filter((tile) => !first.includes(tile))];
    this.hits = this.tiles.map((tile) => tile.hit);
    for (const tile of first) {
      tile.item.querySelector(".moved")?.remove();
      tile.item.append(markOf(tile.hit) ?? "");
      tile.link.setAttribute("aria-label", [nameOf(tile.hit), wordsOf(tile.hit)].filter(Boolean).join(", "));
    }
    this.list.append(...this.tiles.map((tile) => tile.item));
    this.current = Math.max(0, this.tiles.findIndex((tile) => tile.link.getAttribute("tabindex") === "0"));
    focused?.focus({ preventScroll: true });
    this.#layout(0);
  }

  indexOf(id) { return this.hits.findIndex((hit) => hit.id === id); }

  focus(index) {
    const tile = this.tiles[index];
    if (!tile) return;
    tile.link.focus({ preventScroll: true });
    tile.item.scrollIntoView({ block: "nearest" });
  }

  // The tile that an arrow leads to, seen from the one that has the focus.
  step(key) {
    const here = this.tiles[this.current];
    const last = this.tiles.length - 1;
    if (key === "ArrowLeft") return Math.max(0, this.current - 1);
    if (key === "ArrowRight") return Math.min(last, this.current + 1);
    if (key === "Home") return 0;
    if (key === "End") return last;
    const row = here.row + (key === "ArrowUp" ? -1 : 1);
    let best = this.current;
    let least = Infinity;
    this.tiles.forEach((tile, i) => {
      const far = Math.abs(tile.middle - here.middle);
      if (tile.row === row && far < least) [best, least] = [i, far];
    });
    return best;
  }

  #tile(hit, index) {
    const name = nameOf(hit);
    const image = h("img", { alt: "", decoding: "async", draggable: "false" });
    const link = h("a", { class: "open", href: this.href(hit.id), "aria-label": name + (hit.online ? "" : ", file not there now"),
      tabindex: index === 0 ? "0" : "-1", draggable: "true",
      onclick: (event) => this.#clicked(event, hit),
      ondragstart: (event) => this.#dragged(event, hit) },
    image, h("span", { class: "name", "aria-hidden": "true" }, name));
    const item = h("li", { class: hit.online ? "tile" : "tile offline" }, link,
      h("span", { class: "marks" },
        button(`More like ${name}`, "plus", { tabindex: "-1", onclick: () => this.add(hit, 1) }),
        button(`Less like ${name}`, "minus", { tabindex: "-1", onclick: () => this.add(hit, -0.5) })));
    image.addEventListener("load", () => item.classList.add("loaded"));
    image.addEventListener("error", () => item.classList.add("blank"));
    return { item, link, image, hit, row: 0, middle: 0, asked: false };
  }

  #clicked(event, hit) {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return; // a tab of its own
    event.preventDefault();
    this.open(hit);
  }

  #dragged(event, hit) {
    event.dataTransfer.setData("application/x-imago-item", String(hit.id));
    event.dataTransfer.setData("text/plain", `@#${hit.id}`);
    event.dataTransfer.effectAllowed = "copy";
    this.dragged();
  }

  #focused(target) {
    const index = this.tiles.findIndex((tile) => tile.link === target);
    if (index < 0) return;
    this.tiles[this.current]?.link.setAttribute("tabindex", "-1");
    target.setAttribute("tabindex", "0");
    this.current = index;
  }

  #near(entries) {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      this.watch.unobserve(entry.target);
      const tile = this.tiles.find((one) => one.item === entry.target);
      if (tile) show(tile.image, thumbnailPath(tile.hit.id, 320));
    }
  }

  #resized() {
    if (widthOf(this.list) !== this.width) this.#layout(0);
  }

  #layout(from) {
    const width = widthOf(this.list);
    const gap = width < 600 ? 4 : 6;
    this.list.style.gap = `${gap}px`;
    const wanted = width < 600 ? 128 : width < 1200 ? 190 : 220;
    let row = from > 0 ? this.tiles[from - 1].row + 1 : 0;
    this.width = width;
    for (let begin = from; begin < this.tiles.length; row++) {
      let end = begin;
      let shape = 0;
      do shape += shapeOf(this.tiles[end++].hit);
      while (end < this.tiles.length && shape * wanted + (end - begin - 1) * gap < width);
      const inner = width - (end - begin - 1) * gap;
      const full = shape * wanted >= inner;
      const height = full ? Math.min(inner / shape, wanted * 1.4) : wanted;
      this.#place(begin, end, row, gap, height, full && inner / shape <= wanted * 1.4 ? width : 0);
      this.fromRow = begin;
      begin = end;
    }
  }

  // filled: the width that the row has to come to; 0: as wide as it gets.
  #place(begin, end, row, gap, height, filled) {
    let x = 0;
    for (let i = begin; i < end; i++) {
      const tile = this.tiles[i];
      const last = i === end - 1 && filled > 0;
      const width = last ? filled - x : Math.floor(shapeOf(tile.hit) * height);
      tile.item.style.width = `${width}px`;
      tile.item.style.height = `${Math.round(height)}px`;
      tile.row = row;
      tile.middle = x + width / 2;
      x += width + gap;
    }
  }
}

// Rounded down: a row that is wider by a part of a pixel breaks.
const widthOf = (list) => Math.floor(list.getBoundingClientRect().width);

// Width by height; panoramas and receipts are cut so that a row stays a row.
const shapeOf = (hit) => (hit.width && hit.height ? Math.min(3, Math.max(0.5, hit.width / hit.height)) : 4 / 3);
