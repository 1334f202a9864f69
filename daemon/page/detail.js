// One picture: large, with what is known of it, why it was found, and what is like it.
import { $, button, count, h, icon, nameOf } from "./dom.js";
import { ask, originalPath, send, show, key, thumbnailPath } from "./api.js";
import { Crop } from "./crop.js";

const SHOWN_SIZE = 1280;
const N_SIMILAR = 12;

export class Detail {
  constructor(dialog, actions) {
    Object.assign(this, { dialog, actions, id: null });
    dialog.addEventListener("cancel", (event) => {
      event.preventDefault();
      this.escape();
    });
    dialog.addEventListener("click", (event) => { if (event.target === dialog) actions.close(); });
  }

  // hit: as a search gave it, or {id}; parts: of the answer
  async open(hit, parts = []) {
    this.id = hit.id;
    this.#draw(hit, parts);
    this.actions.drawn(hit, parts);
    if (!this.dialog.open) this.dialog.showModal();
    $("detail-close").focus();
    const [item, similar] = await Promise.allSettled([ask(`/v1/items/${hit.id}`), ask(`/v1/items/${hit.id}/similar?k=${N_SIMILAR}`)]);
    if (this.id !== hit.id) return;
    if (item.status === "fulfilled") this.#facts(item.value);
    else this.facts.replaceChildren(h("p", { class: "fault", role: "alert" }, item.reason.message));
    if (similar.status === "fulfilled") this.#similar(similar.value.hits ?? []);
  }

  close() {
    this.id = null;
    if (this.dialog.open) this.dialog.close();
  }

  escape() {
    if (this.crop?.box) this.crop.set(null);
    else this.actions.close();
  }

  key(event) {
    if (event.key === "c" && !event.ctrlKey && !event.metaKey) this.crop.begin();
    else if (event.key === "ArrowLeft") this.actions.step(-1);
    else if (event.key === "ArrowRight") this.actions.step(1);
    else if (event.key === "+" || event.key === "-") this.actions.add({ id: this.id }, event.key === "+" ? 1 : -0.5, this.crop.box);
    else if (event.key === "Enter" && this.crop.box && !event.target.closest("button, a")) this.actions.search({ id: this.id }, this.crop.box);
    else return;
    event.preventDefault();
  }

  #draw(hit, parts) {
    const name = nameOf(hit);
    const { actions } = this;
    const image = h("img", { alt: name, draggable: "false" });
    if (hit.width && hit.height) {
      image.width = hit.width;
      image.height = hit.height;
    }
    image.addEventListener("error", () => this.stage.classList.add("blank"));
    this.stage = h("div", { class: "stage" }, image);
    this.crop = new Crop(this.stage, (box) => this.#cropped(box));
    this.image = image;
    show(image, thumbnailPath(hit.id, SHOWN_SIZE));
    this.cropTools = h("div", { class: "crop-tools", hidden: true },
      h("button", { type: "button", class: "pill strong", id: "crop-search", onclick: () => actions.search({ id: hit.id }, this.crop.box) }, "Search for this part"),
      h("button", { type: "button", class: "pill", id: "crop-add", onclick: () => actions.add({ id: hit.id }, 1, this.crop.box) }, "+ Add to query"),
      h("button", { type: "button", class: "pill", id: "crop-minus", onclick: () => actions.add({ id: hit.id }, -0.5, this.crop.box) }, "− Less like it"),
      button("No part: the whole picture", "close", { onclick: () => this.crop.set(null) }));
    this.facts = h("div", { class: "meta" });
    this.like = h("section", { class: "similar", hidden: true, "aria-label": "Similar pictures" });
    this.dialog.replaceChildren(
      h("div", { class: "view-side" },
        button("Picture before", "left", { class: "icon-button step before", onclick: () => actions.step(-1) }),
        h("div", { class: "stage-room" }, this.stage),
        button("Next picture", "right", { class: "icon-button step after", onclick: () => actions.step(1) }),
        this.cropTools,
        h("p", { class: "hint" }, "Drag on the picture to search for a part of it")),
      h("div", { class: "side" },
        h("header", {}, h("h2", { id: "detail-name" }, name), button("Close", "close", { id: "detail-close", onclick: () => actions.close() })),
        h("div", { class: "actions" },
          h("button", { type: "button", class: "pill strong", id: "detail-like", onclick: () => actions.search({ id: hit.id }, null) }, "More like this"),
          h("button", { type: "button", class: "pill", id: "detail-plus", onclick: () => actions.add({ id: hit.id }, 1, null) }, "+ Add to query"),
          h("button", { type: "button", class: "pill", id: "detail-minus", onclick: () => actions.add({ id: hit.id }, -0.5, null) }, "− Less like this"),
          this.#original(hit)),
        why(hit, parts),
        h("section", { id: "heat-map", hidden: true }), // filled by engines that explain
        h("p", { id: "sentence", role: "status", hidden: true }), // explain.js
        this.facts, this.like));
  }

  #original(hit) {
    return h("a", { class: "pill", id: "detail-original", href: originalPath(hit.id), target: "_blank", rel: "noopener noreferrer",
      onclick: async (event) => {
        if (!key()) return;
        event.preventDefault(); // a link sends no key
        const url = URL.createObjectURL(await (await send(originalPath(hit.id))).blob());
        h("a", { href: url, download: nameOf(hit) }).click();
        setTimeout(() => URL.revokeObjectURL(url), 60000);
      } }, icon("open"), "Original");
  }

