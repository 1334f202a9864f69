#!/usr/bin/env python3
"""Own fields, keys, tags and captions from files of lines, and the tag command, as a user meets
them: exit codes, sentences, events, and what `show` and `status` tell afterwards."""
import csv
import json
import os
import random

import support
from support import Imago


def library(n=4):
    """id:1 … id:n are 1.png … n.png."""
    imago = Imago()
    for i in range(1, n + 1):
        imago.add(imago.picture(f"{i}.png", i))
    return imago


def write(imago, name, text):
    path = os.path.join(imago.pictures, name)
    with open(path, "w", newline="") as file:
        file.write(text)
    return path


def show(imago, item):
    return json.loads(imago.run("show", f"id:{item}", "--json").stdout)


def meta(imago, path, code=0, *paths):
    """The done event and the failed ones."""
    done, lines = imago.add(*paths, "--meta", path, code=code)
    return done, [line for line in lines if line["event"] == "failed"]


def lines_give_fields_of_json_types():
    imago = library()
    path = write(imago, "m.jsonl", "\n".join(json.dumps(line) for line in [
        {"path": "1.png", "key": "sku-1", "price": 12.5, "n": 3, "sold": False, "note": "café",
         "since": {"date": "2024-05-01"}, "tags": ["beach", "summer 2024"], "caption": "a red car"},
        {"key": "sku-1", "price": 11}, {"id": 2, "since": "2020"}]))
    done, failed = meta(imago, path)
    assert (done["meta_set"], done["meta_failed"], failed) == (3, 0, []), done
    item = show(imago, 1)
    assert item["key"] == "sku-1"
    assert item["fields"] == {"n": 3, "note": "café", "price": 11, "since": "2024-05-01",
                              "sold": False}, item
    assert item["tags"] == ["beach", "summer 2024"]
    assert item["captions"] == [{"text": "a red car", "source": "user"}]
    assert show(imago, 2)["fields"] == {"since": "2020-01-01"}
    assert imago.status()["fields"] == {"n": "number", "note": "text", "price": "number",
                                        "since": "date", "sold": "bool"}
    text = imago.run("show", "id:1").stdout.decode()
    for part in ("key      sku-1", "\n  since  2024-05-01\n", "\n  sold   no\n", "\n  beach\n", "a red car"):
        assert part in text, (part, text)
    assert "  since  date\n" in imago.run("status").stdout.decode()
    imago.sound()


def rows_of_a_spreadsheet_are_taken():
    imago = library()
    path = write(imago, "m.csv", "\ufeffpath,key,price:number,since:date,in_stock:bool,note,tags\r\n"
                 "1.png,a,12.50,2024-05-01,TRUE,\"said \"\"hi\"\",\r\ntwice\",red; blue\r\n"
                 "\r\n2.png,b,,,,,\r\n")
    done, failed = meta(imago, path)
    assert (done["meta_set"], failed) == (2, [])
    item = show(imago, 1)
    assert item["fields"] == {"in_stock": True, "note": "said \"hi\",\r\ntwice", "price": 12.5,
                              "since": "2024-05-01"}, item
    assert item["tags"] == ["blue", "red"]
    assert show(imago, 2)["fields"] == {} and show(imago, 2)["key"] == "b"
    # without suffixes the registered types count
    meta(imago, write(imago, "n.csv", "key,price,in_stock\nb,7,no\n"))
    assert show(imago, 2)["fields"] == {"in_stock": False, "price": 7}


