#!/usr/bin/env python3
"""Compaction and rebuilding from the program: by hand and by itself, on a full disk, killed or
stopped while others search (T63); a library that is emptied and filled again (T64)."""
import glob
import json
import os
import signal
import subprocess
import time

import support
from support import LONG, Imago

ROWS = 128  # bytes of a row of the tiny model in the vector file


def filled(n, library=None):
    imago = Imago()
    if library is not None:
        imago.library = library
    for i in range(n):
        imago.picture(f"{i:04}.png", i)
    imago.add()
    return imago


def index_files(imago):
    """All but the columns, of which there is one file at most."""
    names = sorted(map(os.path.basename, glob.glob(os.path.join(imago.library, "index", "*", "*"))))
    columns = [name for name in names if name.startswith("columns.")]
    assert len(columns) <= 1, names
    return [name for name in names if name not in columns]


def remove(imago, hits, n):
    """Takes out the n that are named first; what is left."""
    gone = sorted(hits)[:n]
    for at in range(0, n, 200):
        imago.run("remove", "--yes", *[f"id:{hits[path][0]}" for path in gone[at:at + 200]])
    return {path: hit for path, hit in hits.items() if path not in gone}


def by_hand_it_gives_room_back_and_answers_stay():
    imago = filled(30)
    said = imago.run("rebuild", "--compact").stdout.decode()
    assert said == "nothing to compact: 30 vectors, no removed rows\n", said
    left = remove(imago, imago.hits(), 10)
    assert imago.hits() == left
    status = imago.status()
    assert status["removed_rows_held"] == 10 and status["index_rows"] == 30, status
    assert "removed_rows_held" in imago.run("status").stdout.decode().replace(" ", "_")
    done = json.loads(imago.run("rebuild", "--compact", "--json").stdout)
    assert done == {"vectors": 20, "dropped": 10, "freed_bytes": 10 * ROWS}, done
    status = imago.status()
    assert status["removed_rows_held"] == 0 and status["index_rows"] == 20, status
    assert status["index_generation"] == 2 and index_files(imago) == ["vectors.2.f32"]
    assert imago.hits() == left
    imago.sound()
    imago.picture("new.png", 1000)
    imago.add()
    assert len(imago.hits()) == 21
    imago.sound()


def it_happens_at_the_end_of_remove_and_of_add():
    imago = filled(2500)
    hits = imago.hits()
    left = remove(imago, hits, 1000)
    assert imago.status()["index_rows"] == 1500, imago.status()
    assert imago.hits() == left
    # now by an add that forgets what is gone
    for path in sorted(left)[:1100]:
        os.unlink(path)
    imago.run("add", "--yes", "--prune", imago.pictures)
    status = imago.status()
    assert status["index_rows"] == 400 and status["removed_rows_held"] == 0, status
    assert status["index_generation"] == 3, status
    assert len(imago.hits()) == 400
    imago.sound()


def a_full_disk_leaves_the_old_index():
    imago = Imago()
    os.mkdir(os.path.join(imago.base, "disk"))
    with support.mounted(os.path.join(imago.base, "disk"), "-t", "tmpfs", "-o", "size=48m", "none"):
        imago = filled(200, os.path.join(imago.base, "disk", "library"))
        hits = imago.hits()
        left = remove(imago, hits, 60)
        ballast = os.path.join(os.path.dirname(imago.library), "ballast")
        room = os.statvfs(imago.library)
        with open(ballast, "wb") as file:
            file.write(bytes(room.f_bavail * room.f_frsize - 50000))
        error = imago.error("rebuild", "--compact", code=16, names=["compacting needs", "free"])
        assert error["code"] == "disk_full", error
        assert imago.hits() == left and index_files(imago) == ["vectors.1.f32"]
        imago.error("rebuild", code=16)  # T63, out of disk
        assert imago.hits() == left
        os.unlink(ballast)
        done = json.loads(imago.run("rebuild", "--compact", "--json").stdout)
        assert done["dropped"] == 60, done
        assert imago.hits() == left and index_files(imago) == ["vectors.2.f32"]
        imago.sound()


def killed_or_stopped_while_others_search():  # T63
    imago = filled(300)
    left = remove(imago, imago.hits(), 50)
    points = ["generation_made", "vectors_synced", "store_before_commit", "store_committed"]
    for command in (["rebuild"], ["rebuild", "--compact"]):
        for point in points:
            done = imago.run(*command, code=None, env={"IMAGO_FAULT_KILL": point})
            if command[-1] == "rebuild" or imago.status()["removed_rows_held"] > 0:
                assert done.returncode == -signal.SIGKILL, (command, point, done)
            assert imago.hits() == left, (command, point)
            imago.sound()
            left = remove(imago, left, 3)  # the next writer clears up
            assert len(index_files(imago)) == 1, (command, point, index_files(imago))
    # out of memory, and stopped by Ctrl-C at moments that searches run through
    imago.error("rebuild", code=9, env={"IMAGO_FAULT": "alloc:900"})
    assert imago.hits() == left
    began = time.monotonic()
    stopped = 0
    for round_ in range(200):
        if time.monotonic() - began > (60 if LONG else 5):
            break
        rebuild = subprocess.Popen(imago.command("rebuild"), env=imago.env,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        search = subprocess.Popen(imago.command("search", "--json", "-k", "10000", "red"),
                                  env=imago.env, stdout=subprocess.PIPE)
        time.sleep(0.0015 * (round_ % 20))
        rebuild.send_signal(signal.SIGINT)
        found = {hit["path"] for hit in json.loads(search.communicate()[0])["hits"]}
        rebuild.wait()
        assert found == set(left), len(found)
        assert rebuild.returncode in (0, 128 + signal.SIGINT, -signal.SIGINT), rebuild.returncode
        stopped += rebuild.returncode != 0
        assert imago.hits() == left
    print(f"{stopped} of {round_} rebuilds were stopped")
    imago.run("rebuild", "--compact")
    remove(imago, left, 1)
    assert len(index_files(imago)) == 1, index_files(imago)
    imago.sound()


def an_emptied_library_starts_again():  # T64
    imago = filled(6)
    hits = imago.hits()
    highest = max(id for id, _ in hits.values())
    remove(imago, hits, 6)
    assert imago.hits() == {}
    status = imago.status()
    assert status["items"] == 0 and status["removed_rows_held"] == 6, status
    imago.run("rebuild", "--compact")
    assert imago.hits() == {} and imago.status()["index_rows"] == 0
    assert json.loads(imago.run("search", "--json", "width:1..", "red").stdout)["hits"] == []
    imago.sound()
    gone = f"id:{highest}"
    imago.run("remove", gone, code=3)
    imago.run("remove", gone, code=3)
    new = imago.picture("new.png", 100)
    imago.add(new)
    (id_, _), = imago.hits().values()
    assert id_ > highest, "an id was used again"
    same = os.path.join(imago.pictures, "0000.png")
    imago.add()  # the folder: what was removed stays away
    assert len(imago.hits()) == 1
    imago.add(same)
    assert imago.hits()[same][0] > id_
    imago.run("remove", f"id:{id_}")
    imago.run("remove", f"id:{id_}", code=3)
    assert set(imago.hits()) == {same}
    imago.sound()


support.main([by_hand_it_gives_room_back_and_answers_stay,
              it_happens_at_the_end_of_remove_and_of_add,
              a_full_disk_leaves_the_old_index,
              killed_or_stopped_while_others_search,
              an_emptied_library_starts_again])
