#!/usr/bin/env python3
"""Queries as people type them, and what must not become one (hostile cases T37-T42, T59, T60)."""
import json
import os
import struct
import subprocess
import time
import zlib

import support
from support import Imago

N = 60
home = Imago()
for i in range(N):
    home.picture(f"d{i % 3}/{i:02}.png", i)
home.add()


def ask(*args, code=0, **kw):
    done = home.run("search", "--json", *args, code=code, **kw)
    return json.loads(done.stdout) if code == 0 else done


def ids(*args, **kw):
    return [hit["id"] for hit in ask(*args, **kw)["hits"]]


def path_of(item):
    return json.loads(home.run("show", "--json", f"id:{item}").stdout)["paths"][0]["path"]


def parts_become_what_they_say():
    answer = ask("red car ^0.5 beach -night", "--", "-@#3[10%,10%,50%,50%]", "+\"d1 04\"")
    kinds = [(p["type"], p.get("text", p.get("source")), p["weight"]) for p in answer["parts"]]
    assert kinds == [("text", "red car", 0.5), ("text", "beach", 1), ("text", "night", -0.5),
                     ("picture", "#3", -0.5), ("text", "d1 04", 1)], kinds
    assert answer["parts"][3]["crop"] == ["10%", "10%", "50%", "50%"]
    assert answer["parts"][4]["must"] is True
    # what must be found is found in the file's name, and nothing else passes
    assert answer["total"] == answer["filtered"] == 1, answer["total"]
    hit = answer["hits"][0]
    assert hit["path"].endswith("d1/04.png"), hit
    assert abs(sum(p["contribution"] for p in hit["parts"]) - hit["score"]) < 1e-5, hit


def a_picture_finds_itself():
    item = ids("red", "-k", "1")[0]
    path = path_of(item)
    with open(path, "rb") as file:
        data = file.read()
    for query in (f"@#{item}", f'@"{path}"', f"@{path}"):
        answer = ask(query)
        assert answer["hits"][0]["id"] == item and answer["hits"][0]["cosine"] > 0.9999, query
    assert ids("@-", input=data)[0] == item
    whole = ask(f'@"{path}"[0,0,100%,100%]')["hits"][0]
    assert whole["id"] == item, whole
    assert home.error("search", "@- -@-", code=2, names=("only one",), input=data)


def one_picture_is_explained_whatever_the_filter():
    for item in ids("red", "-k", "3"):
        plain = json.loads(home.run("explain", "--json", "red", f"id:{item}").stdout)
        assert plain["id"] == item and plain["path"] == path_of(item), plain
        told = json.loads(home.run("explain", "--json", "red type:png", f"id:{item}").stdout)
        assert (told["path"], told["score"]) == (plain["path"], plain["score"]), (plain, told)
        home.error("explain", "red type:jpeg", f"id:{item}", code=3, names=("no hit of this query",))


def boxes_are_held_against_the_picture():
    for box, what in (("[50%,50%,90%,90%]", "outside"), ("[0,0,0,10]", "without area"),
                      ("[0,0,25,18]", "24"), ("[-1,0,5,5]", "")):
        home.error("search", f"@#1{box}", code=2, names=(what,))
    # what is not a box is a name
    home.error("search", "@nowhere[1,2,3", code=3, names=("nowhere[1,2,3",))


