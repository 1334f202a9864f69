// Jobs, live: those under way with how far they are, and those that ended otherwise than well until they
// are put away.
import { $, button, count, h } from "./dom.js";
import { ask } from "./api.js";

const AGAIN_MS = 5000;
const MOST_PATHS = 3;
const OPEN = new Set(["waiting", "running"]);
const KINDS = {
  add: "Adding", watch: "Taking in", rebuild: "Building the index", compact: "Compacting the index",
  caption: "Describing pictures", read: "Reading pictures",
};

export class Progress {
  // finished(job): after each job that was followed; looked(): whenever jobs may have changed something
  constructor({ finished, looked }) {
    Object.assign(this, { finished, looked, followed: new Set(), newest: null }); // newest: of the jobs that were seen
    this.look();
  }

  async look() {
    try {
      const answer = await ask("/v1/jobs");
      const jobs = answer.jobs ?? [];
      const missed = jobs.filter((job) => this.newest !== null && job.id > this.newest && !OPEN.has(job.state));
      this.newest = Math.max(this.newest ?? 0, ...jobs.map((job) => job.id));
      jobs.filter((job) => OPEN.has(job.state)).forEach((job) => this.follow(job));
      missed.forEach((job) => this.#end(this.#row(), job)); // begun and ended since the last look
      if (this.followed.size > 0) this.looked();
    } catch (error) {
      if (error.status === 401 || error.status === 403) return; // it may not be seen
    }
    setTimeout(() => (document.hidden ? document.addEventListener("visibilitychange", () => this.look(), { once: true }) : this.look()), AGAIN_MS);
  }

  async follow(job) {
    if (this.followed.has(job.id)) return;
    this.followed.add(job.id);
    const row = this.#row();
    this.#draw(row, job);
    let last = job;
    try {
      const { events } = await import("./stream.js");
      for await (const { name, data } of events(`/v1/jobs/${Number(job.id)}/events`)) {
        if (name === "progress") last = { ...last, state: "running", progress: data };
        else if (name !== "warning") last = { ...last, ...data };
        if (!OPEN.has(last.state)) break;
        this.#draw(row, last);
      }
      last = await ask(`/v1/jobs/${Number(job.id)}`); // how it ended
    } catch { /* the next look finds it again */ }
    this.followed.delete(job.id);
    this.#end(row, last);
  }

  #row() {
    const row = h("div", { class: "job" }, h("span", { class: "text" }), h("progress", { "aria-label": "pictures done" }));
    $("progress").append(row);
    $("progress").hidden = false;
    return row;
  }

  #end(row, job) {
    const trouble = troubleOf(job);
    if (trouble) this.#keep(row, `${titleOf(job)} · ${trouble}`);
    else this.#drop(row);
    if (!OPEN.has(job.state)) this.finished(job);
  }

  #draw(row, job) {
    const { done = 0, total = 0, failed = 0 } = job.progress ?? {};
    const [text, bar] = row.children;
    const words = [titleOf(job)];
    if (job.state === "waiting") words.push(job.message ? `waiting: ${job.message}` : "waiting");
    else words.push(total ? `${count(done)} of ${count(total)}` : done ? count(done) : "beginning");
    if (failed) words.push(`${count(failed)} could not be read`);
    text.textContent = words.join(" · ");
    if (total && job.state !== "waiting") {
      bar.max = total;
      bar.value = done;
    } else {
      bar.removeAttribute("value"); // nobody knows how far it is
    }
  }

  #drop(row) {
    row.remove();
    $("progress").hidden = $("progress").children.length === 0;
  }

  #keep(row, words) {
    row.className = "job ended";
    row.replaceChildren(h("span", { class: "text" }, words), button("Put away", "close", { onclick: () => this.#drop(row) }));
  }
}

const titleOf = (job) => {
  const what = KINDS[job.kind] ?? KINDS.add;
  const paths = (job.paths ?? []).slice(0, MOST_PATHS);
  const more = (job.n_paths ?? job.paths?.length ?? 0) - paths.length;
  if (paths.length) return `${what} ${paths.join(", ")}${more > 0 ? ` and ${count(more)} more` : ""}`;
  return job.query ? `${what}: ${job.query}` : what;
};

// What a person should know of a job that is over; empty when all went well.
function troubleOf(job) {
  const { added = 0, failed = 0 } = job.progress ?? {};
  if (OPEN.has(job.state)) return "";
  if (job.state === "stopped") return "stopped";
  if (failed && job.state === "done") return `${count(added)} added, ${count(failed)} could not be read`;
  return job.state === "failed" || job.error ? job.error?.message ?? "did not come to its end" : "";
}
