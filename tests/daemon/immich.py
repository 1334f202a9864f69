#!/usr/bin/env python3
"""POST /predict and GET /ping, as Immich's server asks its machine-learning server, on an address of their own."""
import json
import os

import serving
from serving import Immich
from support import MODEL, main, png

home = serving.library(6)
NAME = os.path.basename(MODEL)
PICTURE = os.path.join(home.pictures, "d0", "00.png")


server = Immich(home, "--immich-model", f"ViT-B-32__openai={MODEL}")


def visual(name=NAME):
    return json.dumps({"clip": {"visual": {"modelName": name}}})


def textual(name=NAME, **options):
    return json.dumps({"clip": {"textual": {"modelName": name, "options": options}}})


def printed(*args, model=MODEL):
    return [row["embedding"] for row in
            json.loads(home.run("embed", "--json", "--model", model, *args).stdout)["data"]]


def texts_and_pictures_have_the_vectors_of_the_command_line():
    with open(PICTURE, "rb") as file:
        data = file.read()
    want = printed("--text", "a red car", PICTURE)
    for name in (NAME, "ViT-B-32__openai"):
        answer = server.form({"entries": textual(name, language="de"), "text": "a red car"})
        assert answer.status == 200, answer.body
        assert set(answer.json) == {"clip"} and json.loads(answer.json["clip"]) == want[0]
        answer = server.form({"entries": visual(name), "image": data})
        assert answer.status == 200, answer.body
        assert answer.json["imageHeight"] == 18 and answer.json["imageWidth"] == 24
        assert set(answer.json) == {"clip", "imageHeight", "imageWidth"} and json.loads(answer.json["clip"]) == want[1]
    assert json.loads(server.form({"entries": textual(), "text": "\u00fcber"}).json["clip"]) == printed("--text", "\u00fcber")[0]
    assert server.form({"entries": visual(), "image": png(1, 1, 1)}).status == 200


def ping_is_pong():
    answer = server.to_immich("/ping")
    assert answer.status == 200 and answer.body == b"pong" and answer.headers["content-type"].startswith("text/plain")


def what_is_none_has_immichs_statuses():
    text = {"text": "a"}
    for entries in ("", "{", "[]", "5", "{}", '{"clip":{}}', '{"clip":5}', '{"clip":{"visual":{}}}',
                    '{"clip":{"textual":{"modelName":5}}}', '{"clip":{"other":{"modelName":"a"}}}',
                    '{"clip":{"textual":{"modelName":"a","options":5}}}', '{"clip":{"textual":5}}',
                    '{"clip":{"textual":{"modelName":"a"},"visual":{"modelName":"a"}}}'):
        assert server.form({"entries": entries, **text}).problem(422)["field"] == "entries", entries
    server.form(text).problem(422)
    assert server.form({"entries": textual()}).problem(400)["field"] == "text"
    assert server.form({"entries": visual(), "text": "a"}).problem(400)["field"] == "image"
    assert server.form({"entries": textual(), "text": ""}).problem(400)["field"] == "text"
    server.form({"entries": visual(), "image": b"no picture"}).problem(422, "not_a_picture")
    server.form({"entries": visual(), "image": png(1)[:200]}).problem(422)
    problem = server.form({"entries": textual("XLM-Roberta-Base-ViT-B-32__laion5b_s13b_b90k"), **text}).problem(
        404, "model_not_found", (NAME, "ViT-B-32__openai"))
    assert "--immich-model" in problem["hint"]
    for task in ({"facial-recognition": {"detection": {"modelName": "buffalo_l"}, "recognition": {"modelName": "buffalo_l"}}},
                 {"ocr": {"detection": {"modelName": "PP-OCRv5_mobile"}, "recognition": {"modelName": "PP-OCRv5_mobile"}}}):
        server.form({"entries": json.dumps(task), "image": png(1)}).problem(501, None, (next(iter(task)),))
    answer = server.to_immich("/predict", b"{}", **{"Content-Type": "application/json"})
    answer.problem(415)
    server.to_immich("/predict", b"--a\r\n", **{"Content-Type": "multipart/form-data; boundary=a"}).problem(400)


