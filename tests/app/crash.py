#!/usr/bin/env python3
"""`kill -9` in the middle of `add`: at 50 moments spread over the run and 12 times between the sync
of the vectors and the commit. Each time the next command works, `check` is sound, nothing that a
finished run had acknowledged is gone, and the same command brings the library to its end."""
import os
import random
import signal
import subprocess
import time

import support
from support import Imago

N_PICTURES = 300
SEED = int(os.environ.get("IMAGO_TEST_SEED", "5"))


def acknowledged(imago):
    return imago.status()["items"] if os.path.exists(os.path.join(imago.library, "library.db")) else 0


def kills_at_random_moments_lose_nothing():
    rng = random.Random(SEED)
    print(f"seed {SEED}")
    whole = Imago()
    for i in range(N_PICTURES):
        whole.picture(f"{i:03}.png", i)
    start = time.monotonic()
    whole.add()
    length = time.monotonic() - start
    struck = 0
    imago = None
    for round_ in range(50):
        if imago is None or round_ % 2 == 0:  # each library is killed once from the start, once later
            imago = Imago()
            imago.pictures = whole.pictures
            kept = 0
        process = subprocess.Popen(
            imago.command("add", "--json", "--yes", "--model", support.MODEL, imago.pictures),
            env=imago.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(length * 0.9 * (round_ // 2 + rng.random()) / 25)
        struck += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
        if not os.path.exists(os.path.join(imago.library, "library.db")):
            continue
        imago.run("check")
        items = acknowledged(imago)
        assert items >= kept, f"{kept} items were there, now {items}"
        kept = items
        if items == N_PICTURES:
            imago = None
    assert struck >= 25, f"only {struck} kills came in time"
    if imago is not None:
        done, _ = imago.add()
        assert acknowledged(imago) == N_PICTURES, done
        imago.run("check")


def kills_between_vector_sync_and_commit_lose_nothing():
    imago = Imago()
    for i in range(12):
        kept = acknowledged(imago)
        imago.picture(f"{i}.png", 1000 + i)
        done = imago.run("add", "--yes", "--model", support.MODEL, imago.pictures, code=None,
                         env={"IMAGO_FAULT_KILL": "vectors_synced"})
        assert done.returncode == -signal.SIGKILL, "the hook was not reached"
        imago.run("check")
        assert acknowledged(imago) == kept
        imago.add()
        assert acknowledged(imago) == kept + 1
        imago.run("check")


def two_adds_at_once_make_the_union():
    imago = Imago()
    for i in range(60):
        imago.picture(f"a/{i}.png", i)
        imago.picture(f"b/{i}.png", 30 + i)  # half of them are in both
    imago.run("init")
    both = [subprocess.Popen(imago.command("add", "--yes", "--model", support.MODEL,
                                           os.path.join(imago.pictures, part)),
                             env=imago.env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            for part in ("a", "b")]
    for process in both:
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err.decode()
        assert b"SQLITE" not in err and b"database is locked" not in err
    assert imago.status()["items"] == 90
    imago.run("check")


support.main([kills_at_random_moments_lose_nothing,
              kills_between_vector_sync_and_commit_lose_nothing,
              two_adds_at_once_make_the_union])
