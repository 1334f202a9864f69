"""Measures the colour of the thing in a picture, so that photos get colour words too.

A colour is named only when it is plain: the middle of the picture, without what
looks like the border, must show one of twelve names on most of its pixels.
"""

import numpy as np

NAMES = [
    "black",
    "white",
    "grey",
    "red",
    "orange",
    "brown",
    "yellow",
    "green",
    "turquoise",
    "blue",
    "purple",
    "pink",
]
BLACK, WHITE, GREY, RED, ORANGE, BROWN, YELLOW, GREEN, TURQUOISE, BLUE, PURPLE, PINK = range(12)


def hsv(rgb):
    """[..., 3] uint8 to hue (degrees), saturation and value (0-1)."""
    x = rgb.astype(np.float32) / 255
    high, low = x.max(-1), x.min(-1)
    spread = np.maximum(high - low, 1e-6)
    r, g, b = x[..., 0], x[..., 1], x[..., 2]
    hue = (
        np.where(
            high == r,
            (g - b) / spread % 6,
            np.where(high == g, (b - r) / spread + 2, (r - g) / spread + 4),
        )
        * 60
    )
    return hue, (high - low) / np.maximum(high, 1e-6), high


def name_pixels(rgb):
    """[..., 3] uint8 to the number of the nearest colour name."""
    hue, sat, val = hsv(rgb)
    bands = np.select(
        [hue < 14, hue < 42, hue < 68, hue < 165, hue < 192, hue < 258, hue < 300, hue < 343],
        [RED, ORANGE, YELLOW, GREEN, TURQUOISE, BLUE, PURPLE, PINK],
        RED,
    )
    bands = np.where((bands == ORANGE) & (val < 0.6), BROWN, bands)
    bands = np.where((bands == RED) & (sat < 0.5) & (val > 0.75), PINK, bands)
    grey = np.where(val > 0.82, WHITE, GREY)
    return np.where(val < 0.2, BLACK, np.where(sat < 0.15, grey, bands))


def dominant(rgb, chromatic, share=0.6):
    """Name of the colour of the thing in the middle of [h, w, 3], or None if it is not plain.

    chromatic: count coloured pixels only (fruit, flowers, cars), of which there must be enough.
    """
    h, w, _ = rgb.shape
    middle = rgb[h // 4 : h - h // 4, w // 4 : w - w // 4].reshape(-1, 3)
    border = np.concatenate(
        [
            rgb[:3].reshape(-1, 3),
            rgb[-3:].reshape(-1, 3),
            rgb[:, :3].reshape(-1, 3),
            rgb[:, -3:].reshape(-1, 3),
        ]
    )
    ground = np.median(border, 0)
    if np.abs(border - ground).mean() < 18:
        middle = middle[np.abs(middle - ground).max(-1) > 30]
    if len(middle) < 60:
        return None
    names = name_pixels(middle)
    if chromatic:
        _, sat, val = hsv(middle)
        names = names[(sat > 0.35) & (val > 0.25)]
        if len(names) < 0.3 * len(middle):
            return None
    counts = np.bincount(names, minlength=12)
    best = int(counts.argmax())
    if counts[best] < share * counts.sum() or best == GREY:
        return None
    return NAMES[best]
