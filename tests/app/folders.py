#!/usr/bin/env python3
"""Folders as file systems really give them, through `imago add` (T17 to T27): links, files that are
none, rights, depth, numbers, change under the walk, mounts. IMAGO_TEST_LONG=1 makes them large."""
import hashlib
import json
import os
import resource
import shutil
import subprocess
import threading
import time

import support
from support import Imago, LONG, MODEL, Skipped, mounted, need, png

SEED = int(os.environ.get("IMAGO_TEST_SEED", "5"))


def strace_works():
    return (shutil.which("strace") is not None and
            subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True).returncode == 0)


def failures(lines):
    return {line["path"]: line["error"] for line in lines if line["event"] == "failed"}


def nothing_above_the_root_is_opened():  # T17
    need(strace_works() and not support.SANITIZED, "strace, and no sanitizer")
    imago = Imago()
    imago.picture("deep/a.png", 1)
    imago.picture("b.png", 2)
    outside = os.path.join(imago.base, "outside")
    os.mkdir(outside)
    with open(os.path.join(outside, "secret.png"), "wb") as file:
        file.write(png(3))
    links = [("deep/up", ".."), ("root", "/"), ("above", imago.base), ("loop1", "loop2"),
             ("loop2", "loop1"), ("dangling", "nothing")]
    links += [(f"chain{i}", f"chain{i + 1}") for i in range(41)] + [("chain41", "b.png")]
    for name, target in links:
        os.symlink(target, os.path.join(imago.pictures, name))
    for follow in ([], ["--follow-links"]):
        trace = os.path.join(imago.base, "trace")
        imago.run("add", "--yes", *follow, "--model", MODEL, imago.pictures, timeout=60,
                  under=["strace", "-f", "-y", "-o", trace, "-e", "trace=open,openat,openat2"])
        with open(trace, errors="replace") as file:
            # the library syncs the folder that it was made in: that is no walk
            results = [line.rpartition(" = ")[2].strip() for line in file if "/library/.." not in line]
        opened = [result for result in results if outside in result or
                  result.endswith(("</>", f"<{imago.base}>"))]
        assert any(result.endswith(f"<{imago.pictures}>") for result in results), results
        assert not opened, opened[:5]
        assert imago.status()["items"] == 2
    imago.sound()


def what_is_no_file_is_refused_at_once():  # T18
    imago = Imago()
    imago.picture("a.png", 1)
    os.mkdir(os.path.join(imago.pictures, "x.jpg"))
    os.mkfifo(os.path.join(imago.pictures, "fifo.jpg"))
    done, _ = imago.add(timeout=10)
    assert done["added"] == 1 and done["failed"] == 0, done
    for path in (os.path.join(imago.pictures, "fifo.jpg"), "/dev/zero"):
        start = time.monotonic()
        _, lines = imago.add(path, code=5, timeout=10)
        error = failures(lines)[path]
        assert error["code"] == "not_a_regular_file" and path in error["message"], error
        assert time.monotonic() - start < 5
    assert imago.status()["items"] == 1
    imago.sound()


def a_file_swapped_for_a_fifo_does_not_hold_the_run():  # T18
    imago = Imago()
    for i in range(20):
        imago.picture(f"{i}.png", i)
    os.mkfifo(os.path.join(imago.base, "fifo"))
    with open(os.path.join(imago.base, "picture"), "wb") as file:
        file.write(png(99))
    target = os.path.join(imago.pictures, "swapped.png")
    stop = threading.Event()

    def swap():
        while not stop.is_set():
            for kind in ("picture", "fifo"):
                os.link(os.path.join(imago.base, kind), target + ".new")
                os.rename(target + ".new", target)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        for _ in range(30 if LONG else 8):
            imago.add(code=None, timeout=30)
            imago.add(target, code=None, timeout=30)
    finally:
        stop.set()
        thread.join()
    imago.sound()
    assert imago.status()["items"] in (20, 21)


