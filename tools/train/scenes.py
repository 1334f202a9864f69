"""Pastes emoji cut-outs on plain, graded or blurred grounds, with captions true by construction.

The emoji lie on white, so that all white joined to the border is ground. This teaches some
thousand things in other sizes, places, numbers and company than their own picture shows.
"""

import re

import numpy as np
from PIL import Image, ImageFilter
from scipy import ndimage

import colours
import words

SIZE = 128
NOT_A_THING = re.compile(
    r"face|woman|women|\bman\b|\bmen\b|button|person|people|arrow|square|clock|japanese|:|thirty|heart|"
    r"circle|sign|symbol|hand|index|mark|input|medal|map of|zodiac|moon|eyes|diamond|no |speech|"
    r"first|last|globe|cross|star of|heavy|keycap",
    re.IGNORECASE,
)
GROUND_COLOURS = {
    "red": (205, 50, 50),
    "green": (70, 160, 80),
    "blue": (60, 100, 200),
    "yellow": (240, 215, 80),
    "orange": (240, 150, 60),
    "purple": (140, 80, 170),
    "pink": (245, 170, 200),
    "brown": (130, 90, 60),
    "black": (25, 25, 28),
    "grey": (140, 140, 140),
    "white": (250, 250, 250),
}
COUNTS = ["", "", "two", "three", "four"]


def cut_out(rgb):
    """[h, w, 3] on white to an RGBA picture cropped to the thing, or None if nothing is left."""
    near_white = rgb.min(-1) > 238
    regions, _ = ndimage.label(near_white)
    border = np.unique(np.concatenate([regions[0], regions[-1], regions[:, 0], regions[:, -1]]))
    thing = ~np.isin(regions, border[border > 0])
    thing = ndimage.binary_erosion(thing, iterations=1, border_value=1)
    ys, xs = np.nonzero(thing)
    if len(ys) < 400:
        return None
    rgba = np.dstack([rgb, thing.astype(np.uint8) * 255])
    return Image.fromarray(rgba[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1], "RGBA")


def ground(rng, photos):
    """A ground to paste on and the words for it ("" when it has no plain name)."""
    u = rng.random()
    if u < 0.4:
        name = list(GROUND_COLOURS)[rng.integers(len(GROUND_COLOURS))]
        return Image.new("RGB", (SIZE, SIZE), GROUND_COLOURS[name]), f" on a {name} background"
    if u < 0.6:
        ends = rng.integers(60, 256, (2, 3)).astype(np.float32)
        t = np.linspace(0, 1, SIZE, dtype=np.float32)[:, None, None]
        graded = np.broadcast_to(ends[0] * (1 - t) + ends[1] * t, (SIZE, SIZE, 3)).astype(np.uint8)
        return Image.fromarray(np.ascontiguousarray(graded)), ""
    photo = Image.fromarray(photos[rng.integers(len(photos))]).resize(
        (SIZE, SIZE), Image.Resampling.BILINEAR
    )
    return photo.filter(ImageFilter.GaussianBlur(float(rng.uniform(1.5, 6)))), ""


def paste(canvas, thing, centre, size, rng):
    """Pastes a thing so that its longer side is size pixels."""
    scale = size / max(thing.size)
    small = thing.resize([max(1, round(s * scale)) for s in thing.size], Image.Resampling.BICUBIC)
    if rng.random() < 0.25:
        small = small.rotate(
            float(rng.uniform(-20, 20)), expand=True, resample=Image.Resampling.BILINEAR
        )
    canvas.paste(
        small, (round(centre[0] - small.width / 2), round(centre[1] - small.height / 2)), small
    )


def counted(noun, n):
    """ "three cats"; None where the plural is not regular."""
    if (
        noun in words.PLURALS
        or noun.endswith(("s", "y", "sh", "ch", "x", "fe", "f"))
        or " " in noun
    ):
        return None
    return f"{COUNTS[n]} {noun}s"


def scene(things, rng, photos):
    """Draws one scene; returns [128, 128, 3] uint8, its captions and the nouns in it.

    things: list of (noun, RGBA picture).
    """
    canvas, where = ground(rng, photos)
    noun, thing = things[rng.integers(len(things))]
    u = rng.random()
    if u < 0.35:
        size = float(rng.uniform(34, 105))
        low, high = size / 2, SIZE - size / 2
        paste(canvas, thing, rng.uniform(low, high, 2), size, rng)
        captions, nouns = [words.with_article(noun) + where], [noun]
    elif u < 0.5 and counted(noun, 2):
        n = int(rng.integers(2, 5))
        spots = rng.permutation([(34, 34), (94, 34), (34, 94), (94, 94)])[:n]
        for spot in spots:
            paste(canvas, thing, spot + rng.uniform(-6, 6, 2), float(rng.uniform(38, 56)), rng)
        captions, nouns = [counted(noun, n) + where], [noun]
    else:
        other, second = things[rng.integers(len(things))]
        beside = rng.random() < 0.6
        spots = [(34, 64), (94, 64)] if beside else [(64, 34), (64, 94)]
        for spot, item in zip(spots, (thing, second)):
            paste(
                canvas,
                item,
                np.array(spot) + rng.uniform(-5, 5, 2),
                float(rng.uniform(42, 62)),
                rng,
            )
        a, b = words.with_article(noun), words.with_article(other)
        relation = "to the left of" if beside else "above"
        captions, nouns = [f"{a} and {b}{where}", f"{b} and {a}", f"{a} {relation} {b}"], [
            noun,
            other,
        ]
    return np.asarray(canvas), captions, nouns


def colour_of(rgb):
    """Colour name of an emoji on white, or None."""
    return colours.dominant(rgb, chromatic=True, share=0.62)
