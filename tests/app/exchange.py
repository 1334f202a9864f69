#!/usr/bin/env python3
"""Moving in and out (T36, T58): what `export` writes is what `import` takes, byte for byte; foreign
folders in each state of damage add nothing and are told by file and row; kills in the middle leave a
library, or no folder, and the same command goes on. IMAGO_TEST_SEED seeds the generated vectors."""
import json
import math
import os
import random
import signal
import sqlite3
import struct
import subprocess
import time

import support
from support import Imago, MODEL, mounted

SEED = int(os.environ.get("IMAGO_TEST_SEED", "5"))
DIM = 24
OTHER_MODEL = str(support.SOURCE / "tests/golden/encoder/bf16-sharded")


def unit(rng):
    values = [rng.gauss(0, 1) for _ in range(DIM)]
    length = math.sqrt(sum(v * v for v in values))
    return [v / length for v in values]


def head(shape, descr="<f4", order="False", version=1, text=None):
    text = text or f"{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}"
    prefix = 10 if version == 1 else 12
    text += " " * (-(prefix + len(text) + 1) % 64) + "\n"
    size = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes([version, 0]) + size + text.encode("latin-1")


def npy(rows, code="f", descr="<f4", **kw):
    return head(f"({len(rows)}, {len(rows[0]) if rows else DIM})", descr, **kw) + b"".join(
        struct.pack(f"<{len(row)}{code}", *row) for row in rows)


def folder(imago, name, vectors, rows=None, model=None):
    """A folder to import; what is None is not in it."""
    path = os.path.join(imago.base, name)
    os.makedirs(path, exist_ok=True)
    for file, content in (("vectors.npy", vectors if isinstance(vectors, bytes) else npy(vectors)),
                          ("items.jsonl", rows), ("model.json", model)):
        if content is None:
            continue
        if file == "items.jsonl" and not isinstance(content, bytes):
            content = b"".join(json.dumps(row).encode() + b"\n" for row in content)
        if file == "model.json" and not isinstance(content, bytes):
            content = json.dumps(content).encode()
        with open(os.path.join(path, file), "wb") as out:
            out.write(content)
    return path


def take(imago, path, *args, code=0, **kw):
    """The done line of an import."""
    done = imago.run("import", path, "--json", "--model", MODEL, *args, code=code, **kw)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return next((line for line in lines if line.get("event") == "done"), None)