def lost_rights_are_named_and_lose_no_item():  # T19
    imago = Imago()
    for i in range(4):
        imago.picture(f"open/{i}.png", i)
        imago.picture(f"shut/{i}.png", 10 + i)
        imago.picture(f"listed/{i}.png", 20 + i)
    secret = imago.picture("secret.png", 30)
    them = imago.as_somebody_else()
    imago.add(**them)
    before = imago.hits(**them)
    assert len(before) == 13
    os.chmod(secret, 0)
    os.chmod(os.path.join(imago.pictures, "shut"), 0)
    os.chmod(os.path.join(imago.pictures, "listed"), 0o444)
    try:
        done, lines = imago.add(code=14, **them)
        told = failures(lines)
        assert any("shut" in path for path in told), told
        assert all(error["class"] == "IM_ERR_DENIED" for error in told.values()), told
        assert done["missing"] == 0 and imago.status()["missing_files"] == 0, done
        assert imago.hits(**them) == before
        imago.run("check", **them)
        new = os.path.join(imago.pictures, "new.png")
        shutil.copy(secret, new) if support.ROOT else open(new, "wb").close()
        os.chmod(new, 0)
        _, lines = imago.add(new, code=11, **them)
        assert new in failures(lines)[new]["message"]
        _, lines = imago.add(os.path.join(imago.pictures, "shut"), code=11, **them)
        assert "shut" in json.dumps(lines), lines
    finally:
        for name, mode in (("shut", 0o755), ("listed", 0o755), ("secret.png", 0o644)):
            os.chmod(os.path.join(imago.pictures, name), mode)
    os.remove(new)
    done, _ = imago.add(**them)
    assert done["added"] == 0 and done["missing"] == 0, done
    assert imago.hits(**them) == before


def limits(files, stack):
    def apply():
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
        resource.setrlimit(resource.RLIMIT_STACK, (stack, stack))
    return apply


def deep_trees_cost_neither_stack_nor_descriptors():  # T21
    imago = Imago()
    imago.picture("a.png", 1)
    shapes = [("n" * 200, 40), ("d", 5000)]
    for name, depth in shapes:
        at = os.open(imago.pictures, os.O_RDONLY)
        for level in range(depth):
            os.mkdir(name, dir_fd=at)
            inner = os.open(name, os.O_RDONLY, dir_fd=at)
            os.close(at)
            at = inner
            if level in (2, depth - 1):
                picture = os.open("p.png", os.O_WRONLY | os.O_CREAT, 0o644, dir_fd=at)
                os.write(picture, png(depth + level))
                os.close(picture)
        os.close(at)
    done, lines = imago.add(code=14, preexec_fn=limits(64, 1 << 20), timeout=60)
    told = failures(lines)
    assert done["added"] == 3, done
    assert 1 <= len(told) <= 2, [path[:80] for path in told]
    assert all(error["code"] == "path_too_long" for error in told.values()), told
    imago.sound()


