// Jobs under way, live. A server without jobs has no such route: then nothing is shown.
import { $, count, h } from "./dom.js";
import { ask } from "./api.js";

const AGAIN_MS = 10000;
const OPEN = new Set(["waiting", "running"]);
const KINDS = { add: "Adding", rebuild: "Building the index", compact: "Compacting the index", caption: "Describing pictures", read: "Reading pictures" };

export class Progress {
  constructor(finished) {
    Object.assign(this, { finished, followed: new Set() });
    this.look();
  }

  async look() {
    try {
      const answer = await ask("/v1/jobs");
      (answer.jobs ?? []).filter((job) => OPEN.has(job.state)).forEach((job) => this.follow(job));
    } catch (error) {
      if (error.status === 404 || error.status === 401 || error.status === 403) return;
    }
    setTimeout(() => (document.hidden ? document.addEventListener("visibilitychange", () => this.look(), { once: true }) : this.look()), AGAIN_MS);
  }

  async follow(job) {
    if (this.followed.has(job.id)) return;
    this.followed.add(job.id);
    const row = h("div", { class: "job" }, h("span", { class: "text" }), h("progress", { "aria-label": "pictures done" }));
    $("progress").append(row);
    $("progress").hidden = false;
    this.#draw(row, job);
    let last = job;
    try {
      const { events } = await import("./stream.js");
      for await (const { data: event } of events(`/v1/jobs/${Number(job.id)}/events`)) {
        last = "state" in event || "progress" in event ? { ...last, ...event } : { ...last, progress: event };
        this.#draw(row, last);
        if (!OPEN.has(last.state)) break;
      }
      last = await ask(`/v1/jobs/${Number(job.id)}`); // how it ended
    } catch { /* the next look finds it again */ }
    row.remove();
    this.followed.delete(job.id);
    $("progress").hidden = $("progress").children.length === 0;
    if (!OPEN.has(last.state)) this.finished(last);
  }

  #draw(row, job) {
    const { done = 0, total = 0, failed = 0 } = job.progress ?? {};
    const [text, bar] = row.children;
    const what = KINDS[job.kind] ?? KINDS.add;
    const words = [job.paths?.length ? `${what} ${job.paths.join(", ")}` : job.query ? `${what}: ${job.query}` : what];
    if (job.state === "waiting") words.push("waiting");
    else words.push(total ? `${count(done)} of ${count(total)}` : count(done));
    if (failed) words.push(`${count(failed)} could not be read`);
    text.textContent = words.join(" · ");
    if (total) {
      bar.max = total;
      bar.value = done;
    }
  }
}
