#!/usr/bin/env python3
"""make_notice.py > data/NOTICE.md: credits of both picture folders, from their MANIFESTs."""

import os
import re

HERE = os.path.dirname(os.path.abspath(__file__))
LINKS = {
    "Apache-2.0": "https://www.apache.org/licenses/LICENSE-2.0",
    "CC-BY-2.0": "https://creativecommons.org/licenses/by/2.0/",
    "CC-BY-3.0": "https://creativecommons.org/licenses/by/3.0/",
    "CC-BY-4.0": "https://creativecommons.org/licenses/by/4.0/",
    "CC-BY-SA-3.0": "https://creativecommons.org/licenses/by-sa/3.0/",
    "CC-BY-SA-4.0": "https://creativecommons.org/licenses/by-sa/4.0/",
    "CC0-1.0": "https://creativecommons.org/publicdomain/zero/1.0/",
    "GPL-2.0-or-later": "https://www.gnu.org/licenses/old-licenses/gpl-2.0.html",
    "LGPL-3.0-only": "https://www.gnu.org/licenses/lgpl-3.0.html",
}
HEAD = """# Credits of the pictures in data/

Made by `tools/data/make_notice.py` from the MANIFESTs of `sample/` and `calibration/`, which name
the exact source, author, licence and change of every file. All pictures were scaled and stored
anew, many were cropped or composed over another ground: the MANIFEST line says what was changed.

The pictures are data beside the program, not part of it: they keep the licences below (GPL-2,
LGPL-3, CC BY, CC BY-SA, ...), and imago's Apache-2.0 does not apply to them, but for our own
drawings and texts. Pictures under the GPL come from the Debian packages named in the MANIFESTs,
where their sources are ("apt-get source NAME"); `tools/data/` makes these files from them.
"""


def credits():
    """licence -> author -> files, over both folders."""
    found = {}
    for folder in ("sample", "calibration"):
        path = os.path.join(HERE, "../../data", folder, "MANIFEST")
        with open(path, encoding="utf-8") as file:
            for line in file:
                if line.startswith("#"):
                    continue
                name, _, _, author, licence, _ = line.rstrip("\n").split("\t")
                by_author = found.setdefault(licence, {})
                by_author.setdefault(author, []).append("%s/%s" % (folder, name))
    return found


def main():
    print(HEAD)
    for licence, by_author in sorted(credits().items()):
        count = sum(len(files) for files in by_author.values())
        link = LINKS.get(licence)
        print("## %s: %d files%s\n" % (licence, count, "\n\n<%s>\n" % link if link else "\n"))
        for author, files in sorted(by_author.items()):
            few = (
                ", ".join(files) if len(files) <= 6 else "%d files, see the MANIFESTs" % len(files)
            )
            author = re.sub(r"(https?://\S+)", r"<\1>", author)
            print("- %s: %s" % (author, few))
        print()


if __name__ == "__main__":
    main()
