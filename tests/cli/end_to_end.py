#!/usr/bin/env python3
"""Drives the program as a person or a script does: every command in words and in JSON, exit codes,
odd names, pipes, signals, terminals. Standard library only.

usage: end_to_end.py IMAGO SOURCE_DIR [WORDS OF A TEST'S NAME]
"""
import base64
import json
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import zlib

IMAGO, SOURCE = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
SAMPLE = os.path.join(SOURCE, "data", "sample")
WORK = tempfile.mkdtemp(prefix="imago-cli-")
LIBRARY = os.path.join(WORK, "library")
PICTURES = os.path.join(WORK, "pictures")
SLOW = float(os.environ.get("IMAGO_TEST_SLOW", "1"))  # sanitizers need more time
covered = set()
tests = []


def test(function):
    tests.append(function)
    return function


def environment(**more):
    env = {k: v for k, v in os.environ.items() if not k.startswith(("IMAGO_", "NO_COLOR"))}
    env.update(HOME=WORK, XDG_DATA_HOME=os.path.join(WORK, "data"), XDG_CACHE_HOME=WORK,
               IMAGO_DATA=os.path.join(SOURCE, "data"), TERM="xterm")
    env.update(more)
    return env


def command_of(args):
    words = [a for a in args if isinstance(a, str) and not a.startswith("-")]
    if len(words) > 1 and words[0] in ("key", "model", "vlm"):
        return " ".join(words[:2])
    return words[0] if words else ""


class Result:
    def __init__(self, done):
        self.code, self.out, self.err = done.returncode, done.stdout, done.stderr
        assert self.code >= 0, f"died by signal {-self.code}: {self.err!r}"
        assert self.code != 1, f"exit 1 is a bug of ours: {self.err!r}"

    @property
    def json(self):
        return json.loads(self.out)

    @property
    def error(self):
        lines = [l for l in self.err.decode().splitlines() if l.startswith('{"error"')]
        assert lines, self.err
        return json.loads(lines[-1])["error"]

    @property
    def text(self):
        return self.out.decode()


def imago(*args, code=0, library=LIBRARY, stdin=None, env=None, cwd=WORK):
    covered.add(command_of(args))
    line = [IMAGO] + ([f"--library={library}"] if library else []) + list(args)
    done = Result(subprocess.run(line, input=stdin if stdin is not None else b"", cwd=cwd,
                                 env=env or environment(), capture_output=True,
                                 timeout=120 * SLOW))
    assert done.code == code, f"{args}: exit {done.code}, expected {code}\n{done.err.decode(errors='replace')}"
    return done


def sample(*names):
    return [os.path.join(SAMPLE, name) for name in names]


def some_pictures(n):
    found = []
    for folder, _, names in sorted(os.walk(SAMPLE)):
        found += [os.path.join(folder, n) for n in sorted(names) if n.endswith((".jpg", ".png"))]
    return found[:: max(1, len(found) // n)][:n]


def tiny_png():
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    rows = b"".join(b"\0" + bytes([16 * y, 8 * y, 255 - 16 * y] * 16) for y in range(16))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 16, 16, 8, 2, 0, 0, 0)) +
            chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def fresh(name):
    """A library without pictures whose model is prepared already: that takes seconds once."""
    prepared, library = os.path.join(WORK, "prepared"), os.path.join(WORK, name)
    if not os.path.exists(prepared):
        picture = os.path.join(WORK, "tiny.png")
        open(picture, "wb").write(tiny_png())
        imago("add", "--quiet", picture, library=prepared)
        imago("remove", "--quiet", picture, library=prepared)
    shutil.copytree(prepared, library)
    return library


def setup():
    fresh("library")
    os.makedirs(PICTURES)
    for path in some_pictures(12):
        shutil.copy(path, PICTURES)
    imago("add", "--quiet", PICTURES)


def first_picture():
    return os.path.join(PICTURES, sorted(os.listdir(PICTURES))[0])


# ---- asking wrongly ----