  #cropped(box) {
    this.cropTools.hidden = !box;
    this.dialog.querySelector(".hint").hidden = Boolean(box);
  }

  #facts(item) {
    const { actions } = this;
    const link = (text, label, change) => h("button", { type: "button", class: "link", title: label, "aria-label": `${text}: ${label}`, onclick: () => actions.filter(change) }, text);
    const rows = [
      ["Taken", item.taken && link(item.taken.replace("T", " "), "all of that day", { from: item.taken.slice(0, 10), to: item.taken.slice(0, 10) })],
      ["Camera", item.camera && link(item.camera, "all of this camera", { camera: item.camera })],
      ["Lens", item.lens],
      ["Place", item.gps && link(`${item.gps.latitude.toFixed(5)}, ${item.gps.longitude.toFixed(5)}`, "all within 5 km",
        { place: `${item.gps.latitude.toFixed(5)},${item.gps.longitude.toFixed(5)},5km` })],
      ["Size", item.width ? `${count(item.width)} × ${count(item.height)}` : null],
      ["File", [item.format?.toUpperCase(), item.bytes ? bytes(item.bytes) : null, item.partial ? "cut short" : null].filter(Boolean).join(", ")],
      ["Key", item.key],
      ...Object.entries(item.fields ?? {}).map(([name, value]) => [name, String(value)]),
      ["Added", item.added_ns ? new Date(item.added_ns / 1e6).toLocaleString() : null],
    ].filter(([, value]) => value);
    this.facts.replaceChildren(
      ...(item.captions ?? []).map((caption) => h("p", { class: "caption" }, caption.text, h("span", { class: "quiet" }, ` (${caption.source})`))),
      (item.tags ?? []).length ? h("ul", { class: "tags", "aria-label": "Tags" }, ...item.tags.map((tag) => h("li", {}, link(tag, "all with this tag", { tag })))) : "",
      h("dl", {}, ...rows.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])),
      h("ul", { class: "paths", "aria-label": "Files" }, ...(item.paths ?? []).map((one) => h("li", {}, one.path, one.missing ? h("span", { class: "quiet" }, " (missing)") : null))));
    actions.learn(item);
    if (!item.paths?.length && item.name) $("detail-original").hidden = true;
    const name = nameOf({ ...item, path: item.path ?? item.paths?.[0]?.path });
    $("detail-name").textContent = name;
    this.image.alt = name;
  }

  #similar(hits) {
    const others = hits.filter((hit) => hit.id !== this.id);
    this.like.hidden = others.length === 0;
    this.like.replaceChildren(h("h3", {}, "Similar pictures"), h("ul", {}, ...others.map((hit) => {
      const image = h("img", { alt: "", loading: "lazy" });
      image.addEventListener("error", () => image.classList.add("blank"));
      show(image, thumbnailPath(hit.id, 320));
      return h("li", {}, h("button", { type: "button", "aria-label": nameOf(hit), title: nameOf(hit), onclick: () => this.actions.go(hit) }, image));
    })));
  }
}

// The share of each part in the score, as bars to the right (for) or left (against) of a line.
function why(hit, parts) {
  const shares = (hit.parts ?? []).filter((one) => parts[one.part]);
  if (hit.score === null || hit.score === undefined || shares.length === 0) return "";
  const most = Math.max(...shares.map((one) => Math.abs(one.contribution)), 1e-9);
  return h("section", { class: "why", "aria-label": "Why this picture" },
    h("h3", {}, "Why this picture", h("span", { class: "quiet", title: "score" }, ` score ${hit.score.toFixed(2)}`)),
    h("ul", {}, ...shares.map(({ part, contribution, cosine }) => {
      const bar = h("span", { class: contribution < 0 ? "bar down" : "bar up" });
      bar.style.width = `${Math.max(2, Math.abs(contribution) / most * 50)}%`;
      const label = parts[part].text ?? (parts[part].source?.startsWith("#") ? `picture ${parts[part].source.slice(1)}` : "picture");
      return h("li", { title: `cosine ${cosine.toFixed(3)}, weight ${parts[part].weight}` },
        h("span", { class: "label" }, `${parts[part].weight < 0 ? "−" : "+"} ${label}${parts[part].crop ? " (part)" : ""}`),
        h("span", { class: "track", "aria-hidden": "true" }, bar),
        h("span", { class: "value" }, (contribution < 0 ? "−" : "+") + Math.abs(contribution).toFixed(2)));
    })));
}

function bytes(n) {
  const units = ["bytes", "kB", "MB", "GB"];
  const step = n < 1000 ? 0 : Math.min(3, Math.floor(Math.log10(n) / 3));
  return `${(n / 1000 ** step).toFixed(step ? 1 : 0)} ${units[step]}`;
}
