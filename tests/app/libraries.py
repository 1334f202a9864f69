#!/usr/bin/env python3
"""Libraries as they should not be, through the command line: full disks (T45), no rights (T47),
other versions and other files (T50), damage (T52, T53), clocks (T55), copies and moves (T56).
IMAGO_TEST_LONG=1 walks more places."""
import contextlib
import json
import os
import random
import shutil
import sqlite3
import struct
import subprocess
import time

import support
from support import Imago, LONG, MODEL, mounted, need

SEED = int(os.environ.get("IMAGO_TEST_SEED", "5"))
APPLICATION_ID = 0x494D4147


def filled(n=12, seed=0):
    imago = Imago()
    for i in range(n):
        imago.picture(f"{i:03}.png", seed + i)
    imago.add()
    return imago


def database(imago):
    return os.path.join(imago.library, "library.db")


def quiet_database(imago):
    """The database with its WAL folded in and gone."""
    fold(imago)
    with open(database(imago), "rb") as file:
        return file.read()


def fold(imago):
    connection = sqlite3.connect(database(imago))
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def restore(imago, content):
    for suffix in ("-wal", "-shm"):
        if os.path.exists(database(imago) + suffix):
            os.remove(database(imago) + suffix)
    with open(database(imago), "wb") as file:
        file.write(content)


def vectors(imago):
    found = [os.path.join(folder, name) for folder, _, files in
             os.walk(os.path.join(imago.library, "index")) for name in files if name.endswith(".f32")]
    assert len(found) == 1, found
    return found[0]


# ---- T45: the disk is full ----

