// Pictures that come by hand: files and hits dropped on the page, pasted, chosen.
import { $ } from "./dom.js";
import { filesOf, keep } from "./pictures.js";

const ITEM = "application/x-imago-item";

// add(sources, weight) gets what was dropped; fail(error) what could not be read
export function watchDrops({ add, fail }) {
  const overlay = $("drop");
  const zones = [[$("drop-plus"), 1], [$("drop-minus"), -0.5]];
  const takes = (event) => event.dataTransfer && [...event.dataTransfer.types].some((type) => type === "Files" || type === ITEM);
  const hide = () => { overlay.hidden = true; zones.forEach(([zone]) => zone.classList.remove("over")); };

  const take = async (files, weight) => {
    try {
      const sources = [];
      for (const file of files) sources.push(await keep(file));
      if (sources.length > 0) add(sources, weight);
    } catch (error) {
      fail(error);
    }
  };

  document.addEventListener("dragenter", (event) => {
    if (!takes(event) || document.querySelector("dialog[open]")) return;
    event.preventDefault();
    overlay.hidden = false;
  });
  document.addEventListener("dragover", (event) => {
    if (!takes(event)) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = "copy";
    zones.forEach(([zone]) => zone.classList.toggle("over", zone.contains(event.target)));
  });
  document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) hide(); });
  document.addEventListener("dragend", hide);
  document.addEventListener("drop", (event) => {
    if (!takes(event)) return;
    event.preventDefault();
    const weight = zones.find(([zone]) => zone.contains(event.target))?.[1] ?? 1;
    const item = event.dataTransfer.getData(ITEM);
    hide();
    if (/^[1-9][0-9]{0,17}$/.test(item)) add([`#${item}`], weight);
    else take(filesOf(event.dataTransfer), weight);
  });
  document.addEventListener("paste", (event) => {
    const files = filesOf(event.clipboardData).filter((file) => file.type.startsWith("image/"));
    if (files.length === 0) return;
    event.preventDefault();
    take(files, 1);
  });
  $("choose").addEventListener("click", () => $("file").click());
  $("file").addEventListener("change", () => {
    take([...$("file").files], 1);
    $("file").value = "";
  });
}