def what_python_writes_is_read_back():
    rng = random.Random(7)
    imago = library()
    for _ in range(5):
        texts = ["".join(rng.choice("ab ,\"\n;'é€") for _ in range(rng.randrange(1, 20)))
                 for _ in range(3)]
        path = os.path.join(imago.pictures, "r.csv")
        with open(path, "w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file, quoting=rng.choice([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]))
            rows.writerow(["id", "a", "b", "c"])
            rows.writerow([1, *texts])
        meta(imago, path)
        assert show(imago, 1)["fields"] == dict(zip("abc", texts)), texts


def lines_that_cannot_be_applied_are_named_and_the_rest_is_done():
    imago = library()
    path = write(imago, "m.csv", "path,key,price:number\n1.png,a,1\n2.png,b,cheap\nnone.png,c,3\n"
                 "4.png,d\n,nokey,5\n3.png,e,5\n")
    done, failed = meta(imago, path, 14)
    assert (done["meta_set"], done["meta_failed"]) == (2, 4), done
    assert [line["path"] for line in failed] == [f"{path}:{n}" for n in (3, 4, 5, 6)], failed
    codes = [line["error"]["code"] for line in failed]
    assert codes == ["field_value", "item_not_found", "format", "item_not_found"], codes
    assert "'price'" in failed[0]["error"]["message"] and "'cheap'" in failed[0]["error"]["message"]
    assert "'nokey'" in failed[3]["error"]["message"]
    assert show(imago, 2)["key"] is None
    assert show(imago, 3)["fields"] == {"price": 5}
    # all failed: the first one's code, and its sentence once
    path = write(imago, "n.jsonl", '{"id": 99, "a": 1}\n')
    done = imago.run("add", "--meta", path, code=3)
    assert done.stderr.decode().count("99") == 1, done.stderr
    # with pictures: both are counted
    imago.picture("new.png", 9)
    path = write(imago, "n.jsonl", '{"path": "new.png", "key": "new"}\n{"id": 99}\n')
    done, failed = meta(imago, path, 14, imago.pictures)
    assert (done["added"], done["meta_set"], done["meta_failed"]) == (1, 1, 1), done


def a_type_conflict_says_found_and_expected():
    imago = library()
    meta(imago, write(imago, "a.jsonl", '{"id": 1, "price": 1}\n'))
    path = write(imago, "b.jsonl", '{"id": 1, "a": 1}\n{"id": 2, "price": "cheap"}\n')
    _, failed = meta(imago, path, 14)
    assert failed[0]["error"]["code"] == "field_type"
    for part in (f"{path}:2", "'price'", "text 'cheap'", "number"):
        assert part in failed[0]["error"]["message"], failed
    error = imago.error("add", "--meta", write(imago, "c.csv", "id,price:bool\n1,yes\n"), code=2,
                        names=["c.csv:1", "'price'", "bool", "number"])
    assert error["code"] == "field_type"
    assert show(imago, 1)["fields"] == {"a": 1, "price": 1}


def a_new_picture_of_a_key_replaces_the_old_one():
    imago = library(2)
    meta(imago, write(imago, "m.csv", "path,key,note\n1.png,sku,old\n"))
    imago.picture("better.png", 50)
    done, _ = meta(imago, write(imago, "m.csv", "path,key,note\nbetter.png,sku,new\n"), 0,
                   imago.pictures)
    assert (done["added"], done["meta_replaced"]) == (1, 1), done
    imago.run("show", "id:1", code=3)
    assert show(imago, 3)["fields"] == {"note": "new"}
    done, _ = imago.add()  # the old file is still there, and stays out
    assert done["added"] == 0 and imago.status()["items"] == 2
    text = imago.run("add", "--meta", os.path.join(imago.pictures, "m.csv")).stdout.decode()
    assert text.startswith("1 line applied in"), text
    imago.sound()


def files_that_cannot_be_read_fail_before_any_work():
    imago = Imago()
    imago.picture("1.png", 1)
    cases = [("none.csv", None, 3, "not_found"), ("a.txt", "path\n", 2, "invalid"),
             ("a.csv", "", 5, "format"), ("b.csv", "price\n1\n", 2, "invalid"),
             ("c.csv", "path,taken:date\n", 2, "field_name"),
             ("d.csv", "path,a:money\n", 2, "invalid"), ("e.csv", "path,a,A\n", 2, "field_name"),
             ("f.csv", "path;a\n", 5, "format")]
    for name, text, code, reason in cases:
        path = write(imago, name, text) if text is not None else os.path.join(imago.pictures, name)
        error = imago.error("add", "--model", support.MODEL, imago.pictures, "--meta", path,
                            code=code, names=[name])
        assert error["code"] == reason, error
        assert not os.path.exists(imago.library), name
    imago.error("add", code=2, names=["PATH", "--meta"])
    imago.error("add", "--meta", write(imago, "g.csv", "path,a\n1.png,x\n"), code=3)
    assert not os.path.exists(imago.library)


def tags_are_given_taken_and_listed():
    imago = library()
    run = lambda *args, **kw: imago.run("tag", *args, **kw).stdout.decode()  # noqa: E731
    assert "2 tags given" in run("id:1", os.path.join(imago.pictures, "2.png"), "--add", "Beach")
    assert "4 items" in run(imago.pictures, "--add", "all", "--remove", "beach")
    assert run() == "4\tall\n"
    assert run("id:1", "--add", "a b") != ""
    assert run("id:1") == "id:1\ta b\nid:1\tall\n"
    assert json.loads(run("--json")) == {"tags": [{"name": "a b", "items": 1},
                                                  {"name": "all", "items": 4}]}
    items = json.loads(run("id:2", "--json"))["items"]
    assert items == [{"id": 2, "path": os.path.join(imago.pictures, "2.png"), "tags": ["all"]}]
    assert json.loads(run("id:2", "--json", "--remove", "ALL", "--add", "x")) == {
        "items": 1, "added": 1, "removed": 1}
    done = imago.run("tag", "id:2", "--remove", "none")
    assert b"none" in done.stderr
    run("id:2", "id:99", "--add", "y", code=14)
    run("id:99", "--add", "y", code=3)
    run("id:99", code=3)
    assert imago.error("tag", "id:2", "--add", " y", code=2)["code"] == "tag_invalid"
    imago.error("tag", "--add", "y", code=2)
    assert run("id:2") == "id:2\tx\nid:2\ty\n"
    imago.sound()


support.main([lines_give_fields_of_json_types, rows_of_a_spreadsheet_are_taken,
              what_python_writes_is_read_back,
              lines_that_cannot_be_applied_are_named_and_the_rest_is_done,
              a_type_conflict_says_found_and_expected,
              a_new_picture_of_a_key_replaces_the_old_one,
              files_that_cannot_be_read_fail_before_any_work, tags_are_given_taken_and_listed])
