// The query language, as far as the page must see into it: what of a typed query is a text, a picture
// or a filter. Whatever this cannot read is sent as it was typed, and the server says what is wrong.

export const FIELDS = ["taken", "added", "camera", "lens", "near", "box", "path", "tag", "type", "in",
  "source", "width", "height", "bytes", "has", "is", "key", "caption"];

const BLANK = /[ \t-\r\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff]/;
const HEAD = /^([A-Za-z][A-Za-z0-9_]*)(:|<=|>=|<|>|=)/;
const BOX = /^\[-?[\d.]+%?,-?[\d.]+%?,-?[\d.]+%?,-?[\d.]+%?\]/;
const WEIGHT = /^\^(\d+\.?\d*|\.\d+)$/;

class Reader {
  constructor(text, own) {
    this.text = text;
    this.at = 0;
    this.known = new Set([...FIELDS, ...own.map((name) => name.toLowerCase())]);
  }

  get rest() { return this.text.slice(this.at); }
  get next() { return this.text[this.at]; }
  atGap() { return this.at >= this.text.length || BLANK.test(this.next); }
  skipBlanks() { while (this.at < this.text.length && BLANK.test(this.next)) this.at++; }
  needGap() { if (!this.atGap()) throw new SyntaxError("blank expected"); }

