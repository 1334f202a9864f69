// The query as chips: each text and picture with its sign and weight, each filter; all can be taken away.
import { button, h } from "./dom.js";
import { join } from "./language.js";
import { filtersOf, partsOf } from "./query.js";
import { dataOf } from "./pictures.js";
import { show, thumbnailPath } from "./api.js";

const MOST = 2; // of the slider; larger weights can be typed

export class Chips {
  constructor(list, { change, crop }) {
    Object.assign(this, { list, change, crop });
  }

  draw(query) {
    const typed = partsOf(query.text) ?? [];
    const chips = [];
    typed.forEach((part, i) => chips.push(part.kind === "filter" ? this.#typedFilter(query, typed, i) : this.#typed(query, typed, i)));
    query.pictures.forEach((picture, i) => chips.push(this.#picture(query, i)));
    filtersOf(query).forEach((filter) => chips.push(this.#filter(query, filter)));
    const active = this.list.contains(document.activeElement) ? document.activeElement.dataset.name : null;
    this.list.replaceChildren(...chips);
    if (active) [...this.list.querySelectorAll("[data-name]")].find((one) => one.dataset.name === active)?.focus();
    return chips.length;
  }

  #typed(query, parts, index) {
    const part = parts[index];
    const label = part.kind === "text" ? `“${part.text}”` : `picture ${part.source}`;
    const put = (changed) => this.change({ ...query, text: join(parts.flatMap((one, i) => (i === index ? changed : [one]))) });
    return this.#weighted(`t${index}`, label, part.weight, h("span", { class: "words" }, part.must ? "+ " : "", part.text ?? part.source),
      (weight) => put([{ ...part, weight, must: weight > 0 && part.must }]), () => put([]));
  }

  #picture(query, index) {
    const picture = query.pictures[index];
    const label = picture.crop ? "part of a picture" : "picture";
    const image = h("img", { alt: "", width: 44, height: 44 });
    const put = (changed) => this.change({ ...query, pictures: query.pictures.flatMap((one, i) => (i === index ? changed : [one])) });
    const view = h("button", { type: "button", class: "view", "aria-label": `${label}: choose a part of it`, title: "Choose a part of it",
      "data-name": `p${index}view`, onclick: () => this.crop(picture, (crop) => put([{ ...picture, crop }])) }, image);
    showSource(image, picture.source);
    if (picture.crop) cutOut(image, picture.crop);
    return this.#weighted(`p${index}`, label, picture.weight,
      h("span", { class: "seen" }, view, picture.crop ? h("span", { class: "quiet" }, "part") : null),
      (weight) => put([{ ...picture, weight }]), () => put([]));
  }

  #weighted(name, label, weight, face, put, remove) {
    const size = Math.abs(weight);
    const negative = weight < 0;
    const value = h("output", {}, shown(size));
    const slider = h("input", { type: "range", min: 0.1, max: Math.max(MOST, size), step: 0.1, value: size, "data-name": `${name}weight`,
      "aria-label": `weight of ${label}`,
      oninput: () => { value.textContent = shown(Number(slider.value)); },
      onchange: () => put((negative ? -1 : 1) * Number(slider.value)) });
    const sign = h("button", { type: "button", class: "sign", "data-name": `${name}sign`, "aria-pressed": String(negative),
      "aria-label": `${label} counts against`, title: negative ? "Counts against; press to count for" : "Counts for; press to count against",
      onclick: () => put(-weight) }, negative ? "−" : "+");
    return h("li", { class: negative ? "chip against" : "chip" }, sign, face, slider, value,
      button(`Remove ${label}`, "close", { onclick: remove, "data-name": `${name}remove` }));
  }

  #typedFilter(query, parts, index) {
    return this.#plain(parts[index].text, () => this.change({ ...query, text: join(parts.filter((_, i) => i !== index)) }));
  }

  #filter(query, { field, text }) {
    const gone = field === "taken" ? { from: "", to: "" } : { [field]: "" };
    return this.#plain(text, () => this.change({ ...query, ...gone }));
  }

  #plain(text, remove) {
    return h("li", { class: "chip filter" }, h("span", { class: "words" }, text), button(`Remove the filter ${text}`, "close", { onclick: remove }));
  }
}

const shown = (size) => (size < 10 ? size.toFixed(1) : String(Math.round(size)));

export function showSource(image, source, size = 320) {
  if (source[0] === "#") show(image, thumbnailPath(source.slice(1), size));
  else if (source[0] === "~") image.src = dataOf(source.slice(1));
  image.addEventListener("error", () => image.classList.add("blank"), { once: true });
}

// Shows the chosen part of a picture in its small square.
function cutOut(image, [x, y, w, hh]) {
  image.style.objectFit = "cover";
  image.style.objectViewBox = `inset(${y * 100}% ${(1 - x - w) * 100}% ${(1 - y - hh) * 100}% ${x * 100}%)`;
}
