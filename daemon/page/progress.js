// Jobs under way, live. A server without jobs has no such route: then nothing is shown.
import { $, announce, count, h } from "./dom.js";
import { ask, send } from "./api.js";

const AGAIN_MS = 10000;
const OPEN = new Set(["queued", "running"]);

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
    const row = h("div", { class: "job" }, h("span", { class: "text" }), h("progress", { "aria-label": "pictures added" }));
    $("progress").append(row);
    $("progress").hidden = false;
    this.#draw(row, job);
    let last = job;
    try {
      for await (const event of events(`/v1/jobs/${Number(job.id)}/events`)) {
        last = { ...last, ...event };
        this.#draw(row, last);
        if (last.state && !OPEN.has(last.state)) break;
      }
    } catch { /* the next look finds it again */ }
    row.remove();
    this.followed.delete(job.id);
    $("progress").hidden = $("progress").children.length === 0;
    if (last.state && !OPEN.has(last.state)) this.finished(last);
  }

  #draw(row, job) {
    const done = job.done ?? job.added ?? 0;
    const [text, bar] = row.children;
    const words = [job.path ? `Adding ${job.path}` : "Adding pictures", job.total ? `${count(done)} of ${count(job.total)}` : count(done)];
    if (job.failed) words.push(`${count(job.failed)} could not be read`);
    text.textContent = words.join(" · ");
    if (job.total) {
      bar.max = job.total;
      bar.value = done;
    }
    if (job.state === "failed") announce("Adding pictures failed");
  }
}

// The objects of a stream of server-sent events. Not EventSource: it sends no key.
async function* events(path) {
  const answer = await send(path, { accept: "text/event-stream" });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split(/\r?\n\r?\n/);
    rest = blocks.pop();
    for (const block of blocks) {
      const data = block.split(/\r?\n/).filter((line) => line.startsWith("data:")).map((line) => line.slice(5).trimStart()).join("\n");
      if (data) yield JSON.parse(data);
    }
  }
}