  phrase() {
    let out = "";
    for (this.at++; this.at < this.text.length; this.at++) {
      if (this.next === '"') {
        this.at++;
        return out;
      }
      const escaped = this.next === "\\" && /["\\]/.test(this.text[this.at + 1] ?? "");
      out += this.text[escaped ? ++this.at : this.at];
    }
    throw new SyntaxError("quote is not closed");
  }

  word() {
    let out = "";
    for (; !this.atGap(); this.at++) {
      if (this.next === "\\" && this.at + 1 < this.text.length) this.at++;
      out += this.next;
    }
    return out;
  }

  weight() {
    const begin = this.at;
    while (!this.atGap()) this.at++;
    const found = WEIGHT.exec(this.text.slice(begin, this.at));
    const value = found ? Number(found[1]) : NaN;
    if (!(value > 0 && value <= 100)) throw new SyntaxError("weight");
    return value;
  }

  sign() {
    const after = this.text[this.at + 1];
    if ((this.next !== "-" && this.next !== "+") || after === undefined ||
        !/[A-Za-z0-9"@(^\u0080-\uffff]/.test(after) || BLANK.test(after)) {
      return "";
    }
    return this.text[this.at++];
  }

  // Passes a comparison; false: it is text.
  comparison() {
    const head = HEAD.exec(this.rest);
    const after = head && this.text[this.at + head[0].length];
    if (!head || after === undefined || BLANK.test(after)) return false;
    if (!this.known.has(head[1].toLowerCase())) {
      if (head[2] === ":" && /^[a-z]+$/.test(head[1])) throw new SyntaxError("unknown field");
      return false;
    }
    this.at += head[0].length;
    if (this.next === '"') {
      this.phrase();
    } else {
      while (!this.atGap() && !/[)"]/.test(this.next)) this.at++;
    }
    return true;
  }

  // Passes "( … )".
  group() {
    let depth = 0;
    do {
      if (this.at >= this.text.length) throw new SyntaxError('")" expected');
      if (this.next === '"') {
        this.phrase();
        continue;
      }
      depth += this.next === "(" ? 1 : this.next === ")" ? -1 : 0;
      this.at++;
    } while (depth > 0);
  }

  picture() {
    const part = { kind: "picture", source: "", box: "", weight: 1 };
    this.at++;
    if (this.next === '"') {
      part.source = this.phrase();
      part.quoted = true;
      part.box = BOX.exec(this.rest)?.[0] ?? "";
      this.at += part.box.length;
    } else {
      const begin = this.at;
      while (!this.atGap() && this.next !== '"') this.at++;
      const token = this.text.slice(begin, this.at);
      const bracket = token.lastIndexOf("[");
      const box = bracket >= 0 ? BOX.exec(token.slice(bracket))?.[0] : undefined;
      const end = bracket + (box?.length ?? 0);
      const fits = box && (end === token.length || token[end] === "^");
      part.source = fits ? token.slice(0, bracket) : token;
      part.box = fits ? box : "";
      this.at = fits ? begin + end : this.at;
    }
    if (part.source === "") throw new SyntaxError("picture expected");
    return part;
  }
}

// The elements of a query: {kind: "text", text, weight, must?}, {kind: "picture", source, quoted?, box,
// weight} and {kind: "filter", text}. Throws SyntaxError for what is none.
export function split(text, own = []) {
  const reader = new Reader(text, own);
  const parts = [];
  let open = null; // the part of bare words
  let last = null; // what a weight belongs to
  const add = (part, sign) => {
    if (sign === "-") part.weight = -0.5;
    if (sign === "+") part.must = true;
    parts.push(part);
    last = part;
  };
  const weigh = () => {
    if (!last || last.weighed) throw new SyntaxError("weight without a part");
    last.weight = Math.sign(last.weight) * reader.weight();
    last.weighed = true;
    if (last === open) open = null;
  };
  const glued = () => (reader.next === "^" ? weigh() : reader.needGap());
  const filter = (begin) => {
    reader.needGap();
    parts.push({ kind: "filter", text: text.slice(begin, reader.at) });
    last = null;
  };
  for (reader.skipBlanks(); reader.at < text.length; reader.skipBlanks()) {
    const begin = reader.at;
    const sign = reader.sign();
    const first = reader.next;
    if ((sign === "+" && first !== '"') || (sign === "-" && first === "^")) {
      throw new SyntaxError("sign");
    } else if (first === '"') {
      const part = { kind: "text", text: reader.phrase(), weight: 1 };
      if (part.text.trim() === "") throw new SyntaxError("nothing between the quotes");
      add(part, sign);
      glued();
    } else if (first === "@") {
      add(reader.picture(), sign);
      glued();
    } else if (first === "(") {
      reader.group();
      filter(begin);
    } else if (first === "^") {
      weigh();
    } else if (reader.comparison()) {
      filter(begin);
    } else if (sign === "-") {
      add({ kind: "text", text: reader.word(), weight: 1 }, sign);
    } else if (open) {
      open.text += " " + reader.word();
      last = open;
    } else {
      open = { kind: "text", text: reader.word(), weight: 1 };
      add(open, "");
    }
  }
  parts.forEach((part) => delete part.weighed);
  return parts;
}

export const quote = (text) => '"' + text.replace(/["\\]/g, "\\$&") + '"';

// A text that means the same as bare words.
const plain = (text) => /^[\p{L}\p{N}][\p{L}\p{N}'’.,!?-]*( [\p{L}\p{N}][\p{L}\p{N}'’.,!?-]*)*$/u.test(text);
const number = (value) => String(Math.round(value * 1000) / 1000);

// One part as the language writes it.
export function write(part, bare = false) {
  if (part.kind === "filter") return part.text;
  const size = Math.abs(part.weight);
  const negative = part.weight < 0;
  const weight = size === (negative ? 0.5 : 1) ? "" : "^" + number(size);
  if (part.kind === "picture") {
    const source = part.quoted ? quote(part.source) : part.source;
    return (negative ? "-" : "") + "@" + source + part.box + (weight && !part.box && !part.quoted ? " " : "") + weight;
  }
  if (bare && weight === "" && !part.must && plain(part.text) && (!negative || !part.text.includes(" "))) {
    return (negative ? "-" : "") + part.text;
  }
  return (negative ? "-" : part.must ? "+" : "") + quote(part.text) + weight;
}

// Parts as a query: plain words stay bare where they cannot run into each other.
export function join(parts) {
  let words = false;
  return parts.map((part) => {
    const bare = part.kind === "text" && (part.weight < 0 || !words);
    const text = write(part, bare);
    words ||= part.kind === "text" && part.weight > 0 && !/^["+]/.test(text);
    return text;
  }).join(" ");
}