@test
def wrong_arguments_are_exit_2_in_words_and_json():
    cases = [["frobnicate"], ["search", "--nope"], ["search"], ["search", "a", "-k", "0"],
             ["search", "a", "-k", "-1"], ["search", "a", "-k", "10001"],
             ["search", "a", "-k", "2147483648"], ["search", "a", "-k", "9223372036854775808"],
             ["search", "a", "-k", "10abc"], ["search", "a", "--offset", "1000000000"],
             ["search", "a", "--weight", "nan"], ["search", "a", "--weight", "0"],
             ["search", ""], ["search", " \t"], ["add"], ["model"], ["model", "frob"],
             ["embed"], ["completions", "tcsh"], ["show", "x y"]]
    for case in cases:
        words = imago(*case, code=2)
        assert words.out == b"" and words.err.startswith(b"imago: "), case
        error = imago(*case, "--json", code=2).error
        assert error["class"] == "IM_ERR_INVALID" and error["message"], case
    hint = imago("search", "car", "-red", code=2).err.decode()
    assert "--not red" in hint and "-- -red" in hint
    assert "imago search" in imago("serach", code=2).err.decode()


@test
def a_missing_library_is_exit_3_and_names_the_command_that_makes_one():
    for command in (["search", "a"], ["status"], ["check"], ["rebuild"], ["show", "id:1"],
                    ["remove", "id:1"], ["similar", "id:1"]):
        done = imago(*command, "--json", code=3, library=os.path.join(WORK, "none"))
        assert done.error["code"] == "library_not_found", command
        assert "imago" in done.error.get("hint", ""), done.error


@test
def init_makes_a_library_once():
    folder = os.path.join(WORK, "made by init")
    assert imago("init", "--json", library=folder).json == {"library": folder}
    assert os.path.exists(os.path.join(folder, "library.db"))
    assert imago("init", "--json", code=4, library=folder).error["code"] == "library_exists"
    second = os.path.join(WORK, "second")
    assert imago("init", library=second).text == f"made a library in {second}\n"


@test
def the_default_library_is_found_and_the_environment_names_another():
    env = environment()
    assert imago("add", "--json", first_picture(), library=None, env=env)
    assert os.path.exists(os.path.join(WORK, "data", "imago", "default", "library.db"))
    status = imago("status", "--json", library=None, env=environment(IMAGO_LIBRARY=LIBRARY)).json
    assert status["items"] == 12, status


# ---- adding ----

@test
def add_makes_the_library_and_says_so():
    library = os.path.join(WORK, "new")
    done = imago("add", first_picture(), library=library)
    assert "made a new library" in done.err.decode()
    assert done.text.startswith("1 added"), done.text
    again = imago("add", first_picture(), library=library)
    assert "1 unchanged" in again.text and "made" not in again.err.decode()


@test
def add_in_json_is_one_object_a_line():
    library = fresh("lines")
    bad = os.path.join(WORK, "lines-bad")
    os.makedirs(bad)
    shutil.copy(first_picture(), bad)
    open(os.path.join(bad, "cut.jpg"), "wb").write(open(first_picture(), "rb").read()[:400])
    open(os.path.join(bad, "notes.txt"), "w").write("no picture")
    open(os.path.join(bad, "new.heic"), "wb").write(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 64)
    done = imago("add", "--json", bad, code=14, library=library)
    events = [json.loads(line) for line in done.text.splitlines()]
    assert {e["event"] for e in events} >= {"failed", "done"}, events
    failed = [e for e in events if e["event"] == "failed"]
    assert [os.path.basename(f["path"]) for f in failed] == ["cut.jpg"], failed
    assert failed[0]["error"]["class"] == "IM_ERR_FORMAT"
    last = events[-1]
    assert last["event"] == "done" and last["added"] == 1 and last["failed"] == 1, last
    for key in ("added", "unchanged", "moved", "failed", "partial", "skipped", "seconds"):
        assert key in last, key
    words = imago("add", "--retry-failed", bad, code=14, library=library)
    assert "cut.jpg" in words.err.decode() and "HEIC" in words.err.decode(), words.err


@test
def add_of_nothing_good_has_the_code_of_the_first_failure():
    bad = os.path.join(WORK, "bad.jpg")
    open(bad, "w").write("no picture at all")
    error = imago("add", "--json", bad, code=5).error
    assert error["class"] == "IM_ERR_FORMAT"
    imago("add", os.path.join(WORK, "nowhere"), code=3)


@test
def add_profile_says_what_sets_the_pace():
    done = imago("add", "--profile", first_picture(), library=fresh("profile"))
    assert done.text.count("sets the pace") == 1, done.text


# ---- finding ----

