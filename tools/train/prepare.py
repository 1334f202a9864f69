"""Makes what the training reads: one flat file of pixels, texts, vocabulary, dev pixels.

    prepare.py [--data ../shared/data] [--work .train]

Unpacks the picture sets, draws shapes and pasted scenes, measures colours. Train rows only;
dev rows are stored apart, centre-cropped as the shipped preprocessor does it, for evaluate.py.
"""

import argparse
import collections
import csv
import os
import pickle
import subprocess
import sys

import numpy as np
from PIL import Image

import colours
import scenes
import texts
import words
from tokenizer import Tokenizer, train_merges

SIZE = 128
KIND_WORDS = {
    "chart": ["a chart", "a diagram", "a graph"],
    "screen": ["a screenshot", "a screen", "a screenshot of an app"],
    "paper": ["a document", "a page of paper", "a scanned document"],
    "scene": ["a drawing of a landscape", "a drawn scene"],
}


def rows(path):
    """Rows of one list as dicts."""
    with open(path, encoding="utf-8", newline="") as f:
        return list(csv.DictReader(f, delimiter="\t", quoting=csv.QUOTE_NONE))


def load(path):
    """A picture as [h, w, 3] uint8."""
    with Image.open(path) as im:
        return np.asarray(im.convert("RGB"))


def centre_square(rgb):
    """Shortest edge to 128 bicubic, centre crop 128: what preprocessor_config.json says."""
    im = Image.fromarray(rgb)
    w, h = im.size
    if w <= h:
        im = im.resize((SIZE, int(SIZE * h / w)), Image.Resampling.BICUBIC)
    else:
        im = im.resize((int(SIZE * w / h), SIZE), Image.Resampling.BICUBIC)
    left, top = (im.width - SIZE) // 2, (im.height - SIZE) // 2
    return np.asarray(im.crop((left, top, left + SIZE, top + SIZE)))


def fetch(data, folder, n_shapes, seed):
    """Unpacks the sets and draws the shapes, unless they are there."""
    if not os.path.exists(f"{folder}/train.tsv"):
        subprocess.run([sys.executable, f"{data}/unpack.py", folder], check=True)
    for name, n, s, split in (("shapes", n_shapes, seed, "train"), ("shapesdev", 1000, 2, "dev")):
        if not os.path.exists(f"{folder}/{name}/pictures.tsv"):
            subprocess.run(
                [
                    sys.executable,
                    f"{data}/make_shapes.py",
                    f"{folder}/{name}",
                    "-n",
                    str(n),
                    "--seed",
                    str(s),
                    "--split",
                    split,
                ],
                check=True,
            )


def measured_colour(set_name, label, source, rgb):
    """The colour word of a photo or emoji, where one may be given."""
    if set_name == "clothing":
        return colours.dominant(rgb, chromatic=False, share=0.55)
    if set_name == "grocery" and "/Packages/" not in source:
        return colours.dominant(rgb, chromatic=True, share=0.7)
    if set_name == "flowers" or (set_name == "caltech101" and label.lower() in words.HAS_COLOUR):
        colour = colours.dominant(rgb, chromatic=True, share=0.62)
        return None if set_name == "flowers" and colour == "green" else colour
    return scenes.colour_of(rgb) if set_name == "emoji" else None


def train_pictures(folder):
    """(Picture, pixels) of each train row."""
    allowed = {r["file"] for r in rows(f"{folder}/train.tsv") if r["use"] == "train"}
    for set_name in texts.SAMPLING:
        for row in rows(f"{folder}/{set_name}.tsv"):
            if row["file"] in allowed:
                rgb = load(f"{folder}/{row['file']}")
                colour = measured_colour(set_name, row["label"], row["source path"], rgb)
                yield texts.build(row, set_name, colour), rgb


def drawn_pictures(folder):
    """(Picture, pixels) of each rendered shape; papers and screens also say their kind."""
    for row in rows(f"{folder}/shapes/pictures.tsv"):
        kind = row["source path"].rsplit(":", 1)[-1]
        words_of_kind = next((v for k, v in KIND_WORDS.items() if kind.startswith(k)), [])
        if kind.startswith("paper") and "chart" in row["caption"]:
            words_of_kind = KIND_WORDS["chart"]
        captions = [row["caption"]] * max(1, len(words_of_kind)) + words_of_kind
        keys = frozenset(texts.caption_key(c) for c in captions)
        yield texts.Picture("shapes", row["file"], kind, captions, [], [], [], keys, False), load(
            f"{folder}/shapes/{row['file']}"
        )


