#!/usr/bin/env python3
"""Precisions through the commands: what auto chooses and why, int8 as a class of its own that no
command mixes with the other, and models whose outliers speak against bf16 or int8."""
import json
import os
import shutil
import struct

import support
from support import Imago, MODEL


def with_calibration(n=6):
    """A library with calibration pictures, so that precisions are measured."""
    imago = Imago()
    folder = os.path.join(imago.env["IMAGO_DATA"], "calibration")
    os.makedirs(folder)
    for i in range(n):
        with open(os.path.join(folder, f"{i}.png"), "wb") as file:
            file.write(support.png(100 + i))
    with open(os.path.join(folder, "texts.txt"), "w") as file:
        file.write("red\na photo of a car\ntwo dogs\n")
    for i in range(4):
        imago.picture(f"{i}.png", i)
    return imago


class Outliers:
    """A copy of the tiny model: the same function in fp32, with channels of `size` before products.
    What is added to the bias of a layer norm is taken back in the bias of the product behind it."""

    CHANNELS = 4
    BEHIND = {1: ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"), 2: ("mlp.fc1",)}

    def __init__(self, imago, size):
        self.folder = os.path.join(imago.base, f"outliers-{size}")
        shutil.copytree(MODEL, self.folder)
        path = os.path.join(self.folder, "model.safetensors")
        with open(path, "rb") as file:
            self.content = bytearray(file.read())
        length = struct.unpack("<Q", self.content[:8])[0]
        self.header = json.loads(self.content[8:8 + length])
        self.data = 8 + length
        layers = {name.split(".layer_norm1")[0] for name in self.header if ".layer_norm1." in name}
        for layer in sorted(layers):
            for norm, products in self.BEHIND.items():
                self.change(f"{layer}.layer_norm{norm}.bias", lambda i, x: x + size * (i < self.CHANNELS))
                for product in products:
                    weights = self.values(f"{layer}.{product}.weight")
                    width = self.header[f"{layer}.{product}.weight"]["shape"][1]
                    self.change(f"{layer}.{product}.bias", lambda i, x: x - size * sum(
                        weights[i * width:i * width + self.CHANNELS]))
        with open(path, "wb") as file:
            file.write(self.content)

    def place(self, name):
        begin, end = self.header[name]["data_offsets"]
        return self.data + begin, (end - begin) // 4

    def values(self, name):
        at, n = self.place(name)
        return struct.unpack_from(f"<{n}f", self.content, at)

    def change(self, name, make):
        at, n = self.place(name)
        new = [make(i, x) for i, x in enumerate(self.values(name))]
        struct.pack_into(f"<{n}f", self.content, at, *new)


def facts(imago, *args):
    return json.loads(imago.run("model", "info", "--json", *args).stdout)


def auto_takes_what_was_measured_to_be_good_and_faster():
    imago = with_calibration()
    imago.add()
    info = facts(imago)
    assert info["bf16_cosine"] > 0.9995 and info["bf16_speed"] > 0, info
    assert info["precision"] == ("bf16" if info["bf16_speed"] >= 1.05 else "fp32"), info
    assert info["int8_cosine"] is None and info["int8_speed"] is None, info


def outliers_make_auto_fall_back_and_int8_refuse():
    for size, sound in ((0, True), (400, False), (65504, False)):
        imago = with_calibration()
        model = Outliers(imago, size)
        imago.run("add", "--yes", "--model", model.folder, imago.pictures)
        info = facts(imago)
        assert (info["bf16_cosine"] >= 0.9995) == sound, (size, info)
        if not sound:
            assert info["precision"] == "fp32" and "loses" in info["precision_why"], info
        int8 = with_calibration()
        args = ("add", "--yes", "--precision", "int8", "--model", model.folder, int8.pictures)
        if sound:
            int8.run(*args)
            assert facts(int8)["int8_cosine"] > 0.999
            continue
        error = int8.error(*args, code=7, names=["int8", "cosine"])
        assert "bf16" in error["hint"], error
        status = int8.status()
        assert status["embeddings"] == 0 and status["model"] is None, status
        int8.run("add", "--yes", "--model", model.folder, int8.pictures)
        assert int8.status()["embeddings"] == 4


def nothing_mixes_the_classes():
    imago = with_calibration()
    imago.add()
    before = imago.hits()
    printed = [json.loads(imago.run("embed", "--json", *model, "--precision", "int8", "--text", "red").stdout)["data"]
               for model in ((), ("--model", MODEL))]
    assert printed[0] == printed[1]  # they stay with whoever asked: the library's class does not bind them
    new = imago.picture("new.png", 50)
    for command in (["search", "red"], ["similar", new], ["add", "--yes", new]):
        error = imago.error(*command, "--precision", "int8", code=4, names=["int8", "bf16"])
        assert "imago rebuild --precision int8" in error["hint"], error
        for same in ("fp32", "bf16"):
            imago.run(*command, "--precision", same)
    imago.run("rebuild", "--precision", "int8")
    status = imago.status()
    assert status["model"]["precision"] == "int8" and status["model"]["int8_cosine"] > 0.999, status
    assert status["embeddings"] == 5 and status["unembedded"] == 0, status
    imago.sound()
    digest = status["model"]["digest"]
    assert digest == facts(imago)["digest"]  # of the files, whatever the class
    imago.run("search", "red", "--precision", "int8")
    for other in ("fp32", "bf16"):
        imago.error("search", "red", "--precision", other, code=4, names=["int8", other])
    hits = imago.hits()
    assert all(abs(hits[path][1] - before[path][1]) < 0.5 for path in before), (hits, before)
    third = imago.picture("third.png", 51)
    imago.run("add", "--yes", third)
    assert imago.hits()[third][0]
    imago.sound()
    imago.run("rebuild")  # stays what it is
    assert imago.status()["model"]["precision"] == "int8"
    out = os.path.join(imago.base, "export")
    imago.run("export", out)
    with open(os.path.join(out, "model.json")) as file:
        told = json.load(file)
    assert told["precision"] == "int8" and told["digest"] == digest, told
    other = with_calibration()
    other.error("import", "--model", MODEL, out, code=4, names=["int8", "fp32"])
    other.run("import", "--model", MODEL, "--precision", "int8", out)
    assert other.status()["model"]["precision"] == "int8"
    imago.run("rebuild", "--precision", "fp32")
    back = imago.hits()
    # the same rows again; speeds were measured twice, so that queries may now be the other's
    assert all(back[path][0] == before[path][0] for path in before) and third in back
    assert all(abs(back[path][1] - before[path][1]) < 3e-2 for path in before), (before, back)
    imago.sound()


def vectors_of_a_class_that_were_lost_are_made_anew():
    imago = with_calibration()
    imago.add()
    before = imago.hits()
    imago.run("rebuild", "--precision", "int8")
    imago.run("add", "--yes", imago.picture("new.png", 50))
    shutil.rmtree(os.path.join(imago.library, "index"))  # of both classes; only one has all rows
    imago.run("rebuild", "--precision", "fp32")
    back = imago.hits()
    assert len(back) == 5 and all(abs(back[path][1] - before[path][1]) < 3e-2 for path in before), (before, back)
    imago.sound()


def another_model_keeps_the_class():
    imago = with_calibration()
    imago.run("add", "--yes", "--precision", "int8", "--model", MODEL, imago.pictures)
    first = imago.status()["model"]
    other = Outliers(imago, 1).folder
    imago.run("model", "use", other)
    status = imago.status()
    assert status["model"]["precision"] == "int8" and status["model"]["int8_cosine"] > 0.99, status
    assert status["model"]["digest"] != first["digest"] and status["embeddings"] == 4, status
    assert len(imago.hits()) == 4
    imago.sound()
    error = imago.error("model", "use", Outliers(imago, 400).folder, code=7, names=["int8", "cosine"])
    assert "--precision bf16" in error["hint"], error
    assert imago.status()["model"]["digest"] == status["model"]["digest"]
    imago.run("model", "use", "--precision", "fp32", MODEL)
    status = imago.status()
    assert status["model"]["precision"] in ("fp32", "bf16"), status
    assert status["model"]["digest"] == first["digest"] and status["embeddings"] == 4, status
    imago.sound()


def every_command_takes_int8():
    imago = with_calibration()
    done = imago.run("embed", "--json", "--model", MODEL, "--precision", "int8", "--text", "red")
    int8 = json.loads(done.stdout)["data"][0]["embedding"]
    fp32 = json.loads(imago.run("embed", "--json", "--model", MODEL, "--precision", "fp32", "--text",
                                "red").stdout)["data"][0]["embedding"]
    cosine = sum(a * b for a, b in zip(int8, fp32))
    assert int8 != fp32 and cosine > 0.999, cosine
    imago.run("add", "--yes", "--precision", "int8", "--model", MODEL, imago.pictures)
    warm = json.loads(imago.run("model", "warm", "--json").stdout)
    assert warm["precision"] == "int8" and warm["file"].endswith("-int8"), warm
    info = facts(imago)
    assert info["precision"] == "int8" and info["packed_weights"] == warm["file"], info
    assert info["int8_cosine"] > 0.999 and info["bf16_cosine"] > 0.9995, info
    error = imago.error("rebuild", "--precision", "int4", code=2, names=["int4"])
    assert "int8" in error["message"] + error.get("hint", ""), error


support.main([auto_takes_what_was_measured_to_be_good_and_faster,
              outliers_make_auto_fall_back_and_int8_refuse, nothing_mixes_the_classes,
              vectors_of_a_class_that_were_lost_are_made_anew, another_model_keeps_the_class, every_command_takes_int8])