@test
def search_off_a_terminal_is_score_id_path():
    done = imago("search", "a", "picture", "-k", "5")
    lines = done.text.splitlines()
    assert len(lines) == 5
    for line in lines:
        assert re.fullmatch(r"-?\d+\.\d{4}\tid:\d+\t\S.*", line), line
    scores = [float(line.split("\t")[0]) for line in lines]
    assert scores == sorted(scores, reverse=True)
    assert len(imago("search", "a", "-k", "10000").text.splitlines()) == 12  # k above what is there


@test
def search_in_json_has_every_field():
    answer = imago("search", "--json", "red", "car", "--text", "beach", "--weight", "0.5", "--not",
                   "people", "-k", "3").json
    for key in ("query", "model", "k", "total", "filtered", "scanned", "exact", "engine", "cursor",
                "parts", "took_ms", "warnings", "hits"):
        assert key in answer, key
    assert answer["query"] == '"red car" "beach" ^0.5 -"people"' and answer["k"] == 3 and answer["exact"] is True
    assert [p["weight"] for p in answer["parts"]] == [1, 0.5, -0.5], answer["parts"]
    assert answer["parts"][0]["text"] == "red car"
    for key in ("parse", "encode", "search", "fetch", "vlm"):
        assert key in answer["took_ms"], key
    assert len(answer["hits"]) == 3
    for hit in answer["hits"]:
        for key in ("rank", "id", "path", "online", "score", "relevance", "cosine", "width",
                    "height", "taken", "parts"):
            assert key in hit, key
        assert hit["relevance"] is None and hit["cosine"] is None  # three parts
        assert hit["online"] is True and os.path.exists(hit["path"]), hit
        total = sum(p["contribution"] for p in hit["parts"])
        assert abs(total - hit["score"]) < 1e-3, hit
    one = imago("search", "--json", "red car").json
    assert one["query"] == "red car"
    assert one["hits"][0]["cosine"] is not None


@test
def pages_follow_each_other_without_gap_by_offset_and_by_cursor():
    whole = [h["id"] for h in imago("search", "--json", "tree", "-k", "12").json["hits"]]
    by_offset, by_cursor, cursor = [], [], None
    for start in range(0, 12, 5):
        page = imago("search", "--json", "tree", "-k", "5", "--offset", str(start)).json
        by_offset += [h["id"] for h in page["hits"]]
        extra = ["--cursor", cursor] if cursor else []
        page = imago("search", "--json", "tree", "-k", "5", *extra).json
        by_cursor += [h["id"] for h in page["hits"]]
        cursor = page["cursor"]
    assert whole == by_offset == by_cursor
    imago("search", "tree", "--cursor", "nonsense", code=2)


@test
def both_engines_give_the_same_hits():
    answers = [imago("search", "--json", "tree", "--engine", e).json for e in ("scan", "flat")]
    assert [a["engine"] for a in answers] == ["scan", "flat"]
    ids = [[h["id"] for h in a["hits"]] for a in answers]
    assert ids[0] == ids[1]


@test
def a_picture_is_found_by_file_id_and_standard_input():
    path = first_picture()
    by_file = imago("similar", "--json", path).json["hits"]
    assert by_file[0]["path"] == path and by_file[0]["cosine"] > 0.999
    item = by_file[0]["id"]
    data = open(path, "rb").read()
    assert imago("similar", "--json", "-", stdin=data).json["hits"][0]["id"] == item
    assert imago("search", "--json", "--image", "-", stdin=data).json["hits"][0]["id"] == item
    assert imago("search", "--json", "--id", str(item)).json["hits"][0]["id"] == item
    by_id = imago("similar", "--json", f"id:{item}").json["hits"]
    assert item not in [h["id"] for h in by_id] and len(by_id) == 11
    imago("search", "--image", "-", "--image", "-", code=2, stdin=data)
    imago("similar", "-", code=5, stdin=b"")
    imago("similar", "-", code=5, stdin=b"no picture")
    imago("similar", os.path.join(WORK, "nowhere.jpg"), code=3)
    imago("similar", "id:999999", code=3)


@test
def a_box_must_lie_in_its_picture():
    path = first_picture()
    assert imago("similar", path, "--crop", "0,0,50%,50%", "--json").json["hits"]
    for box in ("0,0,0,0", "-1,0,5,5", "0,0,999999,5", "1,2,3", "a,b,c,d", "0,0,nan,1"):
        error = imago("similar", path, "--crop", box, "--json", code=2).error
        assert error["code"] == "query_box", (box, error)


