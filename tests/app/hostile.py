#!/usr/bin/env python3
"""Files, folders and libraries as they should not be, through the command line (blocks A, B and E
of the hostile cases in their everyday form)."""
import hashlib
import json
import os
import shutil
import socket

import support
from support import Imago, png


def one_bad_among_a_hundred_good_stops_nobody():
    imago = Imago()
    for i in range(100):
        imago.picture(f"{i:03}.png", i)
    with open(os.path.join(imago.pictures, "bad.jpg"), "wb") as file:
        file.write(b"\xff\xd8\xff\xe0 no picture")
    for _ in range(2):  # the same verdict twice
        done, lines = imago.add(code=14)
        assert done["failed"] == 1, done
        failed = [line for line in lines if line["event"] == "failed"]
        assert len(failed) == 1 and "bad.jpg" in json.dumps(failed[0])
    assert imago.status()["items"] == 100
    assert imago.status()["failures"] == 1


def content_decides_not_the_name():
    imago = Imago()
    imago.picture("png-called.jpg", 1)
    imago.picture("no-ending", 2)
    with open(os.path.join(imago.pictures, "notes.txt"), "w") as file:
        file.write("no picture")
    with open(os.path.join(imago.pictures, "empty.txt"), "w"):
        pass
    done, _ = imago.add()
    assert done["added"] == 2 and done["skipped"] == 2, done


def named_files_that_cannot_be_are_told():
    imago = Imago()
    imago.picture("a.png", 1)
    empty = os.path.join(imago.pictures, "empty.jpg")
    open(empty, "w").close()
    fifo = os.path.join(imago.pictures, "fifo.jpg")
    os.mkfifo(fifo)
    imago.run("add", "--model", support.MODEL, empty, code=5)
    imago.run("add", "--model", support.MODEL, fifo, code=5, timeout=5)
    imago.run("add", "--model", support.MODEL, os.path.join(imago.pictures, "none.jpg"), code=3)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(os.path.join(imago.pictures, "s"))
    done, _ = imago.add(code=14)
    assert done["added"] == 1, done


def links_end_and_each_picture_is_there_once():
    imago = Imago()
    imago.picture("deep/a.png", 1)
    imago.picture("b.png", 2)
    for name, target in [("deep/up", ".."), ("deep/self", "."), ("loop1", "loop2"), ("loop2", "loop1"),
                         ("root", "/"), ("dangling", "nothing"), ("again.png", "b.png")]:
        os.symlink(target, os.path.join(imago.pictures, name))
    imago.add()
    assert imago.status()["items"] == 2
    imago.run("add", "--yes", "--follow-links", "--model", support.MODEL, imago.pictures, timeout=30)
    assert imago.status()["items"] == 2


def odd_names_come_back_to_the_byte():
    imago = Imago()
    names = [b"new\nline.png", b"\x1b[2J.png", b"-rf.png", b"a'b\"c.png", b"%s%n.png",
             b"\xff\xfe.png", b"x" * 251 + b".png", "e\u0301.png".encode(), "\u00e9.png".encode(),
             "\u202egnp.png".encode(), b" .png"]
    for i, name in enumerate(names):
        with open(os.path.join(os.fsencode(imago.pictures), name), "wb") as file:
            file.write(png(100 + i))
    imago.add()
    done = imago.run("search", "-k", "50", "--print0", "anything")
    found = {path for path in done.stdout.split(b"\0") if path}
    assert found == {os.path.join(os.fsencode(imago.pictures), name) for name in names}, found
    plain = imago.run("search", "-k", "50", "anything").stdout
    assert b"\x1b" not in plain and b"\xff" not in plain


