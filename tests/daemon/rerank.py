#!/usr/bin/env python3
"""POST /v1/rerank: documents in the order of a query, as Cohere's and Jina's clients ask for it."""
import base64
import json
import math
import os
import random

import serving
from serving import Server
from support import MODEL, SOURCE, Skipped, main

home = serving.library(6)
server = Server(home)
NAME = os.path.basename(MODEL)
FILES = [os.path.join(home.pictures, f"d{i % 3}", f"{i:02}.png") for i in range(6)]
TEXTS = ["a red car", "a dog on the beach", "two cups of tea", "night over a city", "a red car", "snow"]


def picture(path):
    with open(path, "rb") as file:
        return "data:image/png;base64," + base64.b64encode(file.read()).decode()


def rerank(path="/v1/rerank", on=None, **body):
    return (on or server).ask(path, body)


def vectors(*args, run=None):
    return [row["embedding"] for row in
            json.loads((run or home).run("embed", "--json", "--no-daemon", *args).stdout)["data"]]


def dot(a, b):
    return sum(x * y for x, y in zip(a, b))


def relevance(score):
    return 0.5 * math.erfc(-score / math.sqrt(2))


def check(answer, want, tolerance=1e-4):
    """Scores as computed here; best first, equal ones in their order; each index once."""
    assert answer.status == 200, answer.body
    results = answer.json["results"]
    assert sorted(row["index"] for row in results) == list(range(len(want)))
    for row in results:
        assert math.isclose(row["relevance_score"], want[row["index"]], rel_tol=tolerance), (row, want)
    keys = [(-row["relevance_score"], row["index"]) for row in results]
    assert keys == sorted(keys), results
    return results


def texts_are_ordered_by_their_cosines():
    rows = vectors(*[arg for text in ["an automobile", *TEXTS] for arg in ("--text", text)])
    want = [relevance(dot(rows[0], row)) for row in rows[1:]]  # no background here: the cosine itself
    answer = rerank(model=NAME, query="an automobile", documents=TEXTS)
    results = check(answer, want)
    at = {row["index"]: place for place, row in enumerate(results)}
    assert at[4] == at[0] + 1, results  # equal documents, one behind the other as they came
    assert answer.json["model"] == NAME and answer.json["usage"]["total_tokens"] > 7 * 2 and answer.json["id"]
    assert all(set(row) == {"index", "relevance_score"} for row in results)
    objects = rerank(query={"text": "an automobile"}, documents=[{"text": text} for text in TEXTS]).json
    assert objects["results"] == results


def pictures_are_documents_and_queries():
    rows = vectors("--text", "a red car", *FILES)
    check(rerank(query="a red car", documents=[{"image": picture(path)} for path in FILES]),
          [relevance(dot(rows[0], row)) for row in rows[1:]])
    results = check(rerank(query={"image": picture(FILES[2])}, documents=[picture(path) for path in FILES]),
                    [relevance(dot(rows[3], row)) for row in rows[1:]])
    assert results[0]["index"] == 2
    mixed = rerank(query=picture(FILES[2]), documents=["snow", {"image": picture(FILES[2])}]).json["results"]
    assert mixed[0]["index"] == 1


def the_best_alone_and_with_their_documents():
    documents = ["snow", {"text": "a red car"}, picture(FILES[0]), {"image": picture(FILES[1])}]
    whole = rerank(query="a car", documents=documents, return_documents=True).json["results"]
    for row in whole:
        sent = documents[row["index"]]
        key = "text" if row["index"] < 2 else "image"
        assert row["document"] == {key: sent if isinstance(sent, str) else sent[key]}
    for n in (1, 2, 4, 4000):
        assert rerank(query="a car", documents=documents, return_documents=True, top_n=n).json["results"] == whole[:n]
    assert rerank(query="a car", documents=documents, top_n=None, return_documents=None).status == 200


def the_order_of_documents_does_not_change_scores():
    rng = random.Random(3)
    documents = [f"thing number {i}" for i in range(60)]
    first = {documents[row["index"]]: row["relevance_score"]
             for row in rerank(query="thing", documents=documents).json["results"]}
    rng.shuffle(documents)
    for row in rerank(query="thing", documents=documents).json["results"]:
        assert row["relevance_score"] == first[documents[row["index"]]]
    assert len(rerank(query="thing", documents=["a"] * 1000).json["results"]) == 1000


