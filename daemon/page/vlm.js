// The vision-language model in the page. This file and those it needs are fetched where there is one.
import { h } from "./dom.js";
import { Again, judgementOf, markOf } from "./again.js";
import { Asking } from "./asking.js";
import { Explain } from "./explain.js";

export class Model {
  // what: /v1/vlm; queryOf(): the query that is shown; run(): searches once more; go(id): to a hit
  constructor({ judges, answers }, { grid, queryOf, run, go }) {
    document.head.append(h("link", { rel: "stylesheet", href: "/assets/vlm.css" }));
    this.queryOf = queryOf;
    this.again = new Again({ change: run, order: (hits) => grid.reorder(hits, markOf, judgementOf) });
    this.asking = new Asking({ queryOf, go });
    if (judges) this.again.show();
    if (answers) this.asking.show();
    this.explain = answers ? new Explain({ queryOf, automatic: () => this.again.on }) : null;
    this.draw(queryOf());
  }

  draw(query) { this.again.draw(query); }

  // What fetches the first page of hits another way; undefined: nothing does.
  get first() {
    return this.again.wants(this.queryOf()) ? (request, signal) => this.again.first(request, signal) : undefined;
  }

  // A search begins; another query is shown; a picture is.
  searching() { this.again.stop(); }
  changed() { this.asking.changed(); }
  drawn(hit, parts) { this.explain?.drawn(hit, parts); }
}
