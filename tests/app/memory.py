#!/usr/bin/env python3
"""`--memory`: what is held stays below it (T91), what cannot fit is refused before any work."""
import json
import os
import struct
import subprocess
import time
import zlib

import support
from support import Imago, SANITIZED, Skipped

MIB = 1 << 20


ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2),
         (0, 1, 1, 2))  # first column and row of each pass, and the steps from there


def large_png(path, seed, width, height, interlaced):
    """Rows of one colour each: quick to make and small. An interlaced one is held whole while it is
    decoded; the rows of another are forgotten as they come."""
    passes = ADAM7 if interlaced else ((0, 0, 1, 1),)
    rows = b"".join(b"\0" + bytes(((seed * 7 + y) % 256, y % 256, seed % 256)) *
                    ((width - x0 + dx - 1) // dx)
                    for x0, y0, dx, dy in passes for y in range(y0, height, dy))

    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, interlaced)
    with open(path, "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) +
                   chunk(b"IDAT", zlib.compress(rows, 1)) + chunk(b"IEND", b""))


def high_water(command, env):
    """Most RssAnon seen, asking every few milliseconds; exit code, output."""
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    most = 0
    while process.poll() is None:
        try:
            with open(f"/proc/{process.pid}/status") as status:
                for line in status:
                    if line.startswith("RssAnon:"):
                        most = max(most, int(line.split()[1]) * 1024)
        except (FileNotFoundError, ProcessLookupError):
            pass
        time.sleep(0.002)
    out, err = process.communicate()
    return most, process.returncode, out, err


def filled(interlaced):
    imago = Imago()
    for i in range(8):
        large_png(os.path.join(imago.pictures, f"large{i}.png"), i, 4000, 3000, interlaced)
    for i in range(40):
        imago.picture(f"small{i}.png", i)
    return imago


def add(imago, *options):
    most, code, out, err = high_water(
        imago.command("add", "--json", "--yes", "--model", support.MODEL, "--decoders", "8", *options,
                      imago.pictures), imago.env)
    assert code == 0, err
    done = [json.loads(line) for line in out.splitlines() if b'"done"' in line][-1]
    assert done["added"] == 48 and done["failed"] == 0, done
    return most, done


def add_stays_below_its_memory():
    if SANITIZED:
        raise Skipped("sanitizers hold memory of their own")
    imago = filled(True)
    free, done = add(imago)
    imago.library += "-bound"
    bound, told = add(imago, "--memory", "200M")
    print(f"without a budget {free / MIB:.0f} MiB, with 200 MiB {bound / MIB:.0f} MiB, "
          f"told {told['memory']['private_bytes'] / MIB:.0f} MiB")
    assert free > 200 * MIB, "the pictures are too small to test anything"
    assert bound < 200 * MIB, bound
    assert told["memory"]["budget_bytes"] == 200 * MIB, told
    assert bound * 0.6 < told["memory"]["private_bytes"] < 200 * MIB, told
    assert done["memory"]["private_bytes"] > 200 * MIB, done
    imago.sound()
    assert len(imago.hits()) == 48


def rows_that_flow_take_next_to_nothing():
    """Eight pictures of 36 MB at a time, without any budget: what the model takes, and not one of them."""
    if SANITIZED:
        raise Skipped("sanitizers hold memory of their own")
    most, done = add(filled(False))
    print(f"{most / MIB:.0f} MiB, told {done['memory']['private_bytes'] / MIB:.0f} MiB")
    assert most < 36 * MIB, most


def what_cannot_fit_is_refused_before_work():
    imago = Imago()
    imago.picture("a.png", 1)
    error = imago.error("add", "--model", support.MODEL, "--memory", "60M", imago.pictures, code=9,
                        names=["model", "takes", "may be used"])
    assert error["code"] == "memory_budget" and "--memory" in error["hint"], error
    assert imago.status()["items"] == 0
    error = imago.error("add", "--model", support.MODEL, "--memory", "1M", imago.pictures, code=9)
    assert error["code"] == "memory_budget" and "model" in error["message"], error
    imago.add("--memory", "150M", imago.pictures)
    assert len(imago.hits()) == 1
    assert imago.error("search", "--memory", "1M", "red", code=9)["code"] == "memory_budget"
    imago.run("search", "--memory", "64M", "red")
    status = json.loads(imago.run("status", "--json", "--memory", "300M").stdout)["memory"]
    assert status["budget_bytes"] == 300 * MIB and status["budget_of"] == "--memory", status
    assert 0 < status["private_bytes"] < 300 * MIB and status["mapped_bytes"] > 0, status


def a_picture_beyond_all_memory_fails_alone():
    imago = Imago()
    imago.picture("small.png", 1)
    large_png(os.path.join(imago.pictures, "huge.png"), 1, 12000, 9000, True)  # 324 MB
    large_png(os.path.join(imago.pictures, "flows.png"), 2, 12000, 9000, False)
    done, lines = imago.add("--memory", "200M", imago.pictures, code=14)
    assert done["added"] == 2 and done["failed"] == 1, done
    failed = [line for line in lines if line["event"] == "failed"]
    assert "huge.png" in failed[0]["path"], failed
    assert failed[0]["error"]["code"] == "picture_memory", failed
    assert "--memory" in failed[0]["error"]["hint"], failed
    imago.add("--retry-failed", imago.pictures)
    assert len(imago.hits()) == 3


def memory_group():
    """A cgroup of 256 MiB below our own, v2 or v1: what holds for us holds for it too."""
    with open("/proc/self/cgroup") as file:
        groups = [line.strip().split(":", 2)[1:] for line in file]
    for controllers, group in groups:
        if controllers == "":
            root, limit = "/sys/fs/cgroup", "memory.max"
        elif "memory" in controllers.split(","):
            root, limit = "/sys/fs/cgroup/memory", "memory.limit_in_bytes"
        else:
            continue
        path = os.path.join(root, group.strip("/"), f"imago-test-{os.getpid()}")
        try:
            os.mkdir(path)
        except OSError:
            continue
        try:
            if os.path.exists(os.path.join(path, limit)):  # made by the kernel
                with open(os.path.join(path, limit), "w") as file:
                    file.write(str(256 * MIB))
                return path
        except OSError:
            pass
        os.rmdir(path)
    raise Skipped("needs the right to make a cgroup of the memory controller")


def the_cgroup_is_the_default():
    if SANITIZED:
        raise Skipped("sanitizers hold memory of their own")
    group = memory_group()
    try:
        imago = filled(True)
        enter = f"echo $$ > {group}/cgroup.procs && exec \"$@\""
        done, _ = imago.add(imago.pictures, under=["sh", "-c", enter, "sh"])
        assert done["memory"]["budget_bytes"] == 256 * MIB // 5 * 3, done
        assert done["added"] == 48, done
    finally:
        os.rmdir(group)


support.main([add_stays_below_its_memory,
              rows_that_flow_take_next_to_nothing,
              what_cannot_fit_is_refused_before_work,
              a_picture_beyond_all_memory_fails_alone,
              the_cgroup_is_the_default])
