#!/usr/bin/env python3
"""make_calibration.py [--work FOLDER] [OUT]: makes the pictures of data/calibration.

The background by which scores are standardised: as broad as the sources allow, nothing of the
sample library and nothing that models are trained on. Needs what make_sample.py needs. Pictures
are numbered in a shuffled order, so that any run of them is mixed; texts.txt (our own sentences)
is kept and listed. A picture that looks like one of the sample library or like an earlier one of
this folder (gradient hash, NEAR bits) is left out.
"""

import argparse
import glob
import hashlib
import os
import random
import shutil
import tempfile

from PIL import Image, ImageFilter, ImageStat

import drawn
import sources

HERE = os.path.dirname(os.path.abspath(__file__))
LONGEST = 176
NEAR = 6
SEED = "imago calibration 1"
GCOMPRIS = "usr/share/gcompris-qt/rcc/"
STAMPS = "usr/share/tuxpaint/stamps"
PHOTOS = (".jpg", ".jpeg", ".webp", ".png")
PHOTO_GROUNDS = ("cliff", "mossy_bark", "rocks", "trees_above", "sun_behind_clouds", "mudstone")

# Bundles and folders whose pictures are whole photographs, with the most taken of each.
BUNDLES = [
    ("categorization", "categorization/resource/images/fishes", 18),
    ("categorization", "categorization/resource/images/monuments", 40),
    ("categorization", "categorization/resource/images/others", 40),
    ("categorization", "categorization/resource/images/renewable", 18),
    ("categorization", "categorization/resource/images/tools", 30),
    ("erase", "erase/resource", 40),
    ("explore_monuments", "explore_monuments/resource", 60),
    ("explore_world_animals", "explore_world_animals/resource/animals", 40),
    ("explore_farm_animals", "explore_farm_animals/resource/animals", 40),
    ("explore_world_music", "explore_world_music/resource/music", 40),
    ("solar_system", "solar_system/resource", 6),
    ("clickgame", "clickgame/resource/sea", 6),
]
WALLPAPERS = [
    ("lomiri-wallpapers-16.04", "usr/share/backgrounds", 2),
    ("lomiri-wallpapers-20.04", "usr/share/backgrounds", 2),
    ("mate-backgrounds", "usr/share/backgrounds/mate/nature", 2),
    ("mate-backgrounds", "usr/share/backgrounds/mate/abstract", 1),
    ("plasma-workspace-wallpapers", "usr/share/wallpapers", 2),
    ("ukui-wallpapers", "usr/share/backgrounds", 2),
    ("tuxpaint-data", "usr/share/tuxpaint/templates", 2),
]
# Signs, letters, coins, mirrored twins, blank outlines, weapons and graves say little here.
SKIP = (
    "mirror", "alphabets", "/money/", "/math/", "/music/note", "rest_025", "clef", "key_",
    "balloon.", "grave", "military", "/tux-", "/tux.", "/tux_", "pengwin", "dreidel", "dreydl",
    "screenshot", "/images_dark/1080", "1080x1920", "720x1440", "1622x2880", "Elephants_",
    "body_parts", "outline", "bat_left", "skull", "/people/cartoon/woman", "explosion", "teeth",
    "grenade", "bullet", "sword",
)  # fmt: skip
DRAWN = {
    "one shape": 10, "several shapes": 10, "small scene": 8, "bar chart": 5, "line chart": 5,
    "pie chart": 4, "screen": 10, "page": 8, "gradient": 5, "texture": 10, "pattern": 8,
}  # fmt: skip


def rng_of(*names):
    return random.Random(" ".join((SEED,) + names))


