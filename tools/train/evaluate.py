"""Measures a model folder on every dev list, beside two baselines, with bootstrap intervals.

    evaluate.py MODEL [--work .train] [--json FILE] [--markdown FILE]

Baselines: *random*, and *colours*: histograms of 4 x 4 places x 128 colours (Hellinger). Picture
to picture they are compared directly. For texts a prototype stands in: the mean histogram of the
train pictures that bear the text's caption, or else the nouns found in it; a text without any is
ranked at random. So the colour baseline has seen the train labels, as the model has.
An interval is the 2.5-97.5 % range of 2,000 resamplings of pictures (or queries). A baseline
counts as beaten when the same range of the paired difference lies above zero.
"""

import argparse
import csv
import json
import os
import pickle
import re

import numpy as np
import torch
from transformers import CLIPModel

import colours
import model as clip
import texts
from batches import MEAN, STD
from prepare import centre_square
from tokenizer import Tokenizer

HERE = os.path.dirname(os.path.abspath(__file__))
COMMON = [
    "a photo of a {}.",
    "a photo of the {}.",
    "a picture of a {}.",
    "a small photo of a {}.",
    "{}",
]
OWN = {
    "grocery": ["a photo of {} in a grocery store."],
    "fashion": ["a product photo of {}."],
    "trash": ["a photo of {} waste."],
    "pets": ["a photo of a {}, a kind of pet."],
    "emoji": ["an emoji of {}."],
}
ZERO_SHOT = [
    "caltech101",
    "grocery",
    "clothing",
    "flowers",
    "trash",
    "openimages",
    "emoji",
    "cifar10",
    "pets",
    "fashion",
]
TO_IMAGE = ["grocery", "emoji", "nlvr", "food", "fashion"]
NEIGHBOURS = ["caltech101", "grocery", "clothing", "flowers", "trash", "cifar10", "pets", "fashion"]
TRAINED = ["caltech101", "grocery", "clothing", "flowers", "trash"]
FOREIGN = ["cifar10", "pets", "fashion"]