@test
def text_is_taken_literally():
    for text in ("' OR 1=1 --", '"; DROP TABLE item', "* a AND NOT NEAR(", "%_% %s%n", "1" * 3000,
                 "\u202eabc", "👩‍👩‍👧" * 40, "</s> <|endoftext|>"):
        assert imago("search", "--json", "--text", text).json["parts"][0]["text"] == text
    assert imago("search", "--json", "--", "-red").json["query"] == "-red"
    error = imago("search", "--json", "x" * 8193, code=6).error
    assert error["code"] == "query_too_long"
    error = imago("search", "--json", b"\xff\xfe", code=2).error
    assert error["code"] == "query_encoding"
    long_text = imago("search", "--json", "word " * 300).json
    assert any("cut" in w for w in long_text["warnings"]), long_text["warnings"]


@test
def only_negative_parts_rank_by_absence_and_say_so():
    answer = imago("search", "--json", "--not", "people").json
    assert answer["hits"] and answer["warnings"], answer["warnings"]
    imago("search", "a", "--not", "b", "--combine", "any", code=2)


# ---- names ----

ODD = [b"line\nend.jpg", b"tab\t.jpg", b"\x1b[2J.jpg", b"-rf.jpg", b"it's \"quoted\".jpg",
       b"%s%n.jpg", "\u202e.jpg".encode(), b"\xff\xfe.jpg", b"l" * 251 + b".jpg",
       "e\u0301.jpg".encode(), "\u00e9.jpg".encode(), b"..jpg", b" .jpg", b"$HOME`id`.jpg"]


@test
def odd_names_are_found_again_by_path_and_id_and_survive_shells_and_xargs():
    folder = os.path.join(WORK, "odd").encode()
    library = fresh("odd-library")
    os.makedirs(folder)
    paths = []
    for name, picture in zip(ODD, some_pictures(len(ODD))):
        paths.append(os.path.join(folder, name))
        shutil.copy(picture, paths[-1])
    imago("add", folder, library=library)
    k = ["-k", "100"]
    hits = imago("search", "--json", "a", *k, library=library).json["hits"]
    found = [base64.b64decode(h["path_b64"]) if "path_b64" in h else h["path"].encode() for h in hits]
    assert sorted(found) == sorted(paths), set(paths) ^ set(found)
    zero = imago("search", "-0", "a", *k, library=library)
    assert sorted(zero.out.split(b"\0")[:-1]) == sorted(paths)
    counted = subprocess.run(["xargs", "-0", "-n1", "test", "-f"], input=zero.out)
    assert counted.returncode == 0
    plain = imago("search", "--paths", "a", *k, library=library)
    assert not re.search(rb"[\x00-\x09\x0b-\x1f\x7f]", plain.out), plain.out
    assert len(plain.out.splitlines()) == len(paths)
    back = subprocess.run(["bash", "-c", b"printf '%s\\0' " + plain.out.replace(b"\n", b" ")],
                          capture_output=True)
    assert sorted(back.stdout.split(b"\0")[:-1]) == sorted(paths)
    for hit, path in zip(hits, found):
        shown = imago("show", f"id:{hit['id']}", library=library)
        assert not re.search(rb"[\x00-\x09\x0b-\x1f\x7f]", shown.out)
        best = imago("similar", "--json", path, library=library).json["hits"][0]
        assert best["id"] == hit["id"]
    imago("check", library=library)


# ---- items and state ----

@test
def show_tells_all_and_remove_takes_out():
    library = fresh("items")
    imago("add", "--quiet", PICTURES, library=library)
    item = imago("search", "--json", "a", library=library).json["hits"][0]
    shown = imago("show", f"id:{item['id']}", "--json", library=library).json
    assert shown["id"] == item["id"] and shown["paths"], shown
    words = imago("show", str(item["id"]), library=library).text
    assert "width" in words and os.path.basename(item["path"]) in words
    before = sorted(os.listdir(PICTURES))
    assert imago("remove", "--json", f"id:{item['id']}", library=library).json == {"removed": 1}
    assert sorted(os.listdir(PICTURES)) == before
    hits = imago("search", "--json", "a", "-k", "100", library=library).json["hits"]
    assert item["id"] not in [h["id"] for h in hits] and len(hits) == 11
    imago("show", f"id:{item['id']}", code=3, library=library)
    error = imago("remove", "--json", f"id:{item['id']}", code=3, library=library).error
    assert error["code"] == "item_not_found"
    imago("add", "--quiet", PICTURES, library=library)  # removed ones stay away …
    assert imago("status", "--json", library=library).json["items"] == 11
    imago("add", "--quiet", item["path"], library=library)  # … until they are named
    assert imago("status", "--json", library=library).json["items"] == 12
    imago("remove", PICTURES, code=4, library=library)  # a folder asks, nobody answers
    assert imago("remove", "--yes", "--json", PICTURES, library=library).json["removed"] == 12
    empty = imago("search", "--json", "a", library=library).json
    assert empty["hits"] == [] and empty["total"] == 0


