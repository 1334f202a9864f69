#!/usr/bin/env python3
"""The rules of the house: include direction, doors, dependencies in their rooms, banned calls,
leftovers, READMEs, file sizes. First proves on planted faults that each rule can fail."""
import pathlib
import re
import subprocess
import sys

ALLOWED = {
    "base": {"base"}, "image": {"image", "base"}, "encoder": {"encoder", "image", "base"},
    "store": {"store", "base"}, "index": {"index", "base"},
    "query": {"query", "encoder", "store", "index", "base"}, "vlm": {"vlm", "base", "image"},
    "app": {"app", "query", "vlm", "encoder", "index", "store", "image", "base"},
    "daemon": {"daemon", "app", "base"}, "cli": {"cli", "daemon", "app", "base"}, "imago": {"imago", "app", "base"},
}
OWNERS = {"sqlite3.h": "store", "jpeglib.h": "image", "png.h": "image", "lcms2.h": "image",
          "libexif/": "image", "faiss/": "index", "utf8proc.h": ("base", "encoder"), "nettle/": "base",
          "jansson.h": "base", "curl/": "base", "csv.h": "app", "chafa": "cli"}
BANNED = re.compile(r"\b(strcpy|strcat|sprintf|vsprintf|strtok|atoi|atol|atof|gets|alloca)\s*\(")
LEFTOVER = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^">]+)[">]', re.M)


def strip_comments(text):
    return re.sub(r"/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\\n])*\"", "", text, flags=re.S)


def check_source(path, text):
    """Findings of one C file, path relative to the tree."""
    room = path.split("/")[0]
    found = []
    for name in INCLUDE.findall(text):
        other = name.split("/")[0]
        if other in ALLOWED and "/" in name:
            if room in ALLOWED and other not in ALLOWED[room]:
                found.append(f"{path}: {room}/ may not include {name}")
            door = name in (f"{other}/{other}.h",) or other == "base"
            if room in ALLOWED and other != room and not door:
                found.append(f"{path}: {name} is not the door of {other}/")
        for start, owner in OWNERS.items():
            if name.startswith(start) and room in ALLOWED and room not in (owner if isinstance(owner, tuple) else (owner,)):
                found.append(f"{path}: {name} belongs into {owner}")
    code = strip_comments(text)
    if room in ALLOWED and path != "base/banned.h" and BANNED.search(code):
        found.append(f"{path}: banned call {BANNED.search(code).group(1)}")
    if room == "tests" and path != "tests/help_folder.h" and re.search(r"\bmk(dtemp|stemp)\s*\(", code):
        found.append(f"{path}: folders of tests are made by tests/help_folder.h")
    if LEFTOVER.search(text):
        found.append(f"{path}: leftover {LEFTOVER.search(text).group(1)}")
    if path.endswith(".h") and room in ALLOWED and "#ifndef IM" not in text and "kernel_body" not in path:
        found.append(f"{path}: no include guard")
    return found


def planted_faults_are_found():
    planted = {
        "image/a.c": '#include "encoder/encoder.h"\n',
        "app/a.c": '#include "store/store_internal.h"\n',
        "cli/a.c": '#include "index/index.h"\n',
        "daemon/a.c": '#include "store/store.h"\n',
        "query/a.c": "#include <sqlite3.h>\n",
        "base/a.c": "void f(char *a) { strcpy(a, a); }\n",
        "base/b.c": "/* TO" + "DO later */\n",
        "base/c.h": "int x;\n",
        "tests/base/a.c": "char *f(char *a) { return mkdtemp(a); }\n",
    }
    for path, text in planted.items():
        assert check_source(path, text), f"the rule for {path} cannot fail"
    assert not check_source("app/a.c", '#include "store/store.h"\n/* strcpy( */\n')


def main():
    root = pathlib.Path(sys.argv[1])
    planted_faults_are_found()
    files = subprocess.run(["git", "ls-files"], cwd=root, capture_output=True, text=True).stdout.split("\n")
    if not any(files):  # a tree without git
        files = [str(p.relative_to(root)) for p in root.rglob("*") if p.is_file() and "build" not in p.parts]
    found = []
    for name in filter(None, files):
        path = root / name
        if not path.is_file():
            continue
        if path.stat().st_size > 30_000_000:
            found.append(f"{name}: larger than 30 MB")
        if name.endswith((".c", ".h", ".cc", ".def")):
            found += check_source(name, path.read_text(errors="replace"))
    for room in ALLOWED:
        readme = root / room / "README.md"
        if (root / room).is_dir():
            if not readme.is_file():
                found.append(f"{room}/README.md is missing")
            elif len(readme.read_text().splitlines()) > 25:
                found.append(f"{room}/README.md is longer than 25 lines")
    print("\n".join(found))
    print(f"{1 if not found else 0} passed, {len(found)} failed")
    return 1 if found else 0


sys.exit(main())