def each_address_has_its_own_routes():
    for path in ("/", "/health", "/metrics", "/openapi.json", "/v1/search?q=red", "/v1/library"):
        assert server.to_immich(path).problem(404)["hint"].startswith("this address is for Immich"), path
    server.to_immich("/v1/search", b"{}", **{"Content-Type": "application/json"}).problem(404)
    for path in ("/ping", "/predict"):
        server.ask(path).problem(404)
    assert "/predict" not in server.ask("/openapi.json").json["paths"]
    assert server.to_immich("/predict").status == 405
    # Immich calls it by a name of its own network, and from another container
    assert server.to_immich("/ping", Host="imago:3003").body == b"pong"
    server.form({"entries": textual(), "text": "a"}, Origin="https://evil.example").problem(403)


def keys_are_not_asked_for():
    own = serving.library(2)
    own.run("key", "add", "--scope", "read")
    daemon = Immich(own)
    daemon.ask("/v1/search?q=red").problem(401)
    assert daemon.to_immich("/ping").body == b"pong"
    assert daemon.form({"entries": textual(), "text": "a"}).status == 200
    daemon.stop()


def other_models_are_opened_beside_the_librarys():
    folder = os.path.join(home.base, "share", "models", "clip-vit-base-patch16")
    other = next(path for path in sorted(serving.sys.modules["support"].SOURCE.glob("tests/golden/encoder/*"))
                 if (path / "config.json").exists() and path.name != NAME)
    os.symlink(other, folder)
    daemon = Immich(home, "--immich-model", f"mine={other}")
    want = printed("--text", "a red car", model=str(other))[0]
    for name in ("mine", "ViT-B-16__openai", "mine"):  # an option, and a name that Immich has for a folder that is there
        answer = daemon.form({"entries": textual(name), "text": "a red car"})
        assert answer.status == 200, answer.body
        assert json.loads(answer.json["clip"]) == want
    daemon.form({"entries": textual("ViT-L-14__openai"), "text": "a"}).problem(404, "model_not_found", ("mine", "ViT-B-16__openai"))
    daemon.stop()
    os.unlink(folder)


def an_address_that_all_reach_is_warned_of():
    process = serving.subprocess.run(["timeout", "-s", "TERM", "2", *home.command("serve", "--listen", "127.0.0.1:0",
                                                                                  "--immich-listen", "0.0.0.0:0")],
                                     env=home.env, capture_output=True, check=False)
    assert b"no private address" in process.stderr, process.stderr
    process = serving.subprocess.run(["timeout", "-s", "TERM", "2", *home.command("serve", "--listen", "127.0.0.1:0",
                                                                                  "--immich-listen", "127.0.0.1:0")],
                                     env=home.env, capture_output=True, check=False)
    assert b"private" not in process.stderr, process.stderr


def options_are_read_before_anything_is_served():
    for args, code, names in ((("--immich-listen", "nowhere"), 2, ("--immich-listen nowhere", "ADDRESS:PORT")),
                              (("--immich-model", f"a={MODEL}"), 2, ("--immich-listen",)),
                              (("--immich-listen", "127.0.0.1:0", "--immich-model", "a"), 2, ("NAME=MODEL",)),
                              (("--immich-listen", "127.0.0.1:0", "--immich-model", "=b"), 2, ("NAME=MODEL",)),
                              (("--immich-listen", "127.0.0.1:0", "--immich-model", "a=nosuch"), 3, ("nosuch",)),
                              (("--immich-listen", f"127.0.0.1:{server.port}"), 4, ("another program",))):
        home.error("serve", "--listen", "127.0.0.1:0", *args, code=code, names=names)


def the_daemon_stops_well():
    server.stop()
    home.sound()


main([texts_and_pictures_have_the_vectors_of_the_command_line, ping_is_pong, what_is_none_has_immichs_statuses,
      each_address_has_its_own_routes, keys_are_not_asked_for, other_models_are_opened_beside_the_librarys,
      an_address_that_all_reach_is_warned_of, options_are_read_before_anything_is_served, the_daemon_stops_well])
