#!/usr/bin/env python3
"""POST /v1/embeddings and GET /v1/models: the vectors of `imago embed`, in the forms that clients send."""
import base64
import json
import os
import struct

import serving
from serving import Server
from support import MODEL, Skipped, main

home = serving.library(6)
server = Server(home)
NAME = os.path.basename(MODEL)
PICTURE = os.path.join(home.pictures, "d0", "00.png")
with open(PICTURE, "rb") as file:
    DATA = "data:image/png;base64," + base64.b64encode(file.read()).decode()


def embed(**body):
    return server.ask("/v1/embeddings", body)


def printed(*args):
    return [row["embedding"] for row in
            json.loads(home.run("embed", "--json", "--model", MODEL, *args).stdout)["data"]]


def vectors_are_those_of_the_command_line():
    texts = ["a red car", "", "x " * 200, "\u00fcber"]
    want = printed("--text", texts[0], "--text", texts[3], PICTURE)
    answer = embed(model=NAME, input=[texts[0], texts[3], DATA])
    assert answer.status == 200, answer.body
    got = answer.json
    assert got["object"] == "list" and got["model"] == NAME
    assert [row["index"] for row in got["data"]] == [0, 1, 2]
    assert [row["embedding"] for row in got["data"]] == want
    one = embed(input=texts[0]).json
    assert one["data"][0]["embedding"] == want[0]
    assert one["usage"]["prompt_tokens"] == one["usage"]["total_tokens"] > 2
    long = embed(input=texts[2]).json
    assert long["usage"]["prompt_tokens"] > one["usage"]["prompt_tokens"]
    embed(input=["fine", texts[1]]).problem(400, "query_empty", ("input[1]",))


def base64_holds_the_same_floats():
    rows = embed(input=["red", "blue"]).json["data"]
    packed = embed(input=["red", "blue"], encoding_format="base64").json["data"]
    for row, text in zip(rows, packed):
        data = base64.b64decode(text["embedding"], validate=True)
        floats = struct.unpack(f"<{len(data) // 4}f", data)
        back = struct.unpack(f"<{len(data) // 4}f", struct.pack(f"<{len(floats)}f", *row["embedding"]))
        assert floats == back


def pictures_come_in_every_form():
    want = printed(PICTURE)[0]
    for body in ({"input": DATA}, {"input": [DATA]}, {"input": {"image": DATA}}, {"input": [{"image": DATA}]},
                 {"input": [DATA], "modality": "image"}):
        assert embed(**body).json["data"][0]["embedding"] == want, list(body)
    both = embed(input=[{"text": "red"}, {"image": DATA}]).json["data"]
    assert both[1]["embedding"] == want and both[0]["embedding"] == embed(input="red").json["data"][0]["embedding"]
    assert embed(input="data: a text that begins so").status == 200
    bare = DATA.split(",")[1]
    assert embed(input={"image": bare}).json["data"][0]["embedding"] == want
    url = {"type": "image_url", "image_url": {"url": DATA, "detail": "low"}}
    for content in ([url], [url, {"type": "text", "text": ""}]):
        answer = embed(messages=[{"role": "user", "content": content}], model=NAME, encoding_format="float").json
        assert [row["embedding"] for row in answer["data"]] == [want] and answer["usage"]["total_tokens"] == 0
    for content in ("red", [{"type": "text", "text": "red"}], ["red"]):
        answer = embed(messages=[{"role": "user", "content": content}]).json
        assert answer["data"][0]["embedding"] == both[0]["embedding"] and answer["usage"]["total_tokens"] > 2


