// Making elements. Texts become text nodes: nothing here reads HTML.

const SVG = "http://www.w3.org/2000/svg";
const ICONS = {
  plus: "M12 5v14M5 12h14", minus: "M5 12h14", close: "M6 6l12 12M18 6L6 18",
  crop: "M7 2v15h15M2 7h15v15", left: "M15 5l-7 7 7 7", right: "M9 5l7 7-7 7",
  open: "M14 4h6v6M20 4l-9 9M18 14v5a1 1 0 0 1-1 1H5a1 1 0 0 1-1-1V7a1 1 0 0 1 1-1h5",
  picture: "M4 5h16v14H4zM4 16l5-5 4 4 3-3 4 4M15 9h.01",
};

export const $ = (id) => document.getElementById(id);

export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  svg.setAttribute("class", "icon");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

// h("button", {class: "x", onclick: f, "aria-label": "…"}, "text", node, …)
export function h(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value === true) element.setAttribute(key, "");
    else element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export const button = (label, iconName, attributes = {}) =>
  h("button", { type: "button", class: "icon-button", "aria-label": label, title: label, ...attributes }, icon(iconName));

// Says it to screen readers.
export function announce(text) {
  $("announce").textContent = text;
}

export const count = (n) => Number(n).toLocaleString("en");
export const nameOf = (hit) => hit.name ?? (hit.path ? hit.path.split("/").pop() : `picture ${hit.id}`);