@test
def status_check_and_rebuild_agree_on_a_sound_library():
    status = imago("status", "--json").json
    assert status["items"] == 12, status
    assert "items" in imago("status").text
    report = imago("check", "--json").json
    assert report["findings"] == 0 and report["index_findings"] == 0 and report["items"] == 12
    assert report["vectors"] == 12
    assert "sound" in imago("check").text
    assert imago("rebuild", "--json").json["vectors"] == 12
    assert "12" in imago("rebuild").text
    imago("check", "--full")


@test
def a_backup_becomes_the_same_library_again():
    library = fresh("saved")
    other = library + "-restored"
    backup = library + ".tar"
    imago("add", "--quiet", PICTURES, library=library)
    right = [h["id"] for h in imago("search", "--json", "tree", library=library).json["hits"]]
    facts = imago("backup", backup, "--json", library=library).json
    assert facts["items"] == 12 and facts["findings"] == 0, facts
    assert "12 items" in imago("backup", backup, library=library).text
    assert imago("restore", backup, "--json", library=other).json["items"] == 12
    imago("check", library=other)  # whole, before any search
    assert right == [h["id"] for h in imago("search", "--json", "tree", library=other).json["hits"]]
    imago("check", library=other)
    imago("remove", f"id:{right[-1]}", library=other)
    error = imago("restore", backup, "--json", code=4, library=other).error
    assert error["code"] == "confirmation_needed", error
    imago("restore", backup, "--yes", library=other)
    imago("check", library=other)
    assert right == [h["id"] for h in imago("search", "--json", "tree", library=other).json["hits"]]
    with open(backup, "r+b") as file:
        file.seek(100000)
        byte = file.read(1)
        file.seek(100000)
        file.write(bytes([byte[0] ^ 0x40]))
    error = imago("restore", backup, "--yes", "--json", code=5, library=other).error
    assert error["code"] == "backup_damaged" and "library.db" in error["message"], error
    imago("check", library=other)
    imago("backup", PICTURES, code=4, library=library)


@test
def a_damaged_index_is_found_mended_and_told():
    library = fresh("damaged")
    imago("add", "--quiet", PICTURES, library=library)
    right = [h["id"] for h in imago("search", "--json", "tree", library=library).json["hits"]]
    vectors = []
    for folder, _, names in os.walk(os.path.join(library, "index")):
        vectors += [os.path.join(folder, n) for n in names if n.startswith("vectors.")]
    with open(vectors[0], "r+b") as file:
        file.seek(-100, os.SEEK_END)
        byte = file.read(1)
        file.seek(-100, os.SEEK_END)
        file.write(bytes([byte[0] ^ 0x40]))
    error = imago("check", "--json", code=5, library=library).error
    assert error["code"] == "index_damaged", error
    imago("rebuild", library=library)
    imago("check", library=library)
    assert right == [h["id"] for h in imago("search", "--json", "tree", library=library).json["hits"]]


@test
def models_are_listed_described_and_changed():
    models = imago("model", "list", "--json").json["models"]
    active = [m for m in models if m["active"]]
    assert len(active) == 1 and active[0]["name"] == "imago-small-1", models
    assert "* imago-small-1" in imago("model", "list").text
    info = imago("model", "info", "--json").json
    assert info["name"] == "imago-small-1", info
    assert "imago-small-1" in imago("model", "info", "imago-small-1").text
    error = imago("model", "info", "no-such-model", "--json", code=3).error
    assert error["code"] == "model_not_found"
    imago("model", "use", "imago-small-1")  # the one that is active already
    assert len(imago("search", "a").text.splitlines()) == 12
    imago("model", "use", "no-such-model", code=3)


# ---- embeddings ----