def histogram(rgb):
    """Square roots of 4 x 4 places x 128 HSV bins; dot products are Hellinger affinities."""
    hue, sat, val = colours.hsv(rgb)
    bins = (
        np.minimum(hue // 45, 7) * 16
        + np.minimum(sat * 4, 3).astype(int) * 4
        + np.minimum(val * 4, 3).astype(int)
    ).astype(int)
    s = rgb.shape[0] // 4
    cells = [
        np.bincount(bins[y : y + s, x : x + s].ravel(), minlength=128)
        for y in range(0, 4 * s, s)
        for x in range(0, 4 * s, s)
    ]
    return np.sqrt(np.concatenate(cells) / (16 * s * s)).astype(np.float32)


class Prototypes:
    """Mean train histograms by key, and the words that lead to them."""

    def __init__(self, prepared):
        cache = f"{prepared}/prototypes.pickle"
        if not os.path.exists(cache):
            with open(cache + ".new", "wb") as f:
                pickle.dump(self.measure(prepared), f)
            os.replace(cache + ".new", cache)
        with open(cache, "rb") as f:
            self.means = pickle.load(f)
        self.rng = np.random.default_rng(7)

    @staticmethod
    def measure(prepared):
        with open(f"{prepared}/train.pickle", "rb") as f:
            rows = pickle.load(f)
        pixels = np.memmap(f"{prepared}/pixels.u8", dtype=np.uint8, mode="r")
        sums = {}
        for picture, (at, h, w) in rows:
            if picture.set_name in ("shapes", "pasted"):
                continue
            h_ = histogram(centre_square(pixels[at : at + h * w * 3].reshape(h, w, 3)))
            for key in picture.keys:
                total, n = sums.get(key, (0, 0))
                sums[key] = (total + h_, n + 1)
        return {k: total / n for k, (total, n) in sums.items()}

    def scores(self, text, gallery):
        """Scores of gallery histograms for a text."""
        found = self.means.get(texts.caption_key(text))
        if found is None:
            plain = re.sub(r"[^a-z0-9' -]+", " ", text.lower()).split()
            nouns, i = [], 0
            while i < len(plain):
                for j in range(min(len(plain), i + 4), i, -1):
                    noun = " ".join(plain[i:j])
                    hit = next(
                        (
                            n
                            for n in (
                                noun,
                                noun.rstrip("s"),
                                noun[:-2] if noun.endswith("es") else noun,
                            )
                            if texts.concept(n) in self.means
                        ),
                        None,
                    )
                    if hit:
                        nouns.append(self.means[texts.concept(hit)])
                        i = j - 1
                        break
                i += 1
            found = np.mean(nouns, 0) if nouns else None
        if found is None:
            return self.rng.random(len(gallery)).astype(np.float32)
        return gallery @ found + 1e-7 * self.rng.random(len(gallery)).astype(np.float32)


class Model:
    """Vectors of a model folder."""

    def __init__(self, folder):
        self.net = CLIPModel.from_pretrained(folder, dtype=torch.float32).eval()
        self.net.set_attn_implementation("eager")
        self.tokenizer = Tokenizer.load(folder)

    def images(self, pixels):
        out = []
        with torch.inference_mode():
            for i in range(0, len(pixels), 64):
                x = torch.from_numpy(pixels[i : i + 64].copy()).permute(0, 3, 1, 2).float() / 255
                out.append(
                    clip.image_vectors(self.net, clip.pooled_image(self.net, (x - MEAN) / STD))
                )
        return torch.cat(out).numpy()

    def texts(self, said):
        out = []
        with torch.inference_mode():
            for i in range(0, len(said), 256):
                out.append(
                    clip.text_vectors(
                        self.net, torch.tensor(self.tokenizer.batch(said[i : i + 256]))
                    )
                )
        return torch.cat(out).numpy()

    def label(self, name, set_name):
        """Normalised mean over the templates of a set."""
        said = [t.format(name) for t in COMMON + OWN.get(set_name, [])]
        mean = self.texts(said).mean(0)
        return mean / np.linalg.norm(mean)


def interval(values, rng):
    """Mean and 95 % bootstrap range, in per cent."""
    values = np.asarray(values, dtype=np.float64)
    picks = rng.integers(0, len(values), (2000, len(values)))
    low, high = np.percentile(values[picks].mean(1), [2.5, 97.5]).tolist()
    return {
        "mean": round(100 * float(values.mean()), 1),
        "low": round(100 * low, 1),
        "high": round(100 * high, 1),
    }


def entry(n, model, random, colour, rng):
    """One line of a table: scores per picture or query, and which baselines are beaten."""
    model, random, colour = (np.asarray(x, dtype=np.float64) for x in (model, random, colour))
    line = {
        "n": n,
        "model": interval(model, rng),
        "random": round(100 * float(random.mean()), 1),
        "colours": interval(colour, rng),
    }
    line["beats_random"] = interval(model - random, rng)["low"] > 0
    line["beats_colours"] = interval(model - colour, rng)["low"] > 0
    return line


def zero_shot(rows, vectors, histograms, model, protos, set_name, labels, rng):
    """Top-1 and top-5 over all labels of a set, per picture."""
    by_model = vectors @ np.stack([model.label(label, set_name) for label in labels]).T
    by_colour = np.stack([protos.scores(label, histograms) for label in labels], 1)
    truth = np.array([labels.index(r["label"]) for r in rows])
    out = {"labels": len(labels)}
    for k in (1, 5):
        if k >= len(labels):
            continue
        hits = [(np.argsort(-s, 1)[:, :k] == truth[:, None]).any(1) for s in (by_model, by_colour)]
        out[f"top{k}"] = entry(
            len(rows), hits[0], np.full(len(rows), min(1, k / len(labels))), hits[1], rng
        )
    out["top1"]["mean_over_labels"] = round(
        100 * float(np.mean([hits_of(by_model, truth, i) for i in np.unique(truth)])), 1
    )
    return out


def hits_of(scores, truth, label):
    """Top-1 rate of the pictures of one label."""
    mine = truth == label
    return (scores[mine].argmax(1) == label).mean()


def label_queries(rows, vectors, histograms, model, protos, set_name, rng):
    """P@10 of each label as a query within its set."""
    labels = np.array([r["label"] for r in rows])
    per = []
    for label in sorted(set(labels)):
        right = labels == label
        most = min(10, right.sum())
        scores = [vectors @ model.label(label, set_name), protos.scores(label, histograms)]
        found = [right[np.argsort(-s)[:10]].sum() / most for s in scores]
        per.append((found[0], 10 * right.mean() / most, found[1]))
    m, r, c = zip(*per)
    return entry(len(per), m, r, c, rng)


def captions(rows, vectors, histograms, model, protos, rng):
    """R@1, 5, 10 of source captions within the set, both ways for the model."""
    said = sorted({r["caption"] for r in rows if r["caption_kind"] == "source"})
    all_captions = np.array([r["caption"] for r in rows])
    by_model = vectors @ model.texts(said).T
    by_colour = np.stack([protos.scores(t, histograms) for t in said], 1)
    out = {"queries": len(said), "gallery": len(rows)}
    for k in (1, 5, 10):
        per = []
        for j, text in enumerate(said):
            right = all_captions == text
            found = [right[np.argsort(-s[:, j])[:k]].any() for s in (by_model, by_colour)]
            miss = (
                np.prod([(len(rows) - right.sum() - i) / (len(rows) - i) for i in range(k)])
                if len(rows) > k
                else 0
            )
            per.append((found[0], 1 - max(miss, 0), found[1]))
        out[f"r{k}"] = entry(len(said), *zip(*per), rng)
    back = [
        said[int(row.argmax())] == text for row, text in zip(by_model, all_captions) if text in said
    ]
    out["image_to_text_r1"] = interval(back, rng)
    return out


def neighbours(rows, vectors, histograms, rng):
    """Picture to picture P@10, divided by what is possible."""
    labels = np.array([r["label"] for r in rows])
    sums = [v @ v.T for v in (vectors, histograms)]
    per = []
    for i, label in enumerate(labels):
        others = (labels == label).sum() - 1
        if others < 1:
            continue
        most = min(10, others)
        found = []
        for s in sums:
            order = np.argsort(-s[i])
            found.append((labels[order[order != i][:10]] == label).sum() / most)
        per.append((found[0], 10 * others / (len(labels) - 1) / most, found[1]))
    m, r, c = zip(*per)
    return entry(len(per), m, r, c, rng)


def plain_queries(rows, vectors, histograms, model, protos, rng):
    """hit@10 of the queries of queries.tsv over all dev pictures together."""
    names = [f"{r['set']}:{r['label']}|{r['caption']}".lower() for r in rows]
    with open(f"{HERE}/queries.tsv", encoding="utf-8", newline="") as f:
        queries = list(csv.DictReader(f, delimiter="\t", quoting=csv.QUOTE_NONE))
    per, lines = [], []
    for q in queries:
        right = np.array([bool(re.search(q["right"], n)) for n in names])
        if not right.any():
            raise SystemExit(f"query {q['query']!r} has no right picture")
        order = np.argsort(-(vectors @ model.texts([q["query"]])[0]))
        by_colour = np.argsort(-protos.scores(q["query"], histograms))
        n, m = len(rows), int(right.sum())
        miss = np.prod([(n - m - i) / (n - i) for i in range(10)])
        per.append(
            (right[order[:10]].any(), 1 - miss, right[by_colour[:10]].any(), right[order[0]])
        )
        lines.append(
            {
                "query": q["query"],
                "right": m,
                "in_first_10": int(right[order[:10]].sum()),
                "first": bool(right[order[0]]),
                "colours_in_first_10": int(right[by_colour[:10]].sum()),
            }
        )
    hit, random, colour, first = zip(*per)
    return {
        "hit10": entry(len(per), hit, random, colour, rng),
        "first": interval(first, rng),
        "gallery": len(rows),
        "queries": lines,
    }


def composition(rows, vectors, model, rng):
    """Drawn dev pictures: R@1 among 100, and captions against their two colours exchanged."""
    said = [r["caption"] for r in rows]
    words = model.texts(said)
    hits = []
    for at in range(0, len(rows), 100):
        best = (words[at : at + 100] @ vectors[at : at + 100].T).argmax(1)
        hits += [said[at + b] == said[at + i] for i, b in enumerate(best)]
    names = "|".join(
        [
            "red",
            "green",
            "blue",
            "yellow",
            "orange",
            "purple",
            "pink",
            "brown",
            "black",
            "white",
            "grey",
            "turquoise",
        ]
    )
    forced = []
    for i, row in enumerate(rows):
        found = re.findall(rf"\b({names})\b", said[i])
        if row["source path"].endswith(":two") and len(found) == 2 and found[0] != found[1]:
            a, b = found
            other = re.sub(
                rf"\b({a}|{b})\b", lambda m, a=a, b=b: b if m.group() == a else a, said[i]
            )
            forced.append(float(vectors[i] @ words[i] > vectors[i] @ model.texts([other])[0]))
    return {
        "r1_of_100": interval(hits, rng),
        "exchanged": interval(forced, rng),
        "exchanged_n": len(forced),
    }


def spread(value):
    """A mean with its interval."""
    return f"{value['mean']} ({value['low']}-{value['high']})"


def beaten(line):
    """Whether both baselines are beaten."""
    return line["beats_random"] and line["beats_colours"]


def table(title, first, lines):
    """A table; lines are (cells of the first columns, entry)."""
    head = first + ["model (95 %)", "random", "colours (95 %)", "both beaten"]
    out = ["", f"### {title}", "", "| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for cells, line in lines:
        lost = [b for b in ("random", "colours") if not line[f"beats_{b}"]]
        verdict = "no: " + ", ".join(lost) if lost else "yes"
        cells = cells + [spread(line["model"]), line["random"], spread(line["colours"]), verdict]
        out.append("| " + " | ".join(map(str, cells)) + " |")
    return out


def markdown(result):
    """The result as tables."""

    def name(s):
        return f"{s} (foreign)" if s in FOREIGN else s

    zero = [
        ([name(s), z["labels"], z[k]["n"], k], z[k])
        for s, z in result["zero_shot"].items()
        for k in ("top1", "top5")
        if k in z
    ]
    asked = [([name(s), line["n"]], line) for s, line in result["label_queries"].items()]
    said = [
        ([name(s), c["queries"], c["gallery"], f"R@{k}"], c[f"r{k}"])
        for s, c in result["captions"].items()
        for k in (1, 5, 10)
    ]
    near = [([name(s), line["n"]], line) for s, line in result["neighbours"].items()]
    plain, c = result["plain"], result["composition"]
    hit = [([plain["hit10"]["n"], plain["gallery"]], plain["hit10"])]
    out = table(
        "Zero-shot: the label among all labels of its set, %",
        ["set", "labels", "pictures", "measure"],
        zero,
    )
    out += table("A label as query within its set, P@10 %", ["set", "labels asked"], asked)
    out += table(
        "Source captions as queries within their set, %",
        ["set", "queries", "pictures", "measure"],
        said,
    )
    out += table("Picture to picture, P@10 %", ["set", "pictures"], near)
    out += table(
        "Sixty plain queries over all dev pictures, hit@10 %", ["queries", "pictures"], hit
    )
    out += [
        "",
        f"A right picture comes first for {spread(plain['first'])} % of the plain queries.",
        f"Drawn compositions, R@1 of 100: {spread(c['r1_of_100'])} % (chance 1); two colours",
        f"exchanged: {spread(c['exchanged'])} % (chance 50, {c['exchanged_n']} pictures).",
        "",
        "Sets of at least 100 pictures where not both baselines are beaten: "
        + ("; ".join(result["failures"]) or "none")
        + ".",
    ]
    return "\n".join(out[1:]) + "\n"


def failures_of(result):
    """Sets of >= 100 pictures where a baseline is not beaten, by measure."""
    out = []
    for name, z in result["zero_shot"].items():
        out += [
            f"{name} zero-shot {k}"
            for k in ("top1", "top5")
            if k in z and z[k]["n"] >= 100 and not beaten(z[k])
        ]
    out += [
        f"{name} label queries"
        for name, line in result["label_queries"].items()
        if result["zero_shot"][name]["top1"]["n"] >= 100 and not beaten(line)
    ]
    for name, c in result["captions"].items():
        out += [
            f"{name} captions R@{k}"
            for k in (1, 5, 10)
            if c["gallery"] >= 100 and not beaten(c[f"r{k}"])
        ]
    out += [
        f"{name} picture to picture"
        for name, line in result["neighbours"].items()
        if line["n"] >= 100 and not beaten(line)
    ]
    return out


class Lists:
    """The dev rows with their vectors and histograms, by set."""

    def __init__(self, work, model):
        prepared = f"{work}/prepared"
        with open(f"{prepared}/dev.pickle", "rb") as f:
            self.rows = pickle.load(f)
        pixels = np.load(f"{prepared}/dev.npy", mmap_mode="r")
        self.vectors = model.images(pixels)
        self.histograms = np.stack([histogram(x) for x in pixels])
        self.sets = np.array([r["set"] for r in self.rows])
        self.work = work

    def part(self, mask):
        """(rows, vectors, histograms) where the mask holds."""
        at = np.nonzero(mask)[0]
        return [self.rows[i] for i in at], self.vectors[at], self.histograms[at]

    def of(self, set_name):
        """(rows, vectors, histograms) of one set."""
        return self.part(self.sets == set_name)

    def labels(self, set_name):
        """All labels of a set; of emoji, where each picture has its own, those of dev."""
        if set_name == "emoji":
            return sorted({r["label"] for r in self.of(set_name)[0]})
        with open(f"{self.work}/data/{set_name}.tsv", encoding="utf-8", newline="") as f:
            lines = csv.DictReader(f, delimiter="\t", quoting=csv.QUOTE_NONE)
            return sorted({r["label"] for r in lines})


def measure(lists, model, protos, rng):
    """All tables."""
    result = {
        "zero_shot": {
            s: zero_shot(*lists.of(s), model, protos, s, lists.labels(s), rng) for s in ZERO_SHOT
        },
        "label_queries": {
            s: label_queries(*lists.of(s), model, protos, s, rng) for s in ZERO_SHOT if s != "emoji"
        },
        "captions": {s: captions(*lists.of(s), model, protos, rng) for s in TO_IMAGE},
        "neighbours": {s: neighbours(*lists.of(s), rng) for s in NEIGHBOURS},
        "plain": plain_queries(*lists.part(lists.sets != "shapesdev"), model, protos, rng),
        "composition": composition(*lists.of("shapesdev")[:2], model, rng),
    }
    result["summary"] = summary(result)
    result["failures"] = failures_of(result)
    return result


def summary(result):
    """The few figures by which runs are compared."""
    top1 = {s: z["top1"]["model"]["mean"] for s, z in result["zero_shot"].items()}
    near = result["neighbours"].values()
    return {
        "trained_top1": round(float(np.mean([top1[s] for s in TRAINED])), 1),
        "foreign_top1": round(float(np.mean([top1[s] for s in FOREIGN])), 1),
        "neighbours": round(float(np.mean([x["model"]["mean"] for x in near])), 1),
        "neighbours_colours": round(float(np.mean([x["colours"]["mean"] for x in near])), 1),
        "hit10": result["plain"]["hit10"]["model"]["mean"],
        "composition_r1": result["composition"]["r1_of_100"]["mean"],
    }


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="a model folder")
    parser.add_argument("--work", default=".train")
    parser.add_argument("--json", help="write all figures here")
    parser.add_argument("--markdown", help="write the tables here")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model = Model(args.model)
    protos = Prototypes(f"{args.work}/prepared")
    result = measure(Lists(args.work, model), model, protos, np.random.default_rng(11))
    if args.json:
        with open(args.json, "w", encoding="utf-8") as f:
            json.dump(result, f, indent=1)
    if args.markdown:
        with open(args.markdown, "w", encoding="utf-8") as f:
            f.write(markdown(result))
    print(json.dumps(result["summary"]))


if __name__ == "__main__":
    main()