def pasted_pictures(found, n, seed):
    """(Picture, pixels) of n pasted scenes from the train emoji and train photos found so far."""
    rng = np.random.default_rng(seed)
    things = []
    for picture, rgb in found:
        if picture.set_name == "emoji" and not scenes.NOT_A_THING.search(picture.label):
            thing = scenes.cut_out(rgb)
            if thing:
                things.append((picture.label.lower(), thing))
    photos = [
        rgb for p, rgb in found if p.set_name in ("openimages", "flowers", "grocery", "caltech101")
    ][::5]
    print(f"{len(things)} cut-outs")
    for i in range(n):
        rgb, captions, nouns = scenes.scene(things, rng, photos)
        concepts = [(nouns[0], texts.concept(nouns[0]))] if len(nouns) == 1 else []
        keys = frozenset(
            [texts.caption_key(c) for c in captions] + [texts.concept(x) for x in nouns]
        )
        yield texts.Picture(
            "pasted", f"pasted/{i}", nouns[0], captions, concepts, [], [], keys, False
        ), rgb


def dev_pictures(folder, out):
    """Stores dev rows and shapes-dev as [n, 128, 128, 3] with their lists."""
    wanted = {r["file"] for r in rows(f"{folder}/dev.tsv")}
    found, pixels = [], []
    for set_name in list(texts.SAMPLING) + ["pets", "cifar10", "fashion"]:
        for row in rows(f"{folder}/{set_name}.tsv"):
            if row["file"] in wanted:
                found.append(dict(row, set=set_name))
                pixels.append(centre_square(load(f"{folder}/{row['file']}")))
    for row in rows(f"{folder}/shapesdev/pictures.tsv"):
        found.append(dict(row, set="shapesdev"))
        pixels.append(centre_square(load(f"{folder}/shapesdev/{row['file']}")))
    np.save(f"{out}/dev.npy", np.stack(pixels))
    with open(f"{out}/dev.pickle", "wb") as f:
        pickle.dump(found, f)
    print(f"{len(found)} dev pictures")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default="../shared/data", help="folder with the picture sets")
    parser.add_argument("--work", default=".train", help="folder for all that is made")
    parser.add_argument("--shapes", type=int, default=9000, help="number of drawn pictures")
    parser.add_argument("--pasted", type=int, default=6000, help="number of pasted scenes")
    parser.add_argument("--vocabulary", type=int, default=6000, help="largest number of token ids")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    folder, out = f"{args.work}/data", f"{args.work}/prepared"
    os.makedirs(out, exist_ok=True)
    fetch(args.data, folder, args.shapes, args.seed)
    dev_pictures(folder, out)
    found = list(train_pictures(folder))
    found += list(pasted_pictures(found, args.pasted, args.seed)) + list(drawn_pictures(folder))
    counts = collections.Counter()
    places, at = [], 0
    with open(f"{out}/pixels.u8", "wb") as f:
        for picture, rgb in found:
            f.write(np.ascontiguousarray(rgb).tobytes())
            places.append((at, rgb.shape[0], rgb.shape[1]))
            at += rgb.size
            counts.update(texts.all_texts(picture))
    for forms in [words.TEMPLATES] + list(words.SET_TEMPLATES.values()):
        counts.update({form.replace("{a}", "").replace("{n}", ""): 1000 for form in forms})
    tokenizer = Tokenizer(train_merges(counts, args.vocabulary))
    tokenizer.save(out)
    with open(f"{out}/train.pickle", "wb") as f:
        pickle.dump([(picture, place) for (picture, _), place in zip(found, places)], f)
    by_set = collections.Counter(p.set_name for p, _ in found)
    tinted = collections.Counter(p.set_name for p, _ in found if p.coloured)
    print(dict(by_set), "with colour:", dict(tinted), f"{at / 1e6:.0f} MB, {len(tokenizer)} tokens")


if __name__ == "__main__":
    main()