def rows_of_npy(data):
    assert data[:8] == b"\x93NUMPY\x01\x00"
    size = struct.unpack("<H", data[8:10])[0]
    header = eval(data[10:10 + size])  # a Python literal by definition of the format
    n, dim = header["shape"]
    assert header["descr"] == "<f4" and not header["fortran_order"] and (10 + size) % 64 == 0
    values = struct.unpack(f"<{n * dim}f", data[10 + size:])
    return [list(values[i * dim:(i + 1) * dim]) for i in range(n)]


@test
def embed_gives_unit_rows_in_order_and_three_forms():
    path = first_picture()
    args = ["embed", "--text", "a tree", path, "--text", "a cat"]
    answer = imago(*args, library=None).json
    assert answer["model"] == "imago-small-1"
    assert [d["type"] for d in answer["data"]] == ["text", "image", "text"]
    assert [d["index"] for d in answer["data"]] == [0, 1, 2]
    rows = [d["embedding"] for d in answer["data"]]
    for row in rows:
        assert len(row) == answer["dimensions"] and abs(sum(x * x for x in row) - 1) < 1e-3
    npy = rows_of_npy(imago(*args, "--format", "npy", library=None).out)
    f32 = imago(*args, "--format", "f32", library=None).out
    assert struct.pack(f"<{3 * len(rows[0])}f", *[x for row in npy for x in row]) == f32
    assert all(abs(a - b) < 1e-6 for x, y in zip(npy, rows) for a, b in zip(x, y))
    file = os.path.join(WORK, "out.npy")
    done = imago(*args, "--format", "npy", "--output", file, library=None)
    assert done.out == b"" and rows_of_npy(open(file, "rb").read()) == npy


@test
def embed_says_at_its_place_what_failed():
    bad = os.path.join(WORK, "embed-bad.jpg")
    open(bad, "w").write("no picture")
    done = imago("embed", first_picture(), bad, "--text", "x", code=14, library=None)
    data = done.json["data"]
    assert "embedding" in data[0] and "embedding" in data[2]
    assert data[1]["error"]["class"] == "IM_ERR_FORMAT" and "embedding" not in data[1]
    imago("embed", bad, code=5, library=None)
    rows = rows_of_npy(imago("embed", first_picture(), bad, "--format", "npy", code=14,
                             library=None).out)
    assert any(rows[0]) and not any(rows[1])


# ---- help ----

@test
def every_command_has_help_with_an_example():
    commands = imago("help", "--json", library=None).json["commands"]
    for command in commands:
        done = imago(*command["name"].split(), "--help", library=None)
        assert "examples\n  imago " in done.text or "source <(imago" in done.text, command["name"]
        assert command["summary"] in done.text
    assert imago("version", library=None).text.startswith("imago ")
    assert imago("--version", library=None).text == imago("version", library=None).text
    for shell in ("bash", "zsh", "fish"):
        assert imago("completions", shell, library=None).out
    assert imago("manual", library=None).text.startswith(".TH IMAGO 1")


# ---- pipes, signals, terminals ----

@test
def a_reader_that_goes_away_is_no_failure():
    for args in (["search", "a", "-k", "12"], ["help"], ["manual"], ["search", "--json", "a"]):
        process = subprocess.Popen([IMAGO, "--library", LIBRARY, *args], stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, env=environment(), cwd=WORK)
        process.stdout.close()
        err = process.stderr.read()
        assert process.wait(60 * SLOW) == 0 and err == b"", (args, err)


@test
def a_full_disk_under_the_answer_is_exit_16():
    with open("/dev/full", "w") as full:
        done = subprocess.run([IMAGO, "--library", LIBRARY, "search", "a"], stdout=full,
                              stderr=subprocess.PIPE, env=environment(), cwd=WORK)
    assert done.returncode == 16 and b"standard output" in done.stderr, done


@test
def closed_standard_streams_do_no_harm():
    done = subprocess.run(["sh", "-c", f"exec '{IMAGO}' --library '{LIBRARY}' search a <&- >&- 2>&-"],
                          env=environment(), cwd=WORK, timeout=60 * SLOW)
    assert done.returncode >= 0, done.returncode
    imago("check")


