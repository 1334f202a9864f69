#!/usr/bin/env python3
"""Codes of the index as a library grows, is damaged and is made anew: the engines give one answer."""
import glob
import json
import os

import support
from support import Imago


def search(imago, *options):
    answer = json.loads(imago.run("search", "--json", "-k", "50", *options, "red").stdout)
    return answer, [(hit["id"], hit["score"]) for hit in answer["hits"]]


def codes_are_made_when_they_are_worth_it():
    imago = Imago()
    for i in range(100):
        imago.picture(f"{i}.png", i)
    imago.add()
    assert search(imago)[0]["engine"] == "scan" and imago.status()["coded_rows"] == 0
    for i in range(100, 4200):
        imago.picture(f"{i // 1000}/{i}.png", i)
    imago.add()
    status = imago.status()
    assert status["engine"] == "tiered" and status["coded_rows"] == status["index_rows"] == 4200, status
    truth, hits = search(imago, "--engine", "scan")
    assert truth["engine"] == "scan" and len(hits) == 50
    for options in [(), ("--exact",), ("--fast",), ("--engine", "tiered")]:
        answer, same = search(imago, *options)
        assert answer["engine"] == "tiered" and same == hits, (options, answer["engine"])
        assert answer["exact"] and answer["filtered"] == answer["total"] == 4200, answer
    imago.run("search", "--exact", "--fast", "red", code=2)
    # a removed picture is no hit of the codes either
    imago.run("remove", f"id:{hits[0][0]}")
    assert search(imago)[1][:49] == hits[1:]
    # damaged codes: told, as right as ever, made anew by rebuild
    for path in glob.glob(os.path.join(imago.library, "index", "*", "codes.*.i8")):
        with open(path, "r+b") as file:
            file.seek(os.path.getsize(path) // 2)
            file.write(b"\xff" * 100)
    found = imago.run("check", "--json", code=5)
    assert json.loads(found.stdout)["index_findings"] == 1, found.stdout
    answer, same = search(imago)
    assert answer["engine"] == "scan" and same[:49] == hits[1:], answer["engine"]
    assert any("codes" in warning for warning in answer["warnings"]), answer["warnings"]
    imago.run("rebuild")
    answer, same = search(imago)
    assert answer["engine"] == "tiered" and same[:49] == hits[1:] and not answer["warnings"], answer
    imago.run("check")


support.main([codes_are_made_when_they_are_worth_it])