def kept(refs, used, most=None):
    """The references that may be used, thinned to at most `most` at even steps."""
    refs = [r for r in refs if r not in used and not any(word in r for word in SKIP)]
    if most and len(refs) > most:
        refs = [refs[i * len(refs) // most] for i in range(most)]
    return refs


def photographs(origin, used):
    for bundle, folder, most in BUNDLES:
        where = "%s%s.rcc!%s" % (GCOMPRIS, bundle, folder)
        for ref in kept(origin.list("gcompris-qt-data", where, PHOTOS), used, most):
            if origin.credit(ref):
                picture = sources.flatten(origin.open(ref), drawn.pastel(rng_of(ref)))
                yield ref, picture, "scaled, JPEG"
    for ref in kept(origin.list("kalzium-data", "usr/share/kalzium/data/toolpics", PHOTOS), used):
        yield ref, sources.flatten(origin.open(ref)), "scaled, JPEG"
    for ref in sorted(sources.CREDITS):
        if ref not in used and ref.startswith("scikit"):
            yield ref, sources.flatten(origin.open(ref)), "scaled, JPEG"


def crops(origin, used):
    """Parts of wallpapers: nearly the whole, and one smaller part that shows something."""
    for package, folder, count in WALLPAPERS:
        for ref in kept(origin.list(package, folder, PHOTOS), used):
            if not origin.credit(ref):
                continue
            picture = origin.open(ref)
            if picture.mode == "RGB":
                picture.draft("RGB", (1024, 1024))
            picture = sources.shrink(sources.flatten(picture), 1400)
            rng = rng_of(ref)
            for share in (0.95, 0.45)[:count]:
                left, top = rng.uniform(0, 1 - share), rng.uniform(0, 1 - share)
                wide = share * min(1.0, 1.4 * picture.height / picture.width)
                box = (left, top, left + wide, top + share)
                text = "part %.2f,%.2f,%.2f,%.2f, scaled, JPEG" % box
                yield ref, sources.crop_share(picture, box), text


def ground_for(rng, size, origin):
    """What a stamp stands on: white, plain, shaded, or a blurred photograph."""
    kind = rng.choice(["white"] * 4 + ["plain"] * 3 + ["shaded"] * 2 + ["photo"] * 3)
    if kind == "white":
        return Image.new("RGB", size, "white"), "composed over white"
    if kind == "plain":
        colour = rng.choice([drawn.pastel(rng), drawn.random_colour(rng)])
        return Image.new("RGB", size, colour), "composed over a plain colour"
    if kind == "shaded":
        return drawn.gradient(rng).resize(size), "composed over a gradient"
    name = rng.choice(PHOTO_GROUNDS)
    ref = "tuxpaint-data:usr/share/tuxpaint/templates/%s.jpg" % name
    photo = sources.flatten(origin.open(ref)).resize(size, Image.Resampling.BICUBIC)
    photo = photo.filter(ImageFilter.GaussianBlur(max(size) / 90))
    return photo, "composed over tuxpaint-data's %s.jpg, blurred" % name


def stamps(origin, used):
    refs = origin.list("tuxpaint-stamps-default", STAMPS, (".png", ".svg"))
    drawings = [r[:-4] for r in refs if r.endswith(".svg")]
    # a drawing that is there as SVG and PNG counts once; drawings are thinned, photographs are not
    refs = [r for r in refs if not (r.endswith(".png") and r[:-4] in drawings)]
    used_names = {r[:-4] for r in used}
    refs = [r for r in refs if r[:-4] not in used_names]
    flat = [r for r in refs if r.endswith(".svg") or "/cartoon/" in r or "/symbols/" in r]
    flat = kept(flat, used, 48)
    photos = [
        r for r in refs if r.endswith(".png") and "/cartoon/" not in r and "/symbols/" not in r
    ]
    for ref in flat + kept(photos, used, 160):
        rng = rng_of(ref)
        stamp = sources.shrink(sources.on_canvas(origin.open(ref), rng.uniform(0.02, 0.3)), 256)
        if max(stamp.size) < 64:
            continue
        ground, how = ground_for(rng, stamp.size, origin)
        yield ref, sources.flatten(stamp, ground), how + ", scaled, JPEG"


def own(_origin, _used):
    for kind, count in DRAWN.items():
        for i in range(count):
            picture = drawn.MAKERS[kind](rng_of(kind, str(i)))
            yield "own drawing (tools/data/drawn.py)", picture, "drawn: " + kind


def is_new(picture, seen):
    """False for pictures that look like one in `seen`, or show next to nothing."""
    if max(ImageStat.Stat(picture.convert("L")).stddev) < 6:
        return False
    mark = sources.difference_hash(picture)
    if any(bin(mark ^ other).count("1") <= NEAR for other in seen):
        return False
    seen.append(mark)
    return True


def collect(origin, sample):
    """All (picture, source, author, licence, change), in a mixed order."""
    with open(os.path.join(HERE, "sample.tsv"), encoding="utf-8") as table:
        used = {line.split("\t")[1] for line in table if not line.startswith("#")}
    with open(os.path.join(HERE, "calibration-skip.txt"), encoding="utf-8") as skip:
        used |= {line.strip() for line in skip if line.strip() and not line.startswith("#")}
    seen = []
    for path in sorted(glob.glob(os.path.join(sample, "*/*"))):
        seen.append(sources.difference_hash(sources.flatten(Image.open(path))))
    found = []
    for maker in (photographs, crops, stamps, own):
        before = len(found)
        for ref, picture, change in maker(origin, used):
            picture = sources.shrink(picture, LONGEST)
            # drawings are simple enough to hash alike; they are our own and all different
            if maker is own or is_new(picture, seen):
                author, licence = (
                    ("imago contributors", "Apache-2.0") if maker is own else origin.credit(ref)
                )
                found.append((picture, ref, author, licence, change))
        print("%s: %d" % (maker.__name__, len(found) - before))
    rng_of("order").shuffle(found)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", nargs="?", default=os.path.join(HERE, "../../data/calibration"))
    parser.add_argument("--work", help="where unpacked packages are kept")
    parser.add_argument("--sample", default=os.path.join(HERE, "../../data/sample"))
    args = parser.parse_args()
    work = args.work or tempfile.mkdtemp(prefix="imago-sources-")
    found = collect(sources.Sources(work), args.sample)
    os.makedirs(args.out, exist_ok=True)
    for old in glob.glob(os.path.join(args.out, "[0-9]*.jpg")):
        os.remove(old)
    rows, names = [], []
    for number, (picture, ref, author, licence, change) in enumerate(found, 1):
        name = "%04d.jpg" % number
        picture.save(os.path.join(args.out, name), quality=80, optimize=True)
        names.append((name, ref, author, licence, change))
    if os.path.exists(os.path.join(args.out, "texts.txt")):
        own_text = ("texts.txt", "own writing", "imago contributors", "Apache-2.0", "none")
        names.append(own_text)
    for name, ref, author, licence, change in names:
        with open(os.path.join(args.out, name), "rb") as file:
            digest = hashlib.sha256(file.read()).hexdigest()
        rows.append((name, digest, ref, author, licence, change))
    sources.write_manifest(args.out, rows)
    if not args.work:
        shutil.rmtree(work)
    print("%d files in %s" % (len(rows), os.path.normpath(args.out)))


if __name__ == "__main__":
    main()