def fill_all_but(folder, n_bytes):
    """A ballast file that leaves n_bytes free."""
    info = os.statvfs(folder)
    path = os.path.join(folder, "ballast")
    size = info.f_bavail * info.f_frsize - n_bytes
    with open(path, "wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(size, 1))
    return path


def full_disk_round(imago, room, free):
    """One library on a disk with `free` bytes left: nothing is lost, the sentence says it all."""
    before = imago.hits()
    ballast = fill_all_but(room, free)
    done, lines = imago.add(code=None, timeout=60)
    if done is None or done["added"] == 0 or free == 0:
        full = imago.error("add", "--yes", "--model", MODEL, imago.pictures, code=16,
                           names=[imago.library])
        assert full["class"] == "IM_ERR_FULL", full
    during = imago.hits()
    assert all(during.get(path) == hit for path, hit in before.items()), "an item was lost"
    first = min(item for item, _ in during.values())
    imago.run("remove", f"id:{first}")  # through the reserve
    assert len(imago.hits()) == len(during) - 1
    imago.run("check")
    os.remove(ballast)
    done, _ = imago.add()
    after = imago.hits()
    assert len(after) == len(os.listdir(imago.pictures)) - 1, done
    assert all(after[path] == hit for path, hit in during.items() if hit[0] != first)
    imago.sound()


def a_full_disk_loses_nothing_and_room_mends_it():
    sizes = (8, 16, 32, 64) if LONG else (8, 16)
    rooms = [0, 4, 16, 48, 100, 200, 400] if not LONG else range(0, 1200, 12)
    for size in sizes:
        for free in rooms:
            imago = Imago()
            room = os.path.join(imago.base, "room")
            os.mkdir(room)
            with mounted(room, "-t", "tmpfs", "-o", f"size={size}m", "none"):
                imago.library = os.path.join(room, "library")
                for i in range(10):
                    imago.picture(f"{i:03}.png", i)
                imago.add()
                for i in range(10, 200):
                    imago.picture(f"{i:03}.png", i)
                try:
                    full_disk_round(imago, room, free << 10)
                except AssertionError as error:
                    raise AssertionError(f"{size} MiB, {free} KiB left: {error}") from error


def a_library_that_cannot_be_made_for_want_of_room_is_made_later():
    for free in (0, 16, 64, 256, 1024, 4096):
        imago = Imago()
        imago.picture("a.png", 1)
        room = os.path.join(imago.base, "room")
        os.mkdir(room)
        with mounted(room, "-t", "tmpfs", "-o", "size=8m", "none"):
            imago.library = os.path.join(room, "library")
            ballast = fill_all_but(room, free << 10)
            error = imago.error("init", code=16)
            assert imago.library in error["message"], (free, error)
            os.remove(ballast)
            imago.add()
            assert len(imago.hits()) == 1
            imago.sound()


# ---- T47: no rights ----

def listing(folder):
    """All files with size and date, but not what SQLite needs to read at all: -shm, an empty -wal."""
    found = {}
    for parent, _, files in os.walk(folder):
        for name in files:
            info = os.stat(os.path.join(parent, name))
            if not name.endswith("-shm") and not (name.endswith("-wal") and info.st_size == 0):
                found[os.path.join(parent, name)] = (info.st_size, info.st_mtime_ns)
    return found


def refuses_changes(imago, before, names, **them):
    old = listing(imago.library)
    search = imago.run("search", "--json", "red", code=None, **them)
    assert search.returncode in (0, 11), search
    if search.returncode == 0:
        assert imago.hits(**them) == before
    else:
        assert imago.library.encode() in search.stderr, search.stderr
    for command in (["add", "--yes", "--model", MODEL, imago.pictures], ["remove", "id:1"],
                    ["rebuild"]):
        error = imago.error(*command, code=11, **them)
        assert any(name in error["message"] for name in names), error
    assert listing(imago.library) == old, "something was written"
    return search.returncode


def a_library_without_write_rights_is_left_alone():
    imago = filled()
    fold(imago)
    imago.picture("new.png", 99)
    before = imago.hits()
    whose = [{}, imago.as_somebody_else()] if support.ROOT else [{}]
    for them in whose:
        for path, mode, name in ((imago.library, 0o555, imago.library),
                                 (database(imago), 0o444, "library.db")):
            old = os.stat(path).st_mode & 0o777
            os.chmod(path, mode)
            try:
                code = refuses_changes(imago, before, [name], **them)
                print(f"mode {mode:o} of {os.path.basename(path)}, {'other uid' if them else 'own uid'}: "
                      f"search exits {code}")
            finally:
                os.chmod(path, old)
    done, _ = imago.add()
    assert done["added"] == 1
    imago.sound()


def a_library_with_a_hot_wal(imago):
    """A copy whose newest rows are in the WAL only, as a power cut leaves it."""
    reader = sqlite3.connect(database(imago))
    reader.execute("SELECT count(*) FROM item").fetchall()  # keeps the WAL from being folded in
    imago.picture("later.png", 50)
    imago.add()
    hot = os.path.join(imago.base, "hot")
    shutil.copytree(imago.library, hot)
    reader.close()
    os.remove(os.path.join(hot, "library.db-shm"))
    assert os.path.getsize(os.path.join(hot, "library.db-wal")) > 0
    return hot


def a_read_only_mount_is_searched_or_says_why():
    for hot in (False, True):
        imago = filled()
        if hot:
            imago.library = a_library_with_a_hot_wal(imago)
            copy = os.path.join(imago.base, "copy")
            shutil.copytree(imago.library, copy)
            real, imago.library = imago.library, copy
            before = imago.hits()
            imago.library = real
            assert len(before) == 13
        else:
            fold(imago)
            before = imago.hits()
        point = os.path.join(imago.base, "point")
        os.mkdir(point)
        real = imago.library
        with mounted(point, "--bind", real):
            subprocess.run(["mount", "-o", "remount,bind,ro", point], check=True)
            imago.library = point
            code = refuses_changes(imago, before, [point, "library.db"])
            print(f"read-only mount, {'hot' if hot else 'clean'} WAL: search exits {code}")
        imago.library = real
        imago.add()
        assert imago.hits() == before
        imago.sound()


# ---- T50: other versions, other files ----

def other_versions_and_programs_are_named_and_not_touched():
    imago = filled(4)
    sound = quiet_database(imago)
    version = struct.unpack(">i", sound[60:64])[0]

    def patched(at, value):
        return sound[:at] + struct.pack(">i", value) + sound[at + 4:]

    other = os.path.join(imago.base, "other.db")
    connection = sqlite3.connect(other)
    connection.execute("PRAGMA page_size=4096")
    connection.execute("CREATE TABLE moz_places (id INTEGER PRIMARY KEY, url TEXT)")
    connection.commit()
    connection.close()
    with open(other, "rb") as file:
        foreign = file.read()
    cases = [(patched(60, version + 1), 7, [f"{version + 1}", f"{version}"]),
             (patched(60, version + 1000), 7, [f"{version + 1000}", f"{version}"]),
             (patched(60, -1), 5, ["-1", f"{version}"]),
             (patched(68, 0x0F055112), 5, ["0x0f055112", f"0x{APPLICATION_ID:08x}"]),
             (foreign, 5, ["library.db"]), (b"", 5, ["library.db"]),
             (b"shopping list\n" * 100, 5, ["library.db"]), (b"x", 5, ["library.db"])]
    for content, code, names in cases:
        restore(imago, content)
        for command in (["search", "red"], ["status"], ["check"], ["rebuild"], ["show", "id:1"],
                        ["remove", "id:1"], ["add", "--yes", "--model", MODEL, imago.pictures]):
            imago.error(*command, code=code, names=[imago.library, *names])
            with open(database(imago), "rb") as file:
                assert file.read() == content, command
            assert not os.path.exists(database(imago) + "-wal"), command
    restore(imago, sound)
    imago.sound()
    assert len(imago.hits()) == 4


# ---- T52: a damaged database ----

def judged(imago, truth, what):
    """A damaged library answers rightly, or says that it is damaged; or `check` does."""
    done = imago.run("search", "--json", "-k", "1000", "red", code=None, timeout=30)
    check = imago.run("check", "--json", code=None, timeout=30)
    for command in (done, check):
        assert command.returncode in (0, 5, 7, 10, 15), (what, command)
    if done.returncode == 0:
        hits = {h["path"]: (h["id"], h["score"]) for h in json.loads(done.stdout)["hits"]}
        assert hits == truth or check.returncode != 0, f"{what}: a wrong answer that no check finds"
    else:
        error = json.loads(done.stderr.splitlines()[-1])["error"]
        assert imago.library in error["message"], (what, error)
    return done.returncode, check.returncode


def flipped(content, at, bits=0xFF):
    return content[:at] + bytes([content[at] ^ bits]) + content[at + 1:]


def each_damaged_byte_is_found_or_does_not_matter():
    rng = random.Random(SEED)
    print(f"seed {SEED}")
    imago = filled(30)
    sound = quiet_database(imago)
    truth = imago.hits()
    page = struct.unpack(">H", sound[16:18])[0]
    verdicts = {}

    def try_one(content, what):
        restore(imago, content)
        verdict = judged(imago, truth, what)
        verdicts[verdict] = verdicts.get(verdict, 0) + 1
        return verdict

    for at in range(100):
        try_one(flipped(sound, at), f"header byte {at}")
    for at in sorted(rng.randrange(100, len(sound)) for _ in range(500 if LONG else 100)):
        try_one(flipped(sound, at, 1 << rng.randrange(8)), f"byte {at}")
    for number in range(0, len(sound) // page, 1 if LONG else 5):
        try_one(sound[:number * page] + bytes(page) + sound[(number + 1) * page:], f"page {number}")
    found = try_one(sound[:len(sound) // 2], "cut at half")
    assert found[0] != 0 or found[1] != 0, found
    print("search and check:", ", ".join(f"{n} x {codes}" for codes, n in sorted(verdicts.items())))
    restore(imago, sound)
    imago.sound()
    assert imago.hits() == truth


def a_damaged_vector_stops_no_neighbour():
    imago = filled(3)
    with contextlib.closing(sqlite3.connect(database(imago))) as db, db:
        item, = db.execute("SELECT item FROM file WHERE path = CAST('000.png' AS BLOB)").fetchone()
        db.execute("UPDATE embedding SET vector = zeroblob(length(vector)) WHERE item = ?", (item,))
    twin = os.path.join(imago.pictures, "twin.png")
    shutil.copy(os.path.join(imago.pictures, "000.png"), twin)
    done, lines = imago.add(twin, imago.picture("new.png", 700), code=14)
    failed = [line for line in lines if line["event"] == "failed"]
    assert done["added"] == 1 and done["failed"] == 1, done
    assert len(failed) == 1 and twin in json.dumps(failed[0]), failed
    imago.picture("newer.png", 701)  # met with the damaged one in a walk
    done, lines = imago.add(code=14)
    assert done["added"] == 1 and done["failed"] == 2 and done["unchanged"] == 3, done
    imago.run("check", code=15)


def a_noisy_wal_or_one_of_another_library_changes_nothing():
    rng = random.Random(SEED)
    imago = filled(10)
    sound = quiet_database(imago)
    truth = imago.hits()
    other = filled(10, seed=500)
    other.picture("more.png", 600)
    other.run("add", "--yes", "--model", MODEL, other.pictures, code=None,
              env={"IMAGO_FAULT_KILL": "vectors_synced"})
    with open(database(other) + "-wal", "rb") as file:
        foreign = file.read()
    noise = bytes(rng.randrange(256) for _ in range(70000))
    for suffix, content in (("-wal", noise), ("-wal", foreign), ("-wal", foreign[:40] + noise),
                            ("-shm", noise[:32768]), ("-wal", b"")):
        restore(imago, sound)
        with open(database(imago) + suffix, "wb") as file:
            file.write(content)
        assert judged(imago, truth, f"{suffix} of {len(content)} bytes")[0] in (0, 15)
    restore(imago, sound)
    imago.sound()
    assert imago.hits() == truth


# ---- T53: damaged index files ----

def damaged_vectors_are_made_anew_with_the_same_answers():
    rng = random.Random(SEED)
    print(f"seed {SEED}")
    imago = filled(40)
    truth = imago.hits()
    other = filled(40, seed=700)
    with open(vectors(imago), "rb") as file:
        sound = file.read()
    with open(vectors(other), "rb") as file:
        foreign = file.read()
    name = os.path.relpath(vectors(imago), imago.library)
    huge = bytearray(sound)
    for at in range(0, 4088, 8):  # wherever the header holds the dimension
        if struct.unpack("<I", sound[at:at + 4])[0] == 24:
            huge[at:at + 4] = struct.pack("<I", 1 << 31)
    cases = [("empty", b""), ("of another library", foreign), ("huge", bytes(huge)),
             ("cut in its header", sound[:100]), ("noise", os.urandom(len(sound))),
             ("zero", bytes(len(sound)))]
    cases += [(f"cut at {n}", sound[:n]) for n in
              (4096, 4097, len(sound) // 2, len(sound) - 4096, len(sound) - 1)]
    end = 4096 + 40 * (24 * 4 + 4) if len(sound) > 8096 else len(sound)
    places = [rng.randrange(0, 128) for _ in range(8)]
    places += [rng.randrange(4096, min(end, len(sound))) for _ in range(1000 if LONG else 40)]
    cases += [(f"byte {at} flipped", flipped(sound, at, 1 << rng.randrange(8))) for at in places]
    for what, content in cases:
        for folder, _, files in os.walk(os.path.join(imago.library, "index")):
            for old in files:
                if old.endswith(".f32"):
                    os.remove(os.path.join(folder, old))
        path = os.path.join(imago.library, name)
        with open(path, "wb") as file:
            file.write(content)
        assert imago.hits() == truth, what
        imago.sound()
        name = os.path.relpath(vectors(imago), imago.library)  # a new generation
    shutil.rmtree(os.path.join(imago.library, "index"))
    assert imago.hits() == truth
    imago.sound()


# ---- T55: clocks ----

def odd_stamps_cause_no_new_encoding():
    imago = Imago()
    stamps = [0, 1, -1, -2 ** 31, 2 ** 31 - 1, 2 ** 31, 2 ** 32 + 5, 4102444800, 16725225600,
              -2 ** 33, -2 ** 40, 2 ** 40, 2 ** 62, -2 ** 62, int(time.time()) + 86400 * 3650]
    for i, stamp in enumerate(stamps):
        path = imago.picture(f"{i}.png", i)
        try:
            os.utime(path, (stamp, stamp))
        except OSError:  # beyond what this file system holds
            os.utime(path, (1, 1))
    done, _ = imago.add()
    assert done["added"] == len(stamps), done
    before = imago.hits()
    for _ in range(2):
        done, _ = imago.add()
        assert (done["added"], done["updated"], done["unchanged"]) == (0, 0, len(stamps)), done
    assert imago.hits() == before
    imago.sound()


def clocks_that_jump_cause_no_new_encoding():
    need(shutil.which("faketime") is not None and not support.SANITIZED,
         "faketime, and no sanitizer")
    imago = filled(10)
    imago.env["NO_FAKE_STAT"] = "1"  # the clock jumps, the files' own stamps stay
    before = imago.hits()
    for clock in (["-f", "-1d"], ["-f", "+10y"], ["1970-01-02 00:00:00"], ["2038-01-19 03:14:08"]):
        done, _ = imago.add(under=["faketime", *clock], timeout=60)
        assert (done["added"], done["updated"], done["missing"]) == (0, 0, 0), (clock, done)
        assert 0 <= done["seconds"] < 60, (clock, done)
        assert imago.hits(under=["faketime", *clock], timeout=60) == before
    imago.picture("born tomorrow.png", 77)
    done, _ = imago.add(under=["faketime", "-f", "+1d"], timeout=60)
    assert done["added"] == 1
    done, _ = imago.add()
    assert (done["added"], done["updated"]) == (0, 0), done
    imago.sound()


# ---- T56: copies and moves ----

def a_copy_of_a_library_at_work_opens_or_says_that_it_is_torn():
    imago = Imago()
    for i in range(600):
        imago.picture(f"{i:03}.png", i)
    process = subprocess.Popen(imago.command("add", "--yes", "--quiet", "--batch", "1", "--model", MODEL,
                                             imago.pictures), env=imago.env, stderr=subprocess.DEVNULL)
    copies = []
    while process.poll() is None:
        copy = os.path.join(imago.base, f"copy{len(copies)}")
        done = subprocess.run(["cp", "-r", imago.library, copy], capture_output=True)
        copies += [copy] if done.returncode == 0 else []
        time.sleep(0.02)
    assert process.returncode == 0
    truth = {path: score for path, (_, score) in imago.hits().items()}
    opened, torn = 0, 0
    real = imago.library
    for copy in copies:
        imago.library = copy
        done = imago.run("search", "--json", "-k", "10000", "red", code=None)
        check = imago.run("check", code=None)
        assert done.returncode in (0, 3, 5, 15), (copy, done)
        if done.returncode == 0 and check.returncode == 0:
            hits = json.loads(done.stdout)["hits"]
            assert all(truth[hit["path"]] == hit["score"] for hit in hits), "a wrong vector"
            done, _ = imago.add()  # it goes on from there
            assert imago.status()["items"] == 600
            opened += 1
        else:
            torn += 1
    imago.library = real
    assert opened > 0
    print(f"{len(copies)} copies: {opened} whole, {torn} torn or without a library yet")
    imago.sound()


def a_database_without_its_wal_is_an_older_moment():
    imago = filled(10)
    fold(imago)
    old = imago.hits()
    for i in range(10, 20):
        imago.picture(f"{i:03}.png", i)
    imago.run("add", "--yes", "--model", MODEL, imago.pictures, code=None,
              env={"IMAGO_FAULT_KILL": "vectors_synced"})
    for suffix in ("-wal", "-shm"):
        if os.path.exists(database(imago) + suffix):
            os.remove(database(imago) + suffix)
    assert imago.hits() == old
    imago.add()
    assert len(imago.hits()) == 20
    imago.sound()


def caches_that_are_gone_and_a_moved_library_answer_the_same():
    imago = filled(20)
    before = imago.hits()
    for name in ("index", "thumbs"):
        shutil.rmtree(os.path.join(imago.library, name), ignore_errors=True)
    assert imago.hits() == before
    imago.sound()
    for name in ("lock", "reserve"):
        if os.path.exists(os.path.join(imago.library, name)):
            os.remove(os.path.join(imago.library, name))
    done, _ = imago.add()
    assert done["added"] == 0
    moved = os.path.join(imago.base, "moved", "elsewhere")
    os.mkdir(os.path.dirname(moved))
    os.rename(imago.library, moved)
    imago.error("search", "red", code=3, names=[imago.library])
    imago.library = moved
    assert imago.hits() == before
    done, _ = imago.add()
    assert done["added"] == 0 and done["unchanged"] == 20, done
    imago.sound()


support.main([a_full_disk_loses_nothing_and_room_mends_it,
              a_library_that_cannot_be_made_for_want_of_room_is_made_later,
              a_library_without_write_rights_is_left_alone, a_read_only_mount_is_searched_or_says_why,
              other_versions_and_programs_are_named_and_not_touched,
              each_damaged_byte_is_found_or_does_not_matter, a_damaged_vector_stops_no_neighbour,
              a_noisy_wal_or_one_of_another_library_changes_nothing,
              damaged_vectors_are_made_anew_with_the_same_answers, odd_stamps_cause_no_new_encoding,
              clocks_that_jump_cause_no_new_encoding,
              a_copy_of_a_library_at_work_opens_or_says_that_it_is_torn,
              a_database_without_its_wal_is_an_older_moment,
              caches_that_are_gone_and_a_moved_library_answer_the_same])