def moves_copies_and_changes_are_told_apart():
    imago = Imago()
    for i in range(5):
        imago.picture(f"{i}.png", i)
    imago.add()
    shutil.copy(os.path.join(imago.pictures, "1.png"), os.path.join(imago.pictures, "copy.png"))
    os.rename(os.path.join(imago.pictures, "0.png"), os.path.join(imago.pictures, "moved.png"))
    imago.picture("2.png", 77)
    os.remove(os.path.join(imago.pictures, "3.png"))
    done, _ = imago.add()
    assert (done["linked"], done["moved"], done["updated"], done["missing"]) == (1, 1, 1, 1), done
    status = imago.status()
    # 2.png's old content is in no file any more: no hit without a path
    assert status["items"] == 5 and status["missing_files"] == 1, status
    answer = json.loads(imago.run("search", "--json", "red").stdout)
    assert answer["total"] == len(answer["hits"]) == 4, answer  # 3.png is gone: nothing to show
    imago.run("check")
    done, _ = imago.add()
    assert done["added"] == 0 and done["missing"] == 0, done


def forgotten_files_take_their_pictures_along():
    imago = Imago()
    for i in range(4):
        imago.picture(f"{i}.png", i)
    imago.picture("copy-of-3.png", 3)
    imago.add()
    assert imago.status()["items"] == 4
    for name in ["0.png", "3.png"]:
        os.remove(os.path.join(imago.pictures, name))
    done = json.loads(imago.run("add", "--json", "--prune", "--yes", "--model", support.MODEL,
                                imago.pictures).stdout.splitlines()[-1])
    assert done["pruned"] == 2, done
    status = imago.status()
    assert status["items"] == 3 and status["missing_files"] == 0, status  # 3 lives on in its copy
    imago.picture("0.png", 0)  # nobody removed it: it comes back as any new picture
    done, _ = imago.add()
    assert done["added"] == 1 and imago.status()["items"] == 4, done
    imago.run("check")


def more_pictures_at_once_give_the_same_vectors():
    answers = []
    for batch in ["1", "8", "40"]:
        imago = Imago()
        for i in range(41):
            imago.picture(f"{i}.png", i)
        imago.run("add", "--batch", batch, "--model", support.MODEL, imago.pictures)
        hits = json.loads(imago.run("search", "--json", "-k", "50", "red").stdout)["hits"]
        answers.append(sorted((os.path.basename(hit["path"]), hit["score"]) for hit in hits))
    assert len(answers[0]) == 41 and answers[0] == answers[1] == answers[2]


def an_unmounted_root_changes_nothing():
    imago = Imago()
    for i in range(10):
        imago.picture(f"{i}.png", i)
    imago.add()
    away = imago.pictures + ".away"
    os.rename(imago.pictures, away)
    imago.add(code=14)  # gone
    os.mkdir(imago.pictures)
    imago.add(code=14)  # an empty folder in its place
    assert imago.status()["missing_files"] == 0
    os.rmdir(imago.pictures)
    os.rename(away, imago.pictures)
    done, _ = imago.add()
    assert done["unchanged"] == 10 and done["added"] == 0, done


def files_that_change_places_keep_their_content():
    """The content of each path moves to another path that is there already, in one run."""
    imago = Imago()
    for i in range(8):
        imago.picture(f"{i}.png", i)
    imago.add()

    def move(*names):
        for old, new in zip(names, names[1:]):
            os.rename(os.path.join(imago.pictures, old), os.path.join(imago.pictures, new))

    def content():
        found = {}
        for path, (item, _) in imago.hits().items():
            shown = json.loads(imago.run("show", "--json", f"id:{item}").stdout)
            for entry in shown["paths"]:
                found[entry["path"]] = shown["sha256"]
        return found

    def truth():
        found = {}
        for name in os.listdir(imago.pictures):
            path = os.path.join(imago.pictures, name)
            with open(path, "rb") as file:
                found[path] = hashlib.sha256(file.read()).hexdigest()
        return found

    move("0.png", "t"), move("1.png", "0.png"), move("t", "1.png")  # a swap
    imago.add()
    assert content() == truth()
    move("5.png", "t"), move("4.png", "5.png"), move("3.png", "4.png"), move("2.png", "3.png")
    move("t", "2.png")  # a ring of four
    imago.add()
    assert content() == truth()
    move("6.png", "6a.png")  # moved, and linked to at the same time
    os.link(os.path.join(imago.pictures, "6a.png"), os.path.join(imago.pictures, "6b.png"))
    imago.add()
    imago.sound()
    assert content() == truth() and imago.status()["items"] == 8
    for i in range(100, 400):  # more than one transaction takes, turned around
        imago.picture(f"{i}.png", i)
    imago.add()
    for i in range(100, 250):
        move(f"{i}.png", "t"), move(f"{499 - i}.png", f"{i}.png"), move("t", f"{499 - i}.png")
    imago.add()
    imago.sound()
    assert content() == truth() and imago.status()["items"] == 308


