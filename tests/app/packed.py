#!/usr/bin/env python3
"""Packed weights as the program uses them: made by `add`, mapped by the others, and never in the way
when the file or its folder is not as it should be."""
import json
import os
import resource
import subprocess

import support
from support import Imago, MODEL


def start():
    imago = Imago()
    imago.picture("a.png", 1)
    imago.picture("b.png", 2)
    return imago, os.path.join(imago.env["XDG_CACHE_HOME"], "imago/packed")


def files(folder):
    return sorted(name for name in os.listdir(folder) if name != ".lock")


def warnings(imago, **kw):
    answer = json.loads(imago.run("search", "--json", "red", **kw).stdout)
    return [(hit["path"], hit["score"]) for hit in answer["hits"]], answer["warnings"]


def add_makes_it_and_the_others_map_it():
    imago, folder = start()
    imago.add()
    name, = files(folder)
    hits, said = warnings(imago)
    assert len(hits) == 2 and not said, said
    os.remove(os.path.join(folder, name))  # a search makes none, and says nothing of one
    assert warnings(imago) == (hits, [])
    assert files(folder) == []
    imago.run("search", "red", env={"XDG_CACHE_HOME": "relative", "HOME": ""})


def damage_is_told_and_mended():
    imago, folder = start()
    imago.add()
    name, = files(folder)
    path = os.path.join(folder, name)
    hits, _ = warnings(imago)
    with open(path, "rb") as file:
        whole = file.read()
    for spoilt in (b"", whole[:100], whole[:-1], whole + b"x", whole.replace(b"IMPACKED", b"IMPACKET"),
                   bytes(len(whole))):
        with open(path, "wb") as file:
            file.write(spoilt)
        same, said = warnings(imago)
        assert same == hits and len(said) == 1 and name in said[0] and "in memory" in said[0], said
        imago.picture("new.png", len(spoilt) + 5)
        imago.add()
        os.remove(os.path.join(imago.pictures, "new.png"))
        with open(path, "rb") as file:
            assert file.read() == whole, "not made anew"
        hits, said = warnings(imago)
        assert said == []


def a_folder_that_takes_nothing_costs_a_warning():
    imago, _ = start()
    wall = os.path.join(imago.base, "wall")
    with open(wall, "w", encoding="utf-8"):
        pass
    env = {"XDG_CACHE_HOME": wall}
    done = imago.run("add", "--yes", "--model", MODEL, imago.pictures, env=env)
    assert b"packed in memory" in done.stderr, done.stderr
    assert len(imago.hits(env=env)) == 2
    full = {"IMAGO_FAULT": "write:0:28"}  # ENOSPC at the first write of the file
    done = subprocess.run([support.PROGRAM, "model", "warm", "--library", imago.library, "--json"],
                          env=dict(imago.env, **full), capture_output=True, check=False)
    assert done.returncode != 0 and b"No space left" in done.stderr, done.stderr


def a_file_size_limit_is_a_full_disk():
    imago, folder = start()
    done = imago.run("add", "--yes", "--model", MODEL, imago.pictures)
    name, = files(folder)
    os.remove(os.path.join(folder, name))

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))
    done = subprocess.run([support.PROGRAM, "model", "warm", "--library", imago.library], env=imago.env,
                          capture_output=True, preexec_fn=limit, restore_signals=False, check=False)
    assert done.returncode not in (0, -25) and b"File too large" in done.stderr, (done.returncode, done.stderr)
    assert files(folder) == []


def programs_at_once_make_one():
    imago, folder = start()
    imago.add()
    for spoil in (False, True):
        name, = files(folder)
        if spoil:
            os.truncate(os.path.join(folder, name), 5000)
        else:
            os.remove(os.path.join(folder, name))
        running = [subprocess.Popen([support.PROGRAM, "model", "warm", "--library", imago.library, "--json"],
                                    env=imago.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
                   for _ in range(6)]
        told = []
        for process in running:
            out, err = process.communicate(timeout=60)
            assert process.returncode == 0, err
            told.append(json.loads(out))
        assert all(os.path.basename(t["file"]) == name and t["bytes"] > 0 for t in told)
        assert files(folder) == [name]
        assert sum(t["made"] for t in told) >= 1
        assert warnings(imago)[1] == []


def each_kernel_set_answers_alike_from_a_file_of_its_own():
    imago, folder = start()
    imago.add()
    expected, _ = warnings(imago)
    ran = 0
    for kernel in ("avx512_bf16", "avx512_vnni", "avx512", "avx2", "portable"):
        env = {"IMAGO_KERNEL": kernel}
        done = imago.run("model", "warm", "--json", env=env, code=None)
        if done.returncode != 0:
            assert b"cannot run" in done.stderr and done.returncode == 7, done
            continue
        ran += 1
        assert f"-{kernel}-fp32" in json.loads(done.stdout)["file"]
        hits, said = warnings(imago, env=env)
        assert [p for p, _ in hits] == [p for p, _ in expected] and said == []
        assert all(abs(a - b) < 1e-4 for (_, a), (_, b) in zip(hits, expected))
    assert ran >= 1 and len(files(folder)) == ran
    error = imago.error("search", "red", code=2, env={"IMAGO_KERNEL": "abacus"}, names=["abacus"])
    assert "IMAGO_KERNEL" in error["hint"]


def add_tells_what_set_the_pace():
    imago, _ = start()
    done, _ = imago.add()
    assert [s["name"] for s in done["stages"]] == ["prepare", "scan", "read", "hash", "decode",
                                                   "encode", "write"]
    assert all(0 <= s["busy_share"] <= 1.5 and s["threads"] >= 1 for s in done["stages"])
    assert done["pace"] in {"scan", "read", "hash", "decode", "encode", "write"}
    imago.picture("c.png", 3)
    out = imago.run("add", "--profile", "--yes", imago.pictures).stdout.decode()
    assert out.count("sets the pace") == 1 and "decode" in out, out


def threads_that_cannot_be_are_refused():
    imago, _ = start()
    imago.add()
    expected, _ = warnings(imago)
    for n in ("0", "10000", "1025", "-1", "two", "", "18446744073709551617"):
        error = imago.error("search", "red", "--threads", n, code=2, names=["--threads", n])
        assert "1 to 1024" in error["message"] + error.get("hint", ""), error
    answer = json.loads(imago.run("search", "--json", "red", "--threads", "1024").stdout)
    assert [(h["path"], h["score"]) for h in answer["hits"]] == expected
    answer = json.loads(imago.run("search", "--json", "red", "--threads", "1").stdout)
    assert [(h["path"], h["score"]) for h in answer["hits"]] == expected


support.main([add_makes_it_and_the_others_map_it, damage_is_told_and_mended,
              a_folder_that_takes_nothing_costs_a_warning, a_file_size_limit_is_a_full_disk,
              programs_at_once_make_one,
              each_kernel_set_answers_alike_from_a_file_of_its_own, add_tells_what_set_the_pace,
              threads_that_cannot_be_are_refused])