def many_pictures(n):
    """Different content from few pictures: bytes behind the end of a JPEG are ignored."""
    folder = os.path.join(WORK, "many")
    if not os.path.exists(folder):
        os.makedirs(folder)
        sources = sorted((p for p in some_pictures(400) if p.endswith(".jpg")), key=os.path.getsize)[:10]
        for i in range(n):
            data = open(sources[i % len(sources)], "rb").read()
            open(os.path.join(folder, f"{i:05}.jpg"), "wb").write(data + struct.pack("<I", i))
    return folder


def stop_add(sent, code, word):
    # some seconds of work on any machine: progress is told once a second, and the signal must come in the middle
    n = 3000 if SLOW == 1 else 200
    folder = many_pictures(n)
    library = fresh(f"stopped-{code}")
    process = subprocess.Popen([IMAGO, "--library", library, "add", "--json", folder],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(),
                               cwd=WORK)
    for line in process.stdout:
        event = json.loads(line)
        if event["event"] == "progress" and event["stage"] == "adding" and event["done"] > 0:
            break
    process.send_signal(sent)
    out, err = process.communicate(timeout=60 * SLOW)
    last = json.loads(out.decode().splitlines()[-1])
    assert process.returncode == code, (process.returncode, err)
    assert last["event"] == "done" and 0 < last["added"] < n, last
    assert imago("check", "--json", library=library).json["items"] == last["added"]
    rest = imago("add", "--json", folder, library=library)
    done = json.loads(rest.text.splitlines()[-1])
    assert done["added"] + last["added"] == n and done["unchanged"] == last["added"], (last, done)


@test
def ctrl_c_during_add_is_130_and_the_same_command_goes_on():
    stop_add(signal.SIGINT, 130, "Ctrl-C")


@test
def sigterm_during_add_is_143_and_the_same_command_goes_on():
    stop_add(signal.SIGTERM, 143, "SIGTERM")


def on_terminal(*args, env=None):
    """Runs on a pseudo-terminal of 100 columns; everything that appears there."""
    pid, fd = pty.fork()
    if pid == 0:
        os.chdir(WORK)
        os.execve(IMAGO, [IMAGO, "--library", LIBRARY, *args], env or environment())
    out = b""
    end = time.monotonic() + 60 * SLOW
    while time.monotonic() < end:
        ready, _, _ = select.select([fd], [], [], 1)
        try:
            data = os.read(fd, 65536) if ready else b""
        except OSError:
            break
        if ready and not data:
            break
        out += data
    _, status = os.waitpid(pid, 0)
    os.close(fd)
    return os.waitstatus_to_exitcode(status), out.decode(errors="replace").replace("\r\n", "\n")


@test
def a_terminal_gets_a_table_with_colours_unless_it_wants_none():
    code, text = on_terminal("search", "tree", "-k", "3")
    assert code == 0 and text.count("id:") == 3 and "\x1b[1m" in text, text
    for env in (environment(NO_COLOR="1"), environment(TERM="dumb")):
        code, text = on_terminal("search", "tree", "-k", "3", env=env)
        assert code == 0 and "\x1b" not in text, text
    code, text = on_terminal("search", "tree", "--no-color")
    assert code == 0 and "\x1b" not in text, text
    assert re.match(r" +1 +-?\d+\.\d{3}  id:\d+ +/", text), text


@test
def a_terminal_that_shows_pictures_gets_them():
    kitty = environment(TERM="xterm-kitty", KITTY_PID="1")
    code, text = on_terminal("search", "tree", "-k", "1", env=kitty)
    assert code == 0
    if "\x1b_G" not in text:
        print("  (skipped: built without libchafa, or it is not there)")
        return
    code, text = on_terminal("search", "tree", "-k", "1", "--thumbnails", "never", env=kitty)
    assert code == 0 and "\x1b_G" not in text


@test
def a_question_on_a_terminal_is_asked_and_no_is_the_default():
    folder = os.path.join(WORK, "asked")
    library = fresh("asked-library")
    os.makedirs(folder)
    for path in some_pictures(2):
        shutil.copy(path, folder)
    imago("add", "--quiet", folder, library=library)
    pid, fd = pty.fork()
    if pid == 0:
        os.execve(IMAGO, [IMAGO, "--library", library, "remove", folder], environment())
    os.write(fd, b"\n")
    text = b""
    try:
        while True:
            text += os.read(fd, 65536)
    except OSError:
        pass
    _, status = os.waitpid(pid, 0)
    os.close(fd)
    assert b"[y/N]" in text, text
    assert os.waitstatus_to_exitcode(status) == 4, text
    assert imago("status", "--json", library=library).json["items"] == 2


