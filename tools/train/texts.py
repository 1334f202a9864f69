"""Turns rows of the picture lists into things to say about a picture, with what makes each true.

A *text* is (words, key). A picture carries the set of all keys that are true of it, so a batch
knows which of its texts fit which of its pictures, not only the pair drawn.
Keys: "k:car" a concept, "c:red car" a coloured concept, "t:..." one whole caption.
"""

import dataclasses
import re

import words

SAMPLING = {
    "caltech101": 1.0,
    "grocery": 1.0,
    "clothing": 1.0,
    "flowers": 1.0,
    "emoji": 0.8,
    "trash": 0.7,
    "openimages": 0.5,
    "nlvr": 0.4,
    "flags": 0.3,
    "food": 1.5,
}
LABEL_SETS = {"caltech101", "grocery", "clothing", "flowers", "trash", "openimages"}


@dataclasses.dataclass
class Picture:
    """One train picture: where it is from and all that may be said of it."""

    set_name: str
    file: str
    label: str
    captions: list
    concepts: list  # [(noun, key)] the label and its synonyms
    kinds: list  # [(noun, key)] what it is, more loosely
    coloured: list  # [(noun, key)] with a measured colour word
    keys: frozenset
    flip: bool


def concept(noun):
    """The key of a noun."""
    return "k:" + noun.lower()


def caption_key(text):
    """The key of one whole caption; equal captions share it."""
    return "t:" + re.sub(r"\W+", " ", text.lower()).strip()


def emoji_nouns(label, caption):
    """Names an emoji may be called by: its label, and the plain words of its keywords."""
    if ":" in caption and not caption.startswith(("An ", "A ")):
        extra = [w.strip().lower() for w in caption.split(":", 1)[1].split(",")]
        return [w for w in extra if 2 < len(w) < 20 and " " not in w][:4]
    return []


def build(row, set_name, colour):
    """Everything sayable about one row of a picture list; colour is a name or None."""
    label = row["label"]
    noun = label.lower()
    names = [noun] + words.SYNONYMS.get(noun, [])
    concepts = [(n, concept(noun)) for n in names]
    if set_name == "grocery":
        kinds = words.grocery_kinds(row["source path"])
    elif set_name == "emoji":
        kinds = emoji_nouns(label, row["caption"])
    elif set_name == "food":
        kinds = ["food", "dish", "meal"]
    elif set_name == "flags":
        kinds = ["flag"]
    else:
        kinds = words.KINDS.get(noun, [])
    if set_name == "nlvr":
        concepts, kinds = [], []
    coloured = []
    if colour:
        for n in dict.fromkeys(
            names[:2]
            + kinds[:1]
            + [k for k in kinds if k in ("apple", "flower", "shirt", "bell pepper")]
        ):
            if not n.startswith(
                (
                    "a ",
                    "red",
                    "green",
                    "blue",
                    "yellow",
                    "orange",
                    "black",
                    "white",
                    "brown",
                    "purple",
                )
            ):
                coloured.append((f"{colour} {n}", f"c:{colour} {n}"))
    kinds = [(k, concept(k)) for k in kinds]
    caption = row["caption"]
    keys = (
        {caption_key(caption)}
        | {k for _, k in concepts + kinds + coloured}
        | {concept(n) for n in names if set_name != "nlvr"}
    )
    flip = set_name not in ("emoji", "flags", "nlvr") and not re.search(
        r"\b(left|right)\b", caption.lower()
    )
    return Picture(
        set_name, row["file"], label, [caption], concepts, kinds, coloured, frozenset(keys), flip
    )


def draw(picture, rng):
    """One text about a picture, and its key."""
    own = 0.45 if picture.set_name in ("grocery", "food", "emoji", "openimages") else 0.15
    if not picture.concepts:
        own = 1.0
    u = rng.random()
    if u < own:
        text = picture.captions[rng.integers(len(picture.captions))]
        return text, caption_key(text)
    u = rng.random()
    if picture.coloured and u < 0.25:
        pool = picture.coloured
    elif picture.kinds and u > 0.65:
        pool = picture.kinds
    else:
        pool = picture.concepts[:1] if rng.random() < 0.6 else picture.concepts
    noun, key = pool[rng.integers(len(pool))]
    forms = words.templates_of(picture.set_name)
    return words.fill(forms[rng.integers(len(forms))], noun), key


def all_texts(picture):
    """Every noun phrase and caption of a picture, for the vocabulary."""
    yield from picture.captions
    for noun, _ in picture.concepts + picture.kinds + picture.coloured:
        yield words.with_article(noun)