def export(imago, name):
    path = os.path.join(imago.base, name)
    facts = json.loads(imago.run("export", path, "--json").stdout)
    with open(os.path.join(path, "vectors.npy"), "rb") as file:
        vectors = file.read()
    with open(os.path.join(path, "items.jsonl"), encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    with open(os.path.join(path, "model.json"), encoding="utf-8") as file:
        model = json.load(file)
    assert facts["rows"] == len(rows) == model["n"] and sorted(os.listdir(path)) == [
        "items.jsonl", "model.json", "vectors.npy"]
    assert not [name for name in os.listdir(imago.base) if name.startswith(".") and name != ".cache"]
    return path, vectors, rows, model


def matrix(data):
    """Rows of an exported file, read as its header says."""
    assert data[:8] == b"\x93NUMPY\x01\x00"
    size = 10 + struct.unpack("<H", data[8:10])[0]
    assert size % 64 == 0 and data[size - 1:size] == b"\n"
    facts = eval(data[10:size])  # noqa: it is our own file
    assert facts["descr"] == "<f4" and facts["fortran_order"] is False
    n, dim = facts["shape"]
    assert len(data) == size + 4 * n * dim
    return [struct.unpack_from(f"<{dim}f", data, size + 4 * dim * i) for i in range(n)]


def without_place(row):
    """What moving to another library keeps: all but the id, where the file lies and how it came."""
    kept = {key: value for key, value in row.items()
            if key not in ("id", "path", "path_b64", "paths", "name", "source")}
    return dict(kept, called=row["path"] or row["name"])


def rich_rows(rng, n):
    rows = []
    for i in range(n):
        row = {"path": f"/old/place/{i}.jpg", "key": f"sku-{i}", "format": "jpeg", "bytes": 1000 + i,
               "width": 640, "height": 480, "taken": "2019-12-31T23:59:58+05:30",
               "camera": "Nikon Z 6 ☃", "lens": "50 mm", "gps": {"latitude": -33.5, "longitude": 151.25},
               "partial": i % 2 == 0, "sha256": f"{rng.getrandbits(256):064x}", "phash": "00ff00ff00ff00ff",
               "added_ns": 1700000000000000000 + i,
               "tags": ["red", {"tag": "shoe", "source": "file"}],
               "captions": ["a red shoe\nwith \"laces\"", {"kind": "text", "source": "vlm", "text": "SALE",
                                                            "vlm_model": "m", "prompt_version": "1",
                                                            "made_ns": 17}],
               "fields": {"price": 12.5 + i, "size": 42, "sold": i % 3 == 0, "maker": "Ünal & Söhne",
                          "since": {"date": "2020-02-29"}}}
        rows.append(row)
    return rows


def a_library_comes_back_byte_for_byte():
    rng = random.Random(SEED)
    one = Imago()
    for i in range(7):
        one.picture(f"{i}.png", i)
    one.picture("again.png", 3)  # one picture, two paths
    odd = os.path.join(os.fsencode(one.pictures), b"caf\xe9.png")
    with open(odd, "wb") as file:
        file.write(support.png(50))
    one.add()
    path = folder(one, "in", [unit(rng) for _ in range(5)], rich_rows(rng, 5))
    assert take(one, path, "--trust-model")["added"] == 5
    out, vectors, rows, model = export(one, "out")
    assert len(matrix(vectors)) == 13 and model["normalised"] is True and model["dimension"] == DIM
    assert [row["id"] for row in rows] == sorted(row["id"] for row in rows)
    assert [len(row["paths"]) for row in rows if "paths" in row] == [2]
    assert [row["path_b64"] for row in rows if "path_b64" in row]
    for row, vector in zip(rows, matrix(vectors)):
        assert abs(sum(v * v for v in vector) - 1) < 1e-3
        assert row["model"] == model["name"]
    two = Imago()
    done = take(two, out)
    assert done["added"] == done["without_file"] == 13, done
    _, vectors2, rows2, model2 = export(two, "out")
    assert vectors2 == vectors and model2 == model
    assert len(rows2) == 13
    for before, after in zip(rows, rows2):
        old, new = without_place(before), without_place(after)
        if "path_b64" in before:
            assert after["name"].endswith("/caf\ufffd.png"), after["name"]
        assert old == new, (old, new)
        assert after["source"] == "import"
    again = take(two, out)
    assert (again["added"], again["unchanged"], again["merged"]) == (0, 13, 0), again
    at_home = take(one, out)
    assert (at_home["added"], at_home["unchanged"]) == (0, 13), at_home
    one.sound()
    two.sound()
    try:
        import numpy
    except ImportError:
        return
    array = numpy.load(os.path.join(out, "vectors.npy"), mmap_mode="r")
    assert array.shape == (13, DIM) and array.dtype == numpy.dtype("<f4")


def types_of_fields_and_texts_come_back():
    rng = random.Random(SEED)
    imago = Imago()
    rows = rich_rows(rng, 2)
    take(imago, folder(imago, "in", [unit(rng), unit(rng)], rows), "--trust-model")
    _, _, out, _ = export(imago, "out")
    for row, was in zip(out, rows):
        assert row["fields"] == was["fields"], row
        assert row["tags"] == ["red", {"tag": "shoe", "source": "file"}]
        assert [c["text"] for c in row["captions"]] == ["a red shoe\nwith \"laces\"", "SALE"]
        assert row["captions"][1] == was["captions"][1]
        assert row["name"] == was["path"] and row["path"] is None
        for key in ("key", "format", "bytes", "width", "height", "taken", "camera", "lens", "gps",
                    "partial", "sha256", "phash", "added_ns"):
            assert row[key] == was[key], key


def vectors_without_files_are_searched_rebuilt_and_kept():
    rng = random.Random(SEED)
    imago = Imago()
    vectors = [unit(rng) for _ in range(30)]
    path = folder(imago, "in", vectors)
    assert take(imago, path, "--trust-model")["added"] == 30
    assert take(imago, path, "--trust-model")["unchanged"] == 30
    imago.picture("a.png", 1)
    imago.add()

    def all_are_there():
        answer = json.loads(imago.run("search", "--json", "-k", "100", "red").stdout)
        assert answer["filtered"] == len(answer["hits"]) == 31, answer["filtered"]
        bare = [hit for hit in answer["hits"] if hit["path"] is None]
        assert sorted(hit["name"] for hit in bare) == sorted(f"row {i}" for i in range(30))
        imago.sound()
        return {hit["id"]: hit["score"] for hit in answer["hits"]}

    before = all_are_there()
    imago.run("rebuild")
    assert all_are_there() == before
    os.remove(os.path.join(imago.pictures, "a.png"))
    imago.picture("b.png", 2)
    imago.add("--prune", imago.pictures)
    assert len(all_are_there()) == 31
    shown = json.loads(imago.run("show", "id:1", "--json").stdout)
    assert shown["path"] is None and shown["name"] == "row 0" and shown["paths"] == []
    backup = os.path.join(imago.base, "b.tar")
    imago.run("backup", backup)
    imago.library = os.path.join(imago.base, "restored")
    imago.run("restore", backup)
    all_are_there()
    imago.run("rebuild")
    all_are_there()


def a_file_of_the_same_content_becomes_the_items_own():
    one = Imago()
    files = [one.picture(f"{i}.png", i) for i in range(4)]
    one.add()
    out, *_ = export(one, "out")
    two = Imago()
    take(two, out)
    done, _ = two.add(one.pictures)
    assert (done["added"], done["linked"]) == (0, 4), done
    assert {path: hit for path, hit in two.hits().items()} == one.hits()
    os.remove(files[0])
    two.add("--prune", one.pictures)
    two.sound()
    answer = json.loads(two.run("search", "--json", "red").stdout)
    bare = [hit for hit in answer["hits"] if hit["path"] is None]
    assert len(answer["hits"]) == 4 and [hit["name"] for hit in bare] == [files[0]], "prune dropped it"
    assert take(two, out)["without_file"] == 1


def keys_upsert_and_known_items_are_merged():
    rng = random.Random(SEED)
    imago = Imago()
    a, b = unit(rng), unit(rng)
    take(imago, folder(imago, "one", [a], [{"key": "k", "name": "first"}]), "--trust-model")
    done = take(imago, folder(imago, "two", [b], [{"key": "k", "name": "second"}]), "--trust-model")
    assert (done["added"], done["replaced"]) == (1, 1), done
    assert imago.status()["items"] == 1
    imago.picture("a.png", 1)
    imago.add()
    _, vectors, rows, _ = export(imago, "out")
    known = {"sha256": rows[1]["sha256"], "tags": ["new"], "fields": {"price": 3}, "key": "p"}
    done = take(imago, folder(imago, "three", [a], [known]), "--trust-model")
    assert (done["added"], done["merged"], done["without_file"]) == (0, 1, 0), done
    _, vectors2, rows2, _ = export(imago, "out2")
    assert vectors2 == vectors, "the vector of a known picture was changed"
    assert rows2[1]["tags"] == ["new"] and rows2[1]["fields"] == {"price": 3} and rows2[1]["key"] == "p"
    again = take(imago, os.path.join(imago.base, "three"), "--trust-model")
    assert again["unchanged"] == 1, again
    imago.run("remove", f"id:{rows[1]['id']}")
    assert take(imago, os.path.join(imago.base, "out"))["added"] == 1, "an import asks by name"
    imago.sound()


def other_types_are_converted_or_named():
    rng = random.Random(SEED)
    rows = [unit(rng) for _ in range(9)]
    for code, descr, within in (("e", "<f2", 1e-3), ("d", "<f8", 1e-7), ("f", "<f4", 0)):
        for version in (1, 2, 3):
            imago = Imago()
            path = folder(imago, "in", npy(rows, code, descr, version=version))
            assert take(imago, path, "--trust-model")["added"] == 9
            _, vectors, _, _ = export(imago, "out")
            for found, row in zip(matrix(vectors), rows):
                wanted = struct.unpack(f"<{DIM}{code}", struct.pack(f"<{DIM}{code}", *row))
                assert all(abs(f - w) <= 1e-7 for f, w in zip(found, wanted)), descr
    imago = Imago()
    imago.run("init")
    for descr in (">f4", "<i4", "|u1", "<f16", "<c8", "|O"):
        path = folder(imago, "in", npy(rows, "f", descr))
        imago.error("import", path, "--model", MODEL, "--trust-model", code=7, names=[descr, "<f4"])
    assert imago.status()["items"] == 0


def damage_adds_nothing():
    rng = random.Random(SEED)
    imago = Imago()
    good = [unit(rng) for _ in range(40)]
    take(imago, folder(imago, "first", [unit(rng)]), "--trust-model")
    before = imago.status()["items"]
    rows = [{"name": str(i)} for i in range(40)]

    def bad(i, values):
        return npy(good[:i] + [values] + good[i + 1:])

    nan, inf = float("nan"), float("inf")
    whole = npy(good)
    cases = [
        (bad(37, [nan] + good[37][1:]), rows, 2, ["vectors.npy", "row 37", "not finite"]),
        (bad(3, good[3][:-1] + [inf]), rows, 2, ["row 3", "value 23"]),
        (bad(0, [0.0] * DIM), rows, 2, ["row 0", "zero"]),
        (bad(5, [2 * v for v in good[5]]), rows, 2, ["row 5", "length 2"]),
        (whole, rows[:30], 2, ["30 lines", "40 rows"]),
        (whole, rows + rows[:3], 2, ["43 lines", "40 rows"]),
        (whole[:-1], rows, 5, [str(len(whole) - 1)]),
        (whole + b"\0", rows, 5, [str(len(whole) + 1)]),
        (whole[:100], rows, 5, []),
        (whole[:9], rows, 5, ["cut"]),
        (b"", rows, 5, ["no NumPy file"]),
        (b"PK" + whole, rows, 5, ["no NumPy file"]),
        (head("(9223372036854775808, 24)"), rows, 5, ["9223372036854775808"]),
        (head("(18446744073709551616, 24)"), rows, 5, []),
        (head("(40, 0)"), rows, 2, ["0 numbers"]),
        (head("(1, 1048576)"), rows, 2, ["1048576"]),
        (npy([v + [0.0] for v in good]), rows, 2, ["25 numbers", "24", "f32-quick-gelu"]),
        (head("(960,)") + whole[128:], rows, 2, ["1 dimensions"]),
        (head("(40, 24, 1)") + whole[128:], rows, 2, ["3 dimensions"]),
        (head("(40, 24)", order="True") + whole[128:], rows, 7, ["Fortran"]),
        (head("(40, 24)", version=4) + whole[128:], rows, 7, ["4.0"]),
        (whole, b"".join(b'{"name": "x"}\n' for _ in range(39)) + b"{no json\n", 5, ["row 39"]),
        (whole, rows[:39] + [{"width": -1}], 5, ["row 39", "width"]),
        (whole, rows[:39] + [{"sha256": "abc"}], 5, ["row 39", "sha256", "64"]),
        (whole, rows[:39] + [{"gps": {"latitude": 91, "longitude": 0}}], 5, ["latitude"]),
        (whole, rows[:39] + [{"taken": "yesterday"}], 2, ["row 39", "taken"]),
        (whole, rows[:39] + [{"fields": {"a": [1]}}], 5, ["'a'"]),
        (whole, rows[:39] + [{"fields": {"1 a": 1}}], 2, ["row 39", "1 a"]),
        (whole, rows[:39] + [{"tags": [" "]}], 2, ["row 39"]),
        (whole, rows[:39] + [{"tags": "red"}], 5, ["tags", "array"]),
        (whole, rows[:39] + [[1]], 5, ["row 39", "object"]),
        (whole, b'{"name": "\xff"}\n' * 40, 5, ["row 0"]),
    ]
    for number, (vectors, lines, code, names) in enumerate(cases):
        path = folder(imago, f"bad{number}", vectors, lines)
        imago.error("import", path, "--trust-model", code=code, names=names)
        assert imago.status()["items"] == before, names
    imago.error("import", os.path.join(imago.base, "nowhere"), code=3, names=["nowhere"])
    imago.error("import", imago.pictures, code=3, names=["vectors.npy"])
    fresh = Imago()
    fresh.error("import", os.path.join(fresh.base, "nowhere"), code=3)
    assert not os.path.exists(fresh.library)
    denormal = [1.0] + [1e-40] * (DIM - 1)
    assert take(imago, folder(imago, "small", [denormal]), "--trust-model")["added"] == 1
    far = folder(imago, "far", [[2 * v for v in good[5]], good[6]])
    done = take(imago, far, "--trust-model", "--normalise")
    assert (done["added"], done["normalised"]) == (2, 1), done
    path = folder(imago, "nan", bad(1, [nan] * DIM))
    imago.error("import", path, "--trust-model", "--normalise", code=2, names=["row 1"])
    imago.sound()


def what_the_last_row_gets_wrong_adds_nothing():
    """Behind the first batch too: values are checked before anything is written."""
    rng = random.Random(SEED)
    n = 1030
    vectors = npy([unit(rng)] * n)
    imago = Imago()
    imago.run("init")
    cases = [({"tags": [" "]}, ["tag"]), ({"tags": ["x" * 201]}, ["tag"]), ({"key": ""}, ["key"]),
             ({"key": "k" * 1025}, ["key"]), ({"captions": [""]}, ["caption"]),
             ({"fields": {"taken": "x"}}, ["taken"]), ({"fields": {"a": "x" * 65537}}, ["'a'"]),
             ({"fields": {"PRICE": "dear"}}, ["price", "text", "number"])]
    rows = [{"name": str(i), "fields": {"price": i}} for i in range(n - 1)]
    for number, (last, names) in enumerate(cases):
        path = folder(imago, f"last{number}", vectors, rows + [last])
        imago.error("import", path, "--trust-model", "--model", MODEL, code=2,
                    names=[f"row {n - 1}"] + names)
        assert imago.status()["items"] == 0, last
    assert take(imago, folder(imago, "good", vectors, rows + [{}]), "--trust-model")["added"] == n
    path = folder(imago, "other", npy([unit(rng)]), [{"fields": {"price": True}}])
    imago.error("import", path, "--trust-model", code=2, names=["row 0", "price", "bool", "number"])
    imago.sound()


def moments_keep_their_offset():
    rng = random.Random(SEED)
    imago = Imago()
    moments = [("2019-12-31T23:59:58Z", "2019-12-31T23:59:58+00:00"),
               ("2019-12-31T23:59:58-0330", "2019-12-31T23:59:58-03:30"),
               ("2019-12-31 23:59+14:00", "2019-12-31T23:59:00+14:00"),
               ("2019-12-31T23:59:58", "2019-12-31T23:59:58"),
               ("2019-12-31", "2019-12-31T00:00:00"), ("2019", "2019-01-01T00:00:00")]
    rows = [{"name": text, "taken": text} for text, _ in moments]
    take(imago, folder(imago, "in", [unit(rng) for _ in moments], rows), "--trust-model")
    assert [row["taken"] for row in export(imago, "out")[2]] == [wanted for _, wanted in moments]


def another_model_is_named():
    rng = random.Random(SEED)
    imago = Imago()
    imago.picture("a.png", 1)
    imago.add()
    out, _, _, model = export(imago, "out")
    vectors = [unit(rng)]
    other = dict(model, digest="0" * 64, name="ViT-X", n=1)
    for facts, code, names in (
            (other, 4, ["ViT-X", model["name"]]),
            ({"name": "ViT-X"}, 4, ["ViT-X", model["name"]]),
            (None, 4, ["model.json", model["name"]]),
            ({"name": 5}, 5, ["model.json"]),
            (b"{", 5, ["model.json"]),
            (dict(model, dimension=512, n=1), 2, ["512", "24"]),
            (dict(model, n=7), 2, ["7", "1"])):
        path = folder(imago, f"m{len(os.listdir(imago.base))}", vectors, None, facts)
        imago.error("import", path, code=code, names=names)
        if code == 4 and facts is not None:
            imago.error("import", path, "--trust-model", code=4)
    assert imago.status()["items"] == 1
    named = folder(imago, "named", vectors, None, {"name": model["name"]})
    assert take(imago, named)["added"] == 1
    empty = Imago()
    empty.error("import", out, "--model", OTHER_MODEL, code=4, names=[model["name"], "bf16-sharded"])
    assert empty.status()["items"] == 0 and take(empty, out)["added"] == 1, "the model was chosen"


def an_export_goes_into_a_new_or_empty_folder_only():
    imago = Imago()
    imago.error("export", os.path.join(imago.base, "x"), code=3)
    imago.run("init")
    imago.error("export", os.path.join(imago.base, "x"), code=3)
    assert not os.path.exists(os.path.join(imago.base, "x"))
    imago.picture("a.png", 1)
    imago.add()
    os.mkdir(os.path.join(imago.base, "empty"))
    export(imago, "empty")
    imago.run("export", os.path.join(imago.base, "deep/er/") + "/")
    assert len(os.listdir(os.path.join(imago.base, "deep/er"))) == 3
    os.mkdir(os.path.join(imago.base, "here"))
    imago.run("export", ".", cwd=os.path.join(imago.base, "here"))
    assert len(os.listdir(os.path.join(imago.base, "here"))) == 3
    before = support.tree_digest(imago.pictures)
    error = imago.error("export", imago.pictures, code=4, names=[imago.pictures, "not empty"])
    assert error["hint"]
    imago.error("export", os.path.join(imago.pictures, "a.png"), code=4, names=["a.png", "file"])
    assert support.tree_digest(imago.pictures) == before


def a_full_disk_ends_an_export_without_a_trace():
    rng = random.Random(SEED)
    imago = Imago()
    take(imago, folder(imago, "in", [unit(rng) for _ in range(3000)]), "--trust-model")
    room = os.path.join(imago.base, "room")
    os.mkdir(room)
    with mounted(room, "-t", "tmpfs", "-o", "size=128k", "none"):
        imago.error("export", os.path.join(room, "out"), code=16)
        assert os.listdir(room) == []


def a_killed_export_leaves_nothing_that_looks_whole():
    rng = random.Random(SEED)
    imago = Imago()
    take(imago, folder(imago, "in", [unit(rng) for _ in range(4000)]), "--trust-model")
    out = os.path.join(imago.base, "out")
    start = time.monotonic()
    imago.run("export", os.path.join(imago.base, "timed"))
    length = time.monotonic() - start
    struck = 0
    for i in range(12):
        process = subprocess.Popen(imago.command("export", out), env=imago.env,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(length * (i + 0.5) / 13)
        struck += process.poll() is None
        process.send_signal(signal.SIGKILL if i % 3 else signal.SIGTERM)
        process.wait()
        if os.path.exists(out):
            assert len(os.listdir(out)) == 3
            os.rename(out, f"{out}{i}")
        if i % 3 == 0:
            assert not [n for n in os.listdir(imago.base) if n.startswith(".out.export-0")]
    assert struck >= 4, struck
    for name in os.listdir(imago.base):
        if name.startswith(".out.export"):
            subprocess.run(["rm", "-rf", os.path.join(imago.base, name)], check=True)
    assert len(matrix(export(imago, "out")[1])) == 4000


def a_killed_import_goes_on():
    rng = random.Random(SEED)
    imago = Imago()
    n = 6000
    path = folder(imago, "in", [unit(rng) for _ in range(n)],
                  [{"key": f"k{i}", "tags": ["t"], "fields": {"i": i}} for i in range(n)])
    imago.run("init")
    imago.run("import", path, "--model", MODEL, "--trust-model", code=-signal.SIGKILL,
              env={"IMAGO_FAULT_KILL": "vectors_synced"})
    assert imago.status()["items"] == 0
    imago.sound()
    whole = Imago()
    start = time.monotonic()
    take(whole, path, "--trust-model")
    length = time.monotonic() - start
    kept = struck = 0
    for i in range(10):
        process = subprocess.Popen(
            imago.command("import", path, "--model", MODEL, "--trust-model"), env=imago.env,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(length * (0.2 + 0.06 * i))
        struck += process.poll() is None
        process.send_signal(signal.SIGKILL if i % 3 else signal.SIGINT)
        code = process.wait()
        assert code in (0, -signal.SIGKILL, 130), code
        imago.sound()
        items = imago.status()["items"]
        assert kept <= items <= n
        kept = items
    assert struck >= 3, struck
    done = take(imago, path, "--trust-model")
    assert done["added"] + done["unchanged"] == n and imago.status()["items"] == n, done
    assert export(imago, "a")[1] == export(whole, "a")[1]
    imago.sound()


def many_rows_are_many_batches():
    rng = random.Random(SEED)
    imago = Imago()
    for n in (0, 1, 1023, 1024, 1025, 2048):
        path = folder(imago, f"n{n}", npy([unit(rng) for _ in range(n)]),
                      [{"name": f"{n}-{i}"} for i in range(n)])
        assert take(imago, path, "--trust-model")["added"] == n
    _, vectors, rows, _ = export(imago, "out")
    assert len(rows) == 1 + 1023 + 1024 + 1025 + 2048
    assert [row["name"] for row in rows[:2]] == ["1-0", "1023-0"]
    connection = sqlite3.connect(os.path.join(imago.library, "library.db"))
    assert connection.execute("SELECT count(*) FROM item WHERE source = 'import'").fetchone()[0] == len(rows)
    connection.close()
    imago.sound()


support.main([a_library_comes_back_byte_for_byte,
              types_of_fields_and_texts_come_back,
              vectors_without_files_are_searched_rebuilt_and_kept,
              a_file_of_the_same_content_becomes_the_items_own,
              keys_upsert_and_known_items_are_merged,
              other_types_are_converted_or_named,
              damage_adds_nothing,
              what_the_last_row_gets_wrong_adds_nothing,
              moments_keep_their_offset,
              another_model_is_named,
              an_export_goes_into_a_new_or_empty_folder_only,
              a_full_disk_ends_an_export_without_a_trace,
              a_killed_export_leaves_nothing_that_looks_whole,
              a_killed_import_goes_on,
              many_rows_are_many_batches])
