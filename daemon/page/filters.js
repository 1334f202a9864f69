// The form of filters: it is read when it is sent, and shows the query's filters when those change.
import { $, h } from "./dom.js";

const NUMBER = "-?\\d{1,3}(?:\\.\\d+)?";
const PLACE = new RegExp(`^\\s*(${NUMBER})\\s*[,; ]\\s*(${NUMBER})\\s*$`);
const NEAR = /^(.*),([0-9.]+km)$/;

export class Filters {
  constructor(apply) {
    $("filters-toggle").addEventListener("click", () => this.open($("filters").hidden));
    $("filters").addEventListener("submit", (event) => {
      event.preventDefault();
      const values = this.#read();
      if (values) apply(values);
    });
    $("filters-clear").addEventListener("click", () => apply({ from: "", to: "", camera: "", tag: "", place: "" }));
  }

  open(yes) {
    $("filters").hidden = !yes;
    $("filters-toggle").setAttribute("aria-expanded", String(yes));
    if (yes) $("from").focus();
  }

  draw(query) {
    for (const name of ["from", "to", "camera", "tag"]) $(name).value = query[name];
    const near = NEAR.exec(query.place);
    $("where").value = near ? near[1].replace(",", ", ") : query.place;
    if (near && [...$("radius").options].every((option) => option.value !== near[2])) {
      $("radius").append(h("option", { value: near[2] }, near[2].replace("km", " km")));
    }
    if (near) $("radius").value = near[2];
    this.#fault("");
    const n = [query.from || query.to, query.camera, query.tag, query.place].filter(Boolean).length;
    $("filters-toggle").classList.toggle("active", n > 0);
    $("filters-toggle").setAttribute("aria-label", n ? `Filters, ${n} set` : "Filters");
  }

  // Values that were seen become proposals.
  learn(item) {
    const add = (list, value) => {
      if (value && [...$(list).options].every((option) => option.value !== value)) $(list).append(h("option", { value }));
    };
    add("cameras", item.camera);
    (item.tags ?? []).forEach((tag) => add("tags", tag));
  }

  #fault(text) {
    $("where-fault").textContent = text;
    $("where").toggleAttribute("aria-invalid", text !== "");
  }

  #read() {
    const where = $("where").value.trim();
    const place = PLACE.exec(where);
    if (where && (!place || Math.abs(place[1]) > 90 || Math.abs(place[2]) > 180)) {
      this.#fault("A place is latitude and longitude in degrees: 48.86, 2.35");
      $("where").focus();
      return null;
    }
    if ($("from").value && $("to").value && $("from").value > $("to").value) {
      this.#fault("The first day lies behind the last one");
      return null;
    }
    return { from: $("from").value, to: $("to").value, camera: $("camera").value.trim(), tag: $("tag").value.trim(),
      place: where ? `${place[1]},${place[2]},${$("radius").value}` : "" };
  }
}