def filters_count_exactly():
    assert ask("red")["total"] == N
    assert ask("red path:d0/*")["total"] == N // 3
    assert ask("path:d0/* or", code=None).returncode in (0, 2)
    listing = ask("type:png", "-k", "7")
    assert listing["total"] == N and listing["hits"][0]["score"] is None, listing["hits"][0]
    assert listing["engine"] == "columns" and listing["parts"] == []
    none = ask("red (width>1000000 or has:gps)")
    assert none["hits"] == [] and none["total"] == none["filtered"] == 0 and none["cursor"] is None
    assert ask("red", "--filter", "path:d0/* or path:d1/*", "--filter", "type:png")["total"] == N * 2 // 3
    assert ask(f"in:{home.pictures}/d2")["total"] == N // 3
    everything = ids("red", "-k", "100")
    for keep in (1, 3, N // 3):
        chosen = everything[1::2][:keep]
        query = " or ".join(f'path:"{os.path.relpath(path_of(i), home.pictures)}"' for i in chosen)
        assert ids("red", "--filter", query) == chosen, keep


def own_fields_filter_sort_and_group():
    shop = Imago()
    rows = ["path,key,price:number,category,since:date,sold:bool"]
    for i in range(30):
        shop.picture(f"{i:02}.png", 500 + i)
        rows.append(f"pictures/{i:02}.png,sku-{i},{i * 5 % 97},{('shoes', 'Hats', '')[i % 3]},"
                    f"202{i % 5}-0{1 + i % 9}-01,{'yes' if i % 2 else 'no'}")
    table = os.path.join(shop.base, "shop.csv")
    with open(table, "w") as file:
        file.write("\n".join(rows) + "\n")
    done, _ = shop.add(shop.pictures, "--meta", table)
    assert done["meta_set"] == 30, done
    price = {f"{i:02}.png": i * 5 % 97 for i in range(30)}
    find = lambda *q: json.loads(shop.run("search", "--json", "-k", "100", *q).stdout)
    names = lambda a: [os.path.basename(hit["path"]) for hit in a["hits"]]
    cheap = find("red", "price<50", "category:SHOES")
    assert sorted(names(cheap)) == sorted(n for n, p in price.items() if p < 50 and int(n[:2]) % 3 == 0)
    assert cheap["total"] == len(cheap["hits"])
    listing = names(find("price:10..40", "--sort", "price", "--order", "asc"))
    assert listing == sorted((n for n, p in price.items() if 10 <= p <= 40), key=lambda n: price[n])
    assert len(find("red", "--group", "category:4")["hits"]) == 12  # two categories, and none
    assert find("since:2021 sold:yes")["total"] == sum(i % 5 == 1 and i % 2 for i in range(30))
    assert names(find("key:sku-7")) == ["07.png"]
    assert find("(has:price and not has:category)")["total"] == 10
    # a new value is seen at once, and the key moves with its line
    with open(table, "w") as file:
        file.write("key,price:number\nsku-7,1000\n")
    shop.run("add", "--meta", table)
    assert names(find("price>=1000")) == ["07.png"] and find("price<1000")["total"] == 29
    shop.error("search", "prize<3 price:cheap", code=2, names=("column 9", "number"))
    shop.error("search", "red", "--sort", "prize", code=2, names=("price",))
    shop.sound()


def pages_reach_the_last_row():
    whole = ids("red type:png", "-k", "100")
    for extra in ([], ["--sort", "bytes"], ["--sort", "added", "--order", "asc"],
                  ["--group", "bytes:2"], ["--sort", "bytes", "--group", "width:30"]):
        expected = ids("red type:png", "-k", "100", *extra)
        pages, cursor = [], None
        while True:
            answer = ask("red type:png", "-k", "7", *extra, *(["--cursor", cursor] if cursor else []))
            pages += [hit["id"] for hit in answer["hits"]]
            assert answer["total"] == len(expected), extra
            cursor = answer["cursor"]
            if cursor is None:
                break
        assert pages == expected, extra
        offset = [i for start in range(0, 70, 7)
                  for i in ids("red type:png", "-k", "7", "--offset", str(start), *extra)]
        assert offset == expected, extra
    assert len(whole) == N
    home.error("search", "red", "--sort", "bytes", "--cursor", ask("red", "-k", "3")["cursor"], code=2,
               names=("another order",))


def missing_files_are_left_out_unless_asked_for():
    imago = Imago()
    for i in range(4):
        imago.picture(f"{i}.png", 100 + i)
    imago.add()
    os.unlink(os.path.join(imago.pictures, "2.png"))
    imago.add()
    count = lambda *q: json.loads(imago.run("search", "--json", *q).stdout)["total"]
    assert count("red") == 3 and count("type:png") == 3
    assert count("is:missing") == 1 and count("red", "is:missing") == 1
    assert count("not", "is:missing") == 1  # outside parentheses "not" is a word
    assert count("(not is:missing)") == 3


def broken_queries_point_at_the_place():
    for query, code, words in (
            ("(" * 8000, 2, ("column 33",)), ("(tag:x " + "or tag:x " * 800 + ")", 2, ("256",)),
            ('"open', 2, ("column 1", "not closed")), ("taken:2019-02-30", 2, ("column 1",)),
            ("taken:9999999999", 2, ("column 1",)), ("red bytes>1e999", 2, ("column 5",)),
            ("near:91,181,-1", 2, ("column 1",)), ("@#-1", 2, ("column 3",)), ("red ^nan", 2, ("column 5",)),
            ("witdh:3", 2, ("width", "column 1")), ("", 2, ()), (" ", 2, ()), ("red ^0", 2, ("column 5",)),
            ("^2", 2, ("column 1",)), ("http://x.y/z", 2, ("URLs are not fetched",)),
            ("tag:x) y", 2, ("column 6",)), ("t-shirt (red)", 2, ("column 10",)),
            ("x" * 8193, 6, ("8192",)), ("red ^1e308", 2, ("100",)), ("@#999999", 3, ("999999",))):
        start = time.monotonic()
        home.error("search", "--", query, code=code, names=words)
        assert time.monotonic() - start < 5, query[:20]


def what_is_sql_elsewhere_is_taken_literally():
    for query in ("' OR 1=1 --", "a AND", "NOT", "*", "%_%", "NEAR( a", "x AND y OR *"):
        assert ask("--text", query)["parts"][0]["text"] == query
        ask("--", query)
    for value in ("' OR 1=1 --", "\\\"", "*", "a AND", "NOT", "-red", "x:red", "NEAR(", "(" * 1000, "%_%"):
        quoted = '"' + value.replace("\\\"", '\\"') + '"'
        for field in ("tag", "caption", "key", "path", "camera", "in"):
            done = home.run("search", "--json", "--", f"{field}:{quoted}", code=None)
            assert done.returncode in (0, 2), (field, value, done.stderr)
            assert b"SQL" not in done.stderr and b"column:" not in done.stderr, done.stderr
            assert b"fts" not in done.stderr and b"syntax error" not in done.stderr, done.stderr
        must = home.run("search", "--json", "--", f"+{quoted}", code=None)
        assert must.returncode in (0, 2), must.stderr
    assert ask("path:[[[*")["total"] == 0


def degenerate_queries_say_so():
    done = home.error("search", "@#1", "--", "-@#1", "^1", code=2)
    assert done["code"] == "query_degenerate", done
    answer = ask("--", "-night")
    assert len(answer["hits"]) == 20 and any("absence" in w for w in answer["warnings"])
    home.error("search", "red", "--combine", "any", "--", "-night", code=2)


def long_texts_are_cut_and_say_so():
    answer = ask("word " * 300)
    assert any("cut at" in w for w in answer["warnings"]), answer["warnings"]
    start = time.monotonic()
    ask("\U0001f468‍" * 1000)
    assert time.monotonic() - start < 5


def numbers_of_hits_are_held_to_their_limits():
    for args in (("-k", "0"), ("-k", "-1"), ("-k", "10001"), ("-k", "10abc"), ("--offset", "1000000000"),
                 ("--min-score", "nan"), ("--min-score", "x"), ("--group", "bytes:0"),
                 ("--group", "colour"), ("--sort", "tag"), ("--order", "up")):
        home.error("search", "red", *args, code=2)
    assert len(ids("red", "-k", "10000")) == N
    # a cursor is given exactly when there is a next page
    for k, offset in ((N, 0), (N - 1, 0), (N // 2, N // 2), (N // 2, N // 2 - 1)):
        more = ask("red", "-k", str(k), "--offset", str(offset))["cursor"]
        assert (more is not None) == (k + offset < N), (k, offset)


def a_lowest_score_cuts():
    scores = [hit["score"] for hit in ask("red", "-k", "100")["hits"]]
    floor = (scores[9] + scores[10]) / 2
    answer = ask("red", "--min-score", repr(floor), "-k", "4")
    assert answer["total"] == 10 and len(answer["hits"]) == 4 and answer["cursor"], answer["total"]
    sizes = [os.path.getsize(hit["path"]) for hit in
             ask("red", "--min-score", repr(floor), "--sort", "bytes")["hits"]]
    assert len(sizes) == 10 and sizes == sorted(sizes, reverse=True), sizes
    home.error("search", "type:png", "--min-score", "1", code=2)


def batches_answer_line_by_line():
    lines = [json.dumps({"parts": [{"text": f"query {i}"}], "k": 3}) for i in range(300)]
    lines[7] = json.dumps({"parts": [{"image": {"id": 999999}}]})
    lines[11] = "{\"parts\":"
    lines[12] = json.dumps({"parts": [{"text": "x"}], "colour": 1})
    done = home.run("search", "--batch", "-", code=14, input=("\n".join(lines) + "\n").encode())
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == 300
    bad = [i for i, answer in enumerate(answers) if "error" in answer]
    assert bad == [7, 11, 12], bad
    assert answers[7]["error"]["code"] == "item_not_found", answers[7]
    assert "line 12" in answers[11]["error"]["message"] and "colour" in answers[12]["error"]["message"]
    for i in (0, 150, 255, 256, 299):
        assert [h["id"] for h in answers[i]["hits"]] == ids("--text", f"query {i}", "-k", "3"), i
    body = json.dumps({"queries": [json.loads(lines[0]), {"filter": "type:png", "k": 2}]})
    both = json.loads(home.run("search", "--query-json", "-", input=body.encode()).stdout)["answers"]
    assert both[0]["hits"] == answers[0]["hits"] and len(both[1]["hits"]) == 2
    one = json.loads(home.run("search", "--query-json", "-", input=lines[0].encode()).stdout)
    assert one["hits"] == answers[0]["hits"]
    blank = home.run("search", "--batch", "-", code=14, input=b"\n \t\n" + "\n".join(lines[10:13]).encode())
    assert b"2 of 3 queries" in blank.stderr, blank.stderr  # the line without an end counts, blank ones do not
    home.run("search", "--batch", "-", code=3, input=lines[7].encode())  # all failed: as the first
    home.run("search", "--query-json", "-", code=3, input=f'{{"queries":[{lines[7]}]}}'.encode())
    home.error("search", "red", "--query-json", "-", code=2)
    home.error("search", "--query-json", "/nowhere.json", code=3)
    home.error("search", "--batch", "/nowhere.json", code=3)


def pictures_come_as_data_too():
    import base64
    item = ids("red", "-k", "1")[0]
    with open(path_of(item), "rb") as file:
        data = base64.b64encode(file.read()).decode()
    for text in (data, "data:image/png;base64," + data):
        body = json.dumps({"parts": [{"image": {"data": text}}]})
        answer = json.loads(home.run("search", "--query-json", "-", input=body.encode()).stdout)
        assert answer["hits"][0]["id"] == item
    bad = json.dumps({"parts": [{"image": {"data": data[:40] + "!" + data[41:]}}]})
    done = home.run("search", "--query-json", "-", code=2, input=bad.encode())
    assert b"base64" in done.stderr, done.stderr


def a_read_only_library_still_filters():
    support.need(not support.SANITIZED, "a program that runs as somebody else")
    imago = Imago()
    for i in range(5):
        imago.picture(f"{i}.png", 300 + i)
    imago.add()
    for folder, _, files in os.walk(os.path.join(imago.library, "index")):
        for name in files:
            if name.startswith("columns."):
                os.unlink(os.path.join(folder, name))
    subprocess.run(["chmod", "-R", "a-w", imago.library], check=True)
    try:
        answer = json.loads(imago.run("search", "--json", "red type:png").stdout)
    finally:
        subprocess.run(["chmod", "-R", "u+w", imago.library], check=True)
    assert answer["total"] == 5


support.main([parts_become_what_they_say, a_picture_finds_itself,
              one_picture_is_explained_whatever_the_filter, boxes_are_held_against_the_picture,
              filters_count_exactly, own_fields_filter_sort_and_group,
              pages_reach_the_last_row,
              missing_files_are_left_out_unless_asked_for, broken_queries_point_at_the_place,
              what_is_sql_elsewhere_is_taken_literally, degenerate_queries_say_so,
              long_texts_are_cut_and_say_so, numbers_of_hits_are_held_to_their_limits,
              a_lowest_score_cuts, batches_answer_line_by_line, pictures_come_as_data_too,
              a_read_only_library_still_filters])