def many_files_that_are_no_pictures_are_a_count():  # T22
    imago = Imago()
    for i in range(100):
        imago.picture(f"{i}.png", i)
    n_files, n_folders = (1000000, 100000) if LONG else (20000, 2000)
    for i in range(n_files):
        os.mknod(os.path.join(imago.pictures, f"file{i}"), 0o644)
    for i in range(n_folders):
        os.mkdir(os.path.join(imago.pictures, f"folder{i}"))
    start = time.monotonic()
    output = os.path.join(imago.base, "output")
    with open(output, "wb") as out:
        process = subprocess.Popen(
            imago.command("add", "--json", "--yes", "--model", MODEL, imago.pictures),
            env=imago.env, stdout=out, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    with open(output) as file:
        lines = [json.loads(line) for line in file]
    done = lines[-1]
    took = time.monotonic() - start
    print(f"{n_files} files, {n_folders} folders: {took:.1f} s, {usage.ru_maxrss // 1024} MiB")
    assert process.returncode == 0 and done["added"] == 100 and done["skipped"] == n_files, done
    assert len(lines) < 200 and usage.ru_maxrss < 256 << 10 and took < 90
    imago.sound()


def churn(folder, seed, stop):
    turn = seed
    while not stop.is_set():
        turn = (turn * 1103515245 + 12345) & 0x7fffffff
        path = os.path.join(folder, f"{turn % 40}.png")
        try:
            action = turn // 64 % 5
            if action == 0:
                with open(path, "wb") as file:
                    file.write(png(turn % 97))
            elif action == 1:
                os.rename(path, os.path.join(folder, f"{turn // 7 % 40}.png"))
            elif action == 2:
                os.truncate(path, 0)
            elif action == 3:
                with open(path, "ab") as file:
                    file.write(b"tail")
            else:
                with open(path + ".new", "wb") as file:
                    file.write(png(turn % 97, 60, 50))
                os.rename(path + ".new", path)
        except FileNotFoundError:
            pass


def files_that_change_under_the_walk_do_no_harm():  # T23
    print(f"seed {SEED}")
    imago = Imago()
    for i in range(40):
        imago.picture(f"{i}.png", i)
    stop = threading.Event()
    threads = [threading.Thread(target=churn, args=(imago.pictures, SEED + i, stop)) for i in range(2)]
    for thread in threads:
        thread.start()
    end = time.monotonic() + (60 if LONG else 4)
    try:
        while time.monotonic() < end:
            done = imago.add(code=None, timeout=60)[0]
            assert done is not None
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    time.sleep(2.1)  # stamps younger than 2 s are not trusted: now they are old enough to be
    told = failures(imago.add(code=None)[1])
    imago.sound()
    for path, (item, _) in imago.hits().items():
        shown = json.loads(imago.run("show", "--json", f"id:{item}").stdout)
        if path in told:  # changed into something that is no picture: the last good one is kept
            continue
        with open(path, "rb") as file:
            assert hashlib.sha256(file.read()).hexdigest() == shown["sha256"], path


def paths(imago, item):
    return {entry["path"] for entry in
            json.loads(imago.run("show", "--json", f"id:{item}").stdout)["paths"]
            if not entry["missing"]}


def links_and_copies_are_one_item_of_five_paths():  # T24
    imago = Imago()
    first = imago.picture("0.png", 1)
    names = {first}
    for i in (1, 2):
        names |= {os.path.join(imago.pictures, f"{i}.png"), os.path.join(imago.pictures, f"c{i}.png")}
        os.link(first, os.path.join(imago.pictures, f"{i}.png"))
        shutil.copy(first, os.path.join(imago.pictures, f"c{i}.png"))
    imago.picture("A.JPG", 2)
    imago.picture("a.jpg", 3)
    done, _ = imago.add()
    assert done["added"] == 3 and done["linked"] == 4, done
    hits = imago.hits()
    assert len(hits) == 3 and imago.status()["items"] == 3
    item = next(hit[0] for path, hit in hits.items() if path in names)
    assert paths(imago, item) == names
    os.remove(first)
    imago.add()
    assert paths(imago, item) == names - {first}
    assert imago.status()["items"] == 3
    imago.sound()


def a_root_on_its_own_mount_goes_and_comes_back():  # T25
    imago = Imago()
    image = os.path.join(imago.base, "real")
    os.mkdir(image)
    with mounted(imago.pictures, "--bind", image):
        for i in range(200):
            imago.picture(f"{i:03}.png", i)
        imago.add()
    before = imago.hits()
    assert len(before) == 200
    _, lines = imago.add(code=14)  # the mount point is empty now
    assert any("mounted" in line.get("message", "") for line in lines), lines
    assert imago.status()["missing_files"] == 0
    os.rmdir(imago.pictures)
    _, lines = imago.add(code=14)
    assert any("mounted" in line.get("message", "") for line in lines), lines
    assert imago.status()["missing_files"] == 0
    os.mkdir(imago.pictures)
    with mounted(imago.pictures, "--bind", image):
        done, _ = imago.add()
        assert done["unchanged"] == 200 and done["added"] == 0, done
        assert imago.hits() == before
        imago.sound()


def a_folder_that_cannot_be_read_to_its_end_marks_nothing():  # T25
    need(strace_works() and not support.SANITIZED, "strace, and no sanitizer")
    imago = Imago()
    for i in range(100):
        imago.picture(f"{i:03}.png", i)
    imago.add()
    before = imago.hits()
    os.remove(os.path.join(imago.pictures, "050.png"))
    for errno_name in ("EIO", "ESTALE"):
        for when in (1, 2):  # the first block of names, and the one after it
            done, lines = imago.add(code=None, under=[
                "strace", "-f", "-o", "/dev/null", "-e", "trace=getdents64",
                f"--inject=getdents64:error={errno_name}:when={when}"])
            assert done["missing"] == 0, (errno_name, when, done)
            assert any(imago.pictures in error["message"] for error in failures(lines).values()), lines
    assert imago.status()["missing_files"] == 0 and imago.hits() == before
    done, _ = imago.add()
    assert done["missing"] == 1 and done["added"] == 0, done
    imago.sound()


def a_large_loss_is_asked_about():  # T25
    imago = Imago()
    for i in range(200):
        imago.picture(f"{i:03}.png", i)
    imago.add()
    for i in range(60):
        os.remove(os.path.join(imago.pictures, f"{i:03}.png"))
    done = imago.run("add", "--model", MODEL, imago.pictures, code=14)  # nobody there to answer
    assert b"60 files" in done.stderr and b"--yes" in done.stderr, done.stderr
    assert imago.status()["missing_files"] == 0 and len(imago.hits()) == 200
    done, _ = imago.add()  # --yes
    assert done["missing"] == 60 and imago.status()["items"] == 200
    imago.sound()


def roots_inside_roots_hold_each_picture_once():  # T26
    imago = Imago()
    for i in range(5):
        imago.picture(f"{i}.png", i)
        imago.picture(f"sub/{i}.png", 10 + i)
    sub = os.path.join(imago.pictures, "sub")
    imago.add(imago.pictures)
    imago.add(sub)
    imago.add(os.path.join(imago.pictures, "..", os.path.basename(imago.pictures), ""))
    imago.add(imago.pictures, sub)
    assert imago.status()["items"] == 10 and imago.status()["files"] == 10, imago.status()
    other = Imago()
    other.add(sub)  # the inner one first
    done, _ = other.add(imago.pictures)
    assert other.status()["items"] == 10, other.status()
    assert len(other.hits()) == 10
    other.sound()
    if not support.ROOT:
        raise Skipped("the bind mount needs root to mount")
    twin = os.path.join(imago.base, "twin")
    os.mkdir(twin)
    with mounted(twin, "--bind", imago.pictures):
        done, _ = imago.add(twin)
        assert done["added"] == 0 and imago.status()["items"] == 10, done
    imago.sound()


def originals_are_only_ever_read():  # T27
    imago = Imago()
    real = os.path.join(imago.base, "real")
    os.mkdir(real)
    imago.pictures, point = real, imago.pictures
    for i in range(6):
        imago.picture(f"{i}.png", i)
    imago.pictures = point
    digest = support.tree_digest(real)
    with mounted(point, "--bind", "-o", "ro", real):
        subprocess.run(["mount", "-o", "remount,bind,ro", point], check=False)
        imago.add()
        assert len(imago.hits()) == 6
        imago.run("remove", os.path.join(point, "0.png"))
        assert imago.status()["items"] == 5
        imago.run("remove", "--yes", point)
        assert imago.status()["items"] == 0
        imago.sound()
        shutil.rmtree(imago.library)
    assert support.tree_digest(real) == digest


def a_moved_folder_is_followed_when_its_files_are_there():  # T27
    imago = Imago()
    for i in range(5):
        imago.picture(f"a/{i}.png", i)
        imago.picture(f"b/{i}.png", 10 + i)
    roots = [os.path.join(imago.pictures, name) for name in "ab"]
    imago.add(*roots)
    before = {os.path.basename(os.path.dirname(p)) + os.path.basename(p): v
              for p, v in imago.hits().items()}
    wrong = os.path.join(imago.base, "wrong")
    os.mkdir(wrong)
    imago.error("relocate", roots[0], wrong, code=3, names=("none of 5 files",))
    imago.error("relocate", roots[0], "/nowhere", code=3)
    imago.error("relocate", wrong, roots[0], code=3, names=("no folder that was added",))
    imago.error("relocate", roots[0], roots[1], code=4)
    assert {r["path"] for r in imago.status()["roots"]} == set(roots)
    there = os.path.join(imago.base, "there")
    os.rename(imago.pictures, there)
    os.unlink(os.path.join(there, "b/4.png"))
    done = json.loads(imago.run("relocate", "--json", imago.pictures, there).stdout)
    assert done == {"roots": 2, "looked_at": 10, "found": 9}, done
    after = {os.path.basename(os.path.dirname(p)) + os.path.basename(p): v
             for p, v in imago.hits().items()}
    assert after == before and all(p.startswith(there) for p in imago.hits())
    done, _ = imago.add(os.path.join(there, "a"), os.path.join(there, "b"))
    assert done["unchanged"] == 9 and done["added"] == 0 and done["missing"] == 1, done
    imago.sound()


support.main([nothing_above_the_root_is_opened, what_is_no_file_is_refused_at_once,
              a_file_swapped_for_a_fifo_does_not_hold_the_run,
              lost_rights_are_named_and_lose_no_item, deep_trees_cost_neither_stack_nor_descriptors,
              many_files_that_are_no_pictures_are_a_count,
              files_that_change_under_the_walk_do_no_harm,
              links_and_copies_are_one_item_of_five_paths,
              a_root_on_its_own_mount_goes_and_comes_back,
              a_folder_that_cannot_be_read_to_its_end_marks_nothing, a_large_loss_is_asked_about,
              roots_inside_roots_hold_each_picture_once, originals_are_only_ever_read,
              a_moved_folder_is_followed_when_its_files_are_there])