def what_is_none_is_refused_by_its_place():
    good = {"query": "a", "documents": ["b"]}
    for body, field in (({}, "documents"), ({"query": "a"}, "documents"), ({"documents": ["a"]}, "query"),
                        ({**good, "documents": []}, "documents"), ({**good, "documents": "a"}, "documents"),
                        ({**good, "documents": ["a", 5]}, "documents[1]"), ({**good, "query": 5}, "query"),
                        ({**good, "documents": ["a", ""]}, "documents[1]"), ({**good, "query": ""}, "query"),
                        ({**good, "documents": ["a", {"image": "http://a/b.png"}]}, "documents[1]"),
                        ({**good, "documents": ["a", {"text": "b", "image": "c"}]}, "documents[1]"),
                        ({**good, "top_n": 0}, "top_n"), ({**good, "top_n": "1"}, "top_n"),
                        ({**good, "return_documents": 1}, "return_documents"), ({**good, "rank_fields": []}, "rank_fields"),
                        ({**good, "model": 1}, "model")):
        assert rerank(**body).problem(400)["field"] == field, body
    assert rerank(**{**good, "model": "rerank-v3.5"}).problem(404, "model_not_found", (NAME,))["field"] == "model"
    assert rerank(**{**good, "documents": ["a", {"image": "AAAA"}]}).problem(422)["field"] == "documents[1]"
    rerank(**{**good, "documents": ["a"] * 1001}).problem(413)


def kinds_are_measured_by_unrelated_ones_of_their_own():
    """With calibration data: pictures by the model's background, texts by the shipped texts."""
    own = serving.Imago()
    own.env["IMAGO_DATA"] = str(SOURCE / "data")
    for i in range(6):
        own.picture(f"{i}.png", i)
    own.add()
    with open(SOURCE / "data/calibration/texts.txt", encoding="utf-8") as file:
        lines = [line for line in file.read().split("\n") if line]
    lines = [lines[i * len(lines) // 128] for i in range(128)]
    folder = SOURCE / "data/calibration"
    files = sorted(str(path) for path in folder.iterdir() if path.suffix == ".jpg")
    query = vectors("--text", "a red car", run=own)[0]

    def among(rows):
        cosines = [dot(query, row) for row in rows]
        mean = sum(cosines) / len(cosines)
        return mean, math.sqrt(sum((c - mean) ** 2 for c in cosines) / len(cosines))

    texts = among(vectors(*[arg for line in lines for arg in ("--text", line)], run=own))
    pictures = among(vectors(*files, run=own))
    rows = vectors("--text", "snow", os.path.join(own.pictures, "1.png"), run=own)
    daemon = Server(own)
    answer = rerank(on=daemon, query="a red car", documents=["snow", picture(os.path.join(own.pictures, "1.png"))])
    check(answer, [relevance((dot(query, row) - mean) / deviation)
                   for row, (mean, deviation) in zip(rows, (texts, pictures))], tolerance=1e-3)
    daemon.stop()


def the_client_of_cohere_is_content():
    serving.sys.path.append(os.environ.get("IMAGO_TEST_PYTHONPATH", ""))
    try:
        import cohere
    except ImportError as error:
        raise Skipped("needs the Python package cohere (IMAGO_TEST_PYTHONPATH names its folder)") from error
    client = cohere.ClientV2(api_key="none", base_url=server.url)
    answer = client.rerank(model=NAME, query="a car", documents=TEXTS, top_n=3)
    want = rerank(query="a car", documents=TEXTS, top_n=3).json["results"]
    assert [(row.index, row.relevance_score) for row in answer.results] == [
        (row["index"], row["relevance_score"]) for row in want]


def the_daemon_stops_well():
    server.stop()


main([texts_are_ordered_by_their_cosines, pictures_are_documents_and_queries,
      the_best_alone_and_with_their_documents, the_order_of_documents_does_not_change_scores,
      what_is_none_is_refused_by_its_place, kinds_are_measured_by_unrelated_ones_of_their_own,
      the_client_of_cohere_is_content, the_daemon_stops_well])