def what_is_none_is_refused_by_its_place():
    for body, name in (({}, "input"), ({"input": []}, "input"), ({"input": 5}, "input[0]"),
                       ({"input": [1, 2, 3]}, "token ids"), ({"input": [[1, 2]]}, "token ids"),
                       ({"input": [{"text": 5}]}, "input[0]"), ({"input": [{"video": "x"}]}, "input[0]"),
                       ({"input": "a", "dimensions": 7}, "dimensions"), ({"input": "a", "x": 1}, "'x'"),
                       ({"input": "a", "encoding_format": "int8"}, "encoding_format"),
                       ({"input": "a", "modality": "audio"}, "modality"), ({"input": "a", "model": 5}, "model"),
                       ({"input": "http://evil/a.png", "modality": "image"}, "data URI"),
                       ({"input": "data:image/png,abc"}, "data URI"), ({"input": "data:image/png;base64,!"}, "base64"),
                       ({"input": "data:text/plain;base64,AAAA", "modality": "image"}, "data URI"),
                       ({"input": None}, "input[0]"), ({"messages": []}, "messages"), ({"messages": 5}, "messages"),
                       ({"messages": [5]}, "messages[0].content[0]"), ({"input": "a", "messages": []}, "messages"),
                       ({"messages": [{"content": "a"}, {"content": "b"}]}, "more than one"),
                       ({"messages": [{"content": [{"type": "video_url"}]}]}, "messages[0].content[0]"),
                       ({"messages": [{"content": [{"type": "image_url", "image_url": {"url": "http://a/b.png"}}]}]},
                        "data URI"), ({"messages": [{"content": ""}]}, "no text")):
        embed(**body).problem(400, None, (name,))
    assert embed(input=["a", 5]).json["field"] == "input[1]" and embed(input="a", x=1).json["field"] == "x"
    assert embed(input=["a", ""]).json["field"] == "input[1]"
    embed(input="a", model="gpt-4").problem(404, "model_not_found", (NAME,))
    embed(input="data:image/png;base64,AAAA").problem(422, None, ("input[0]",))
    embed(input=["a"] * 2049).problem(413)
    for body in (b"{", b"[]", b'{"input":"a","input":"b"}', b'{"input":"\\u0000"}'):
        server.ask("/v1/embeddings", body).problem(400)
    assert len(embed(input=["a"] * 2048, dimensions=24).json["data"]) == 2048


def models_are_listed():
    models = server.ask("/v1/models").json
    assert models["object"] == "list" and models["data"][0]["id"] == NAME, models


def bits(floats):
    """As float32, which is what the model gives."""
    return struct.pack(f"<{len(floats)}f", *floats)


def the_client_of_openai_is_content():
    try:
        import openai
    except ImportError as error:
        raise Skipped("needs the Python package openai (IMAGO_TEST_PYTHONPATH names its folder)") from error
    client = openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0)
    assert client.models.list().data[0].id == NAME
    want = printed("--text", "a red car", PICTURE)
    for kw in ({}, {"encoding_format": "float"}):
        answer = client.embeddings.create(model=NAME, input=["a red car", DATA], **kw)
        assert len(answer.data) == len(want) and answer.usage.total_tokens > 0
        for row, floats in zip(answer.data, want):
            assert bits(row.embedding) == bits(floats)
    extra = client.embeddings.create(model=NAME, input=[DATA], extra_body={"modality": "image"})
    assert bits(extra.data[0].embedding) == bits(want[1])
    jina = client.embeddings.create(model=NAME, input="", extra_body={"input": [{"image": DATA}, {"text": "a red car"}]})
    assert [bits(row.embedding) for row in jina.data] == [bits(want[1]), bits(want[0])]
    vllm = client.post("/embeddings", cast_to=openai.types.CreateEmbeddingResponse, body={
        "model": NAME, "encoding_format": "float", "messages": [
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": DATA}}]}]})
    assert bits(vllm.data[0].embedding) == bits(want[1])
    for kind, kw in ((openai.NotFoundError, {"model": "gpt-4", "input": "a"}),
                     (openai.BadRequestError, {"model": NAME, "input": [1, 2]})):
        try:
            client.embeddings.create(**kw)
        except kind:
            continue
        raise AssertionError(kind)


def the_daemon_stops_well():
    server.stop()


serving.sys.path.append(os.environ.get("IMAGO_TEST_PYTHONPATH", ""))
main([vectors_are_those_of_the_command_line, base64_holds_the_same_floats, pictures_come_in_every_form,
      what_is_none_is_refused_by_its_place, models_are_listed, the_client_of_openai_is_content,
      the_daemon_stops_well])
