#!/usr/bin/env python3
"""make_sample.py [--work FOLDER] [OUT]: makes data/sample from sample.tsv.

Needs python3 with Pillow 13.0.0 (other versions may give other bytes, not other pictures), apt,
dpkg, pip and rsvg-convert (Debian: librsvg2-bin). FOLDER keeps the unpacked packages between runs;
without it they go to a temporary folder. OUT is made anew; a folder that holds files but no
MANIFEST is left alone.
"""

import argparse
import hashlib
import os
import random
import shutil
import sys
import tempfile

from PIL import Image, ImageDraw

import drawn
import sources

HERE = os.path.dirname(os.path.abspath(__file__))
LONGEST = 448
STAMP_LONGEST = 384
OWN = ("imago contributors", "Apache-2.0")


def own_picture(kind):
    """A drawing of ours: "shape NAME COLOUR" or the name of one of drawn.MAKERS."""
    if not kind.startswith("shape "):
        return drawn.MAKERS[kind](random.Random("sample " + kind))
    _, shape, colour = kind.split()
    picture = Image.new("RGB", (4 * drawn.SIDE, 4 * drawn.SIDE), (250, 250, 246))
    centre = (2 * drawn.SIDE, 2 * drawn.SIDE)
    draw = ImageDraw.Draw(picture)
    drawn.draw_shape(draw, shape, centre, 1.2 * drawn.SIDE, drawn.COLOURS[colour])
    return picture.resize((drawn.SIDE, drawn.SIDE), Image.Resampling.LANCZOS)


def render(kind, ref, origin):
    """(picture, what was changed) for one line of the table."""
    if ref == "own":
        return own_picture(kind), "drawn"
    picture = origin.open(ref)
    if kind == "grey":
        return sources.shrink(picture.convert("L"), LONGEST), "scaled, JPEG"
    if kind == "photo":
        return sources.shrink(sources.flatten(picture), LONGEST), "scaled, JPEG"
    stamp = sources.shrink(sources.on_canvas(picture, 0.06), STAMP_LONGEST)
    if kind == "stamp-alpha":
        return stamp, "framed, scaled"
    how = "rendered, " if ref.endswith(".svg") else ""
    return sources.flatten(stamp), how + "composed over white, scaled"


def save(picture, path):
    if path.endswith(".png"):
        picture.save(path, optimize=True)
    else:
        picture.save(path, quality=82, optimize=True, progressive=False)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", nargs="?", default=os.path.join(HERE, "../../data/sample"))
    parser.add_argument("--work", help="where unpacked packages are kept")
    args = parser.parse_args()
    work = args.work or tempfile.mkdtemp(prefix="imago-sources-")
    origin = sources.Sources(work)
    if os.path.exists(args.out):
        if os.listdir(args.out) and not os.path.exists(os.path.join(args.out, "MANIFEST")):
            sys.exit("'%s' holds files but no MANIFEST: not made by this script" % args.out)
        shutil.rmtree(args.out)
    rows = []
    with open(os.path.join(HERE, "sample.tsv"), encoding="utf-8") as table:
        lines = [line.rstrip("\n").split("\t") for line in table if not line.startswith("#")]
    for name, ref, kind in lines:
        picture, change = render(kind, ref, origin)
        path = os.path.join(args.out, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        save(picture, path)
        author, licence = OWN if ref == "own" else origin.credit(ref)
        with open(path, "rb") as file:
            digest = hashlib.sha256(file.read()).hexdigest()
        source = "own drawing (tools/data/drawn.py)" if ref == "own" else ref
        rows.append((name, digest, source, author, licence, change))
    sources.write_manifest(args.out, rows)
    if not args.work:
        shutil.rmtree(work)
    print("%d pictures in %s" % (len(rows), os.path.normpath(args.out)))


if __name__ == "__main__":
    main()