@test
def a_folder_that_moved_is_followed():
    library = os.path.join(WORK, "moved-library")
    old, new = os.path.join(WORK, "old-place"), os.path.join(WORK, "new-place")
    shutil.copytree(PICTURES, old)
    imago("add", old, library=library)
    os.rename(old, new)
    assert "12 of 12" in imago("relocate", old, new, library=library).text
    imago("relocate", old, new, library=library, code=3)


@test
def keys_are_made_listed_and_revoked():
    key = imago("key", "add", "--scope", "read", "--name", "web")
    assert re.fullmatch(rb"imago_[0-9a-f]{64}\n", key.out) and b"only time" in key.err, (key.out, key.err)
    made = imago("key", "add", "--scope", "admin", "--json").json
    assert made["scope"] == "admin" and made["id"] == 2, made
    lines = imago("key", "list").out.decode().splitlines()
    assert [line.split("\t")[1] for line in lines] == ["read", "admin"] and lines[0].endswith("\tweb"), lines
    imago("key", "revoke", "1")
    rows = imago("key", "list", "--json").json["keys"]
    assert [row["revoked"] is None for row in rows] == [False, True], rows
    imago("key", "revoke", "77", code=3)


# ---- the vision-language model (tests/vlm has a server for it) ----

@test
def without_a_server_the_model_is_no_help_and_no_harm():
    library = fresh("vlm-library")
    imago("add", "--quiet", PICTURES, library=library)
    first = imago("search", "--json", "a dog", library=library).json
    assert "vlm start" in imago("search", "--json", "--rerank", "a dog", library=library, code=2).error["hint"]
    answer = imago("search", "--json", "--rerank", "--vlm-url", "http://127.0.0.1:1", "a dog", library=library).json
    assert answer["rerank"]["status"] == "failed" and answer["rerank"]["reason"]
    assert [h["id"] for h in answer["hits"]] == [h["id"] for h in first["hits"]]
    imago("vlm", "probe", "--vlm-url", "http://127.0.0.1:1", library=library, code=12)
    imago("vlm", "calibrate", "--judged", "/nowhere", "--vlm-url", "http://127.0.0.1:1", library=library, code=3)
    for command in ("caption", "read"):
        failed = imago(command, "--json", library=library, code=2)
        assert "vlm start" in failed.error["hint"], failed.error
        imago(command, "--vlm-url", "http://127.0.0.1:1", "--limit", "1", "a dog", library=library, code=12)
    imago("vlm", "start", "--model", "/nowhere.gguf", "--mmproj", "/nowhere.gguf", library=library, code=3)
    assert imago("vlm", "status", "--json", library=library).json == {"local": "none", "probed": None}
    imago("vlm", "stop", library=library, code=3)
    imago("vlm", "deny", PICTURES, library=library)
    imago("vlm", "allow", PICTURES, library=library)
    best = first["hits"][0]
    told = imago("explain", "--json", "a", "dog", f"id:{best['id']}", library=library).json
    assert abs(told["score"] - best["score"]) < 1e-4 and told["parts"][0]["share"] == 1
    imago("explain", "--vlm", "--vlm-url", "http://127.0.0.1:1", "a dog", f"id:{best['id']}", library=library, code=12)
    assert "vlm probe" in imago("ask", "--json", "is it a dog?", library=library, code=2).error["hint"]
    imago("ask", "--vlm-url", "http://127.0.0.1:1", "is it a dog?", library=library, code=12)


# ---- last: was every command driven? ----

@test
def every_command_was_driven_here():
    known = {c["name"] for c in imago("help", "--json", library=None).json["commands"]}
    assert known <= covered, known - covered


def main():
    wanted = sys.argv[3] if len(sys.argv) > 3 else ""
    failed = []
    try:
        setup()
        for function in tests:
            name = function.__name__
            if wanted not in name:
                continue
            print(f"[ RUN      ] {name}", flush=True)
            try:
                function()
                print(f"[       OK ] {name}", flush=True)
            except Exception as error:  # a test's failure, whatever its kind
                import traceback
                traceback.print_exc(file=sys.stdout)
                print(f"[  FAILED  ] {name}: {error}", flush=True)
                failed.append(name)
    finally:
        shutil.rmtree(WORK, ignore_errors=True)
    print(f"[==========] {len(failed)} failed: {' '.join(failed) or '-'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