def removed_pictures_stay_away_until_named():
    imago = Imago()
    path = imago.picture("a.png", 1)
    imago.picture("b.png", 2)
    imago.add()
    before = open(path, "rb").read()
    imago.run("remove", path)
    assert open(path, "rb").read() == before
    done, _ = imago.add()
    assert done["added"] == 0 and imago.status()["items"] == 1, done
    imago.run("add", "--model", support.MODEL, path)
    assert imago.status()["items"] == 2
    imago.run("check")


def index_files_are_made_anew_when_damaged_or_gone():
    imago = Imago()
    for i in range(40):
        imago.picture(f"{i}.png", i)
    imago.add()
    truth = json.loads(imago.run("search", "--json", "-k", "40", "red").stdout)["hits"]

    def vectors():
        found = []
        for folder, _, files in os.walk(os.path.join(imago.library, "index")):
            found += [os.path.join(folder, name) for name in files if name.endswith(".f32")]
        assert len(found) == 1, found
        return found[0]

    def flip():
        with open(vectors(), "r+b") as file:
            file.seek(4096 + 40)
            byte = file.read(1)
            file.seek(4096 + 40)
            file.write(bytes([byte[0] ^ 64]))

    def cut():
        os.truncate(vectors(), 5000)

    def empty():
        os.truncate(vectors(), 0)

    def gone():
        shutil.rmtree(os.path.join(imago.library, "index"))

    for damage in (flip, cut, empty, gone):
        damage()
        answer = json.loads(imago.run("search", "--json", "-k", "40", "red").stdout)
        same = [(h["id"], h["score"]) for h in answer["hits"]] == [(h["id"], h["score"]) for h in truth]
        assert same, damage.__name__
        imago.run("check")


def foreign_and_newer_libraries_are_left_alone():
    for content, code in [(b"", 5), (b"just text" * 50, 5)]:
        imago = Imago()
        os.mkdir(imago.library)
        path = os.path.join(imago.library, "library.db")
        with open(path, "wb") as file:
            file.write(content)
        imago.run("search", "x", code=code)
        imago.run("add", "--model", support.MODEL, imago.pictures, code=code)
        assert open(path, "rb").read() == content
    imago = Imago()
    imago.run("init")
    imago.run("init", code=4)
    imago.run("search", "x", code=3)


def another_model_is_a_conflict():
    imago = Imago()
    imago.picture("a.png", 1)
    imago.add()
    other = str(support.SOURCE / "tests/golden/encoder/bf16-sharded")
    imago.run("search", "--model", other, "x", code=4)
    imago.run("search", "--model", support.MODEL, "x")


support.main([one_bad_among_a_hundred_good_stops_nobody, content_decides_not_the_name,
              named_files_that_cannot_be_are_told, links_end_and_each_picture_is_there_once,
              odd_names_come_back_to_the_byte, moves_copies_and_changes_are_told_apart,
              forgotten_files_take_their_pictures_along, more_pictures_at_once_give_the_same_vectors,
              an_unmounted_root_changes_nothing, files_that_change_places_keep_their_content,
              removed_pictures_stay_away_until_named,
              index_files_are_made_anew_when_damaged_or_gone,
              foreign_and_newer_libraries_are_left_alone, another_model_is_a_conflict])
