#!/usr/bin/env python3
"""Items over HTTP: uploads, changes, pictures, removal; forms that lie, files that are moved about."""
import base64
import json
import os
import socket
import subprocess
import threading
import time

import serving
from serving import Server
from support import SANITIZED, main, png

home = serving.library()
server = Server(home)
ORIGINALS = os.path.join(home.base, "library", "originals")
FORM = "multipart/form-data; boundary=XX"
FOLDERS = (ORIGINALS, os.path.join(home.base, "library"))


def part(name, data, file_name=None, kind=None):
    head = b'--XX\r\nContent-Disposition: form-data; name="' + name.encode() + b'"'
    head += b'; filename="' + file_name + b'"' if file_name else b""
    return head + (b"\r\nContent-Type: " + kind if kind else b"") + b"\r\n\r\n" + data + b"\r\n"


def form(*parts):
    return b"".join(parts) + b"--XX--\r\n"


def upload(*parts):
    return server.ask("/v1/items", form(*parts), Content_Type=FORM)


def send(data, kind="image/png"):
    return server.ask("/v1/items", data, Content_Type=kind)


def kept():
    return sorted(name for _, _, names in os.walk(ORIGINALS) for name in names)


def leftovers():
    return [name for folder in FOLDERS for name in os.listdir(folder) if "upload" in name or "tmp" in name]


def new_item(seed):
    answer = send(png(seed))
    assert answer.status == 201, answer.body
    return answer.json["items"][0]["id"]


def an_upload_is_an_item_at_once():
    before = server.ask("/v1/library").json["items"]
    answer = send(png(1000))
    assert answer.status == 201, answer.body
    item = answer.json["items"][0]
    assert item["created"] and answer.headers["location"] == f"/v1/items/{item['id']}"
    shown = server.ask(answer.headers["location"]).json
    assert shown["path"].startswith(os.path.realpath(ORIGINALS)), shown
    assert open(shown["path"], "rb").read() == png(1000)
    assert server.ask("/v1/library").json["items"] == before + 1
    data = base64.b64encode(png(1000)).decode()
    hit = server.ask("/v1/search", {"parts": [{"image": {"data": data}}], "k": 1}).json["hits"][0]
    assert hit["id"] == item["id"] and hit["cosine"] > 0.9999
    assert json.loads(home.run("show", "--json", f"id:{item['id']}").stdout) == shown
    again = send(png(1000))
    assert again.status == 200 and again.json["items"][0] == dict(item, created=False), again.body
    assert again.headers["location"] == f"/v1/items/{item['id']}"


def what_the_users_folders_hold_is_not_kept_twice():
    path = os.path.join(home.pictures, "d0", "00.png")
    files = kept()
    with open(path, "rb") as file:
        answer = send(file.read())
    assert answer.status == 200 and not answer.json["items"][0]["created"], answer.body
    assert kept() == files


def forms_bring_several_pictures_with_what_is_said_of_them():
    meta = {"tags": ["form", "two"], "fields": {"price": 3.5, "day": {"date": "2024-05-01"}, "sold": True},
            "caption": "two of a kind"}
    answer = upload(part("a", png(1001), b"../../../etc/cron.d/x", b"image/png"), part("b", png(1002)),
                    part("c", png(1001), b"\xc3\xa4.png"), part("meta", json.dumps(meta).encode()))
    assert answer.status == 201, answer.body
    items = answer.json["items"]
    assert [item["created"] for item in items] == [True, True, False] and items[0]["id"] == items[2]["id"]
    assert [item["part"] for item in items] == ["a", "b", "c"]
    assert items[0]["filename"] == "../../../etc/cron.d/x" and items[2]["filename"] == "\u00e4.png"
    assert not os.path.exists("/etc/cron.d/x")
    for item in items:
        shown = server.ask(f"/v1/items/{item['id']}").json
        assert sorted(shown["tags"]) == ["form", "two"] and shown["fields"]["price"] == 3.5, shown
        assert shown["fields"]["sold"] is True and shown["fields"]["day"].startswith("2024-05-01")
        assert shown["captions"][0]["text"] == "two of a kind"
    listed = server.ask("/v1/items?filter=tag:form+price%3E3&sort=id&order=asc")
    assert listed.status in (200, 400)
    listed = server.ask("/v1/items?filter=tag:form")
    assert listed.json["total"] == 2, listed.body


def a_bad_picture_stops_no_other_and_leaves_nothing():
    files = kept()
    answer = upload(part("good", png(1003)), part("bad", b"junk"), part("cut", png(1004)[:200]))
    assert answer.status == 200, answer.body
    good, bad, cut = answer.json["items"]
    assert good["created"] and bad["error"]["code"] == "not_a_picture" and "'bad'" in bad["error"]["message"]
    assert "id" not in bad and "id" not in cut and cut["error"]["class"] == "IM_ERR_FORMAT", cut
    assert len(kept()) == len(files) + 1
    files = kept()
    send(b"junk").problem(422, "not_a_picture")
    send(b"<html><script>").problem(415, "picture_unsupported")
    send(png(1)[:100], "image/jpeg").problem(422)
    for meta in (b'{"tags":[""]}', b'{"fields":{"price":"dear"}}', b'{"nope":1}', b"[]", b"{", b'{"key":""}',
                 b'{"fields":{"path":1}}', b'{"fields":{"a":1,"A":2}}', b'{"tags":{"set":["a"]}}', b'{"tags":5}'):
        upload(part("a", png(1005)), part("meta", meta)).problem(400)
    upload(part("a", png(1005)), part("b", png(1006)), part("meta", b'{"key":"k"}')).problem(400)
    upload(part("meta", b'{"key":"k"}')).problem(400, "http_multipart")
    assert kept() == files and leftovers() == [], kept()
    assert home.status().get("failures", 0) == 0, home.status()


def forms_are_read_strictly_and_nothing_is_stored():
    """T74"""
    files = kept()
    good = part("a", png(1007))
    for kind in ("multipart/form-data", "multipart/form-data; boundary=", 'multipart/form-data; boundary="',
                 "multipart/form-data; boundary=" + "x" * 5000):
        server.ask("/v1/items", form(good), Content_Type=kind).problem(400, "http_multipart")
    for body in (good, form(good)[:-4], b"", b"--XX--\r\n", b"--XX\r\n", form(good, good), form(good) + b"more",
                 form(*(part(f"p{i}", b"x") for i in range(65))),
                 b"".join(part(f"p{i}", b"") for i in range(100000)) + b"--XX--\r\n",
                 b"--XX\r\nX: " + b"x" * (10 << 20) + b"\r\n" + form(good)[6:],
                 form(part("a", b"x", None, b"multipart/mixed; boundary=YY")),
                 form(part("a", png(1007), b"x\0.png")), form(part("", png(1007)))):
        answer = server.ask("/v1/items", body, Content_Type=FORM)
        answer.problem(400 if body else answer.status)
    for kind in ("text/plain", "image/gif", "application/json", "image/pngx", ""):
        send(png(1007), kind).problem(415, "http_type")
    assert kept() == files and leftovers() == []


def sizes_are_decided_before_the_body():
    """T70, T72: no 100 for what will not be taken."""
    for length, kind in (((256 << 20) + 1, b"image/png"), ((256 << 20) + 65537, FORM.encode()), (10 << 30, b"image/jpeg")):
        answers, closed = server.raw(b"POST /v1/items HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Type: "
                                     b"%s\r\nContent-Length: %d\r\n\r\n" % (kind, length))
        assert [answer.status for answer in answers] == [413] and closed
    answers, closed = server.raw(b"POST /v1/items HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
                                 b"Transfer-Encoding: chunked\r\n\r\nffffffff\r\n")
    assert [answer.status for answer in answers] == [413] and closed


def chunked_uploads_and_long_ones_keep_memory_flat():
    data = png(1008)
    body = b"".join(b"%x\r\n%s\r\n" % (len(data[i:i + 100]), data[i:i + 100]) for i in range(0, len(data), 100))
    answers, closed = server.raw(b"POST /v1/items HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
                                 b"Transfer-Encoding: chunked\r\n\r\n" + body + b"0\r\n\r\n")
    assert answers[0].status == 201 and closed, answers[0].body
    before = server.rss_kib()
    send(png(1009) + b"\0" * (100 << 20))
    if not SANITIZED:  # they keep freed memory for a while
        assert server.rss_kib() - before < 32 << 10, (before, server.rss_kib())


def changes_are_whole_or_none():
    item = new_item(1010)
    where = f"/v1/items/{item}"

    def change(body, kind="application/json"):
        return server.ask(where, body, method="PATCH", Content_Type=kind)

    answer = change({"key": "sku-1", "tags": ["a", "b"], "fields": {"price": 1, "note": "x"}, "caption": "one"})
    assert answer.status == 200 and answer.json == server.ask(where).json
    assert answer.json["key"] == "sku-1" and sorted(answer.json["tags"]) == ["a", "b"]
    answer = change({"tags": {"add": ["c"], "remove": ["a", "never"]}, "fields": {"note": None}},
                    "application/merge-patch+json")
    assert sorted(answer.json["tags"]) == ["b", "c"] and "note" not in answer.json["fields"]
    assert answer.json["fields"]["price"] == 1 and answer.json["key"] == "sku-1"
    before = server.ask(where).json
    for wrong in ({"fields": {"price": 2, "sold": "maybe"}}, {"fields": {"price": "x"}, "tags": ["z"]},
                  {"tags": ["ok", ""]}, {"key": 5}, {"caption": 5}, {"fields": []}, {"x": 1}, [], 5):
        change(wrong).problem(400)
    assert server.ask(where).json == before
    server.ask("/v1/items/1", {"key": "sku-1"}, method="PATCH").problem(409, "key_taken", ("sku-1",))
    server.ask("/v1/items/4711", {"tags": ["a"]}, method="PATCH").problem(404, "item_not_found")
    answer = change({"key": None, "tags": None, "caption": None})
    assert answer.json["key"] is None and answer.json["tags"] == [] and answer.json["captions"] == []
    change({}).status == 200
    change(b"x=1", "application/x-www-form-urlencoded").problem(415)


def listings_are_whole_and_exact():
    total = server.ask("/v1/library").json["items"]
    seen, path = [], "/v1/items?k=7"
    while path:
        answer = server.ask(path)
        assert answer.status == 200 and answer.json["total"] == total and answer.json["exact"], answer.body
        seen += [hit["id"] for hit in answer.json["hits"]]
        path = answer.json["cursor"] and "/v1/items?k=7&cursor=" + answer.json["cursor"]
    assert len(seen) == len(set(seen)) == total
    printed = json.loads(home.run("search", "--json", "type:png", "--sort", "added", "--order", "asc", "-k", "5").stdout)
    served = server.ask("/v1/items?filter=type:png&sort=added&order=asc&k=5").json
    assert served["hits"] == printed["hits"] and served["total"] == printed["total"]
    server.ask("/v1/items?filter=tpye:png").problem(400)
    server.ask("/v1/items?q=red").problem(400, "http_parameter")


def similar_is_search_by_the_item():
    answer = server.ask("/v1/items/3/similar?k=4&filter=type:png")
    printed = json.loads(home.run("similar", "--json", "id:3", "-k", "4").stdout)
    assert answer.json["hits"] == printed["hits"], (answer.body, printed)
    assert all(hit["id"] != 3 for hit in answer.json["hits"])
    server.ask("/v1/items/4711/similar").problem(404, "item_not_found")
    server.ask("/v1/items/3/similar?k=0").problem(400, "http_parameter")


def thumbnails_are_kept_and_asked_for_once():
    answer = server.ask("/v1/items/2/thumbnail?size=100")
    assert answer.status == 200 and answer.headers["content-type"] == "image/jpeg"
    assert answer.body[:2] == b"\xff\xd8" and "private" in answer.headers["cache-control"]
    assert answer.body == server.ask("/v1/items/2/thumbnail?size=128").body
    tag = answer.headers["etag"]
    for seen in (tag, "W/" + tag, '"x", ' + tag, "*"):
        again = server.ask("/v1/items/2/thumbnail?size=100", If_None_Match=seen)
        assert again.status == 304 and again.body == b"" and again.headers["etag"] == tag
    assert server.ask("/v1/items/2/thumbnail?size=100", If_None_Match='"x"' + ", x" * 4000).status == 200
    assert server.ask("/v1/items/2/thumbnail", method="HEAD").body == b""
    for wrong in ("0", "2049", "x", "-1", "1e2"):
        server.ask("/v1/items/2/thumbnail?size=" + wrong).problem(400, "http_parameter", ("'size'",))
    server.ask("/v1/items/4711/thumbnail").problem(404, "item_not_found")
    kept_at = [os.path.join(root, name) for root, _, names in os.walk(os.path.join(home.base, "library", "thumbs"))
               for name in names if tag.strip('"').split("-")[0] in name and name.endswith("-128.jpg")]
    assert len(kept_at) == 1
    with open(kept_at[0], "r+b") as file:
        file.truncate(100)  # as after a crash: made again
    assert server.ask("/v1/items/2/thumbnail?size=100").body == answer.body


def originals_come_in_ranges():
    """T76"""
    item = new_item(1011)
    data, where = png(1011), f"/v1/items/{item}/original"
    whole = server.ask(where)
    assert whole.body == data and whole.headers["content-type"] == "image/png"
    assert whole.headers["accept-ranges"] == "bytes" and "private" in whole.headers["cache-control"]
    tag, size = whole.headers["etag"], len(data)
    for text, start, end in (("0-0", 0, 1), ("5-9", 5, 10), (f"{size - 1}-", size - 1, size), ("-4", size - 4, size),
                             (f"-{10**20}", 0, size), (f"10-{10**20}", 10, size)):
        answer = server.ask(where, Range="bytes=" + text)
        assert answer.status == 206 and answer.body == data[start:end], text
        assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{size}"
    for text in ("-0", f"{size}-", f"{10**20}-", f"{10**20}-{10**21}"):
        answer = server.ask(where, Range="bytes=" + text)
        answer.problem(416, "http_range")
        assert answer.headers["content-range"] == f"bytes */{size}"
    for text in ("bytes=5-2", "bytes=0-0,1-1", "bytes=" + ",".join(f"{i}-{i}" for i in range(1000)), "items=0-1", "bytes=x"):
        answer = server.ask(where, Range=text)
        assert answer.status == 200 and answer.body == data, text
    assert server.ask(where, Range="bytes=0-1", If_Range=tag).status == 206
    for stale in ('"x"', "W/" + tag, "Thu, 26 Nov 2026 20:00:00 GMT"):
        assert server.ask(where, Range="bytes=0-1", If_Range=stale).status == 200
    assert server.ask(where, Range="bytes=0-1", If_None_Match=tag).status == 304
    head = server.ask(where, method="HEAD", Range="bytes=0-1")
    assert head.status == 200 and head.body == b"" and head.headers["content-length"] == str(size)
    answers, _ = server.raw(b"GET " + where.encode() + b" HTTP/1.1\r\nHost: localhost\r\nRange: bytes=0-0\r\n"
                            b"Range: bytes=1-1\r\nConnection: close\r\n\r\n")
    assert answers[0].status == 200 and answers[0].body == data


def originals_stay_inside_their_folders():
    """T81, T84"""
    secret = os.path.join(home.base, "secret.png")
    path = home.picture("d0/swap.png", 1012)
    home.add()
    item = json.loads(home.run("search", "--json", "path:*swap.png").stdout)["hits"][0]["id"]
    assert server.ask(f"/v1/items/{item}/original").status == 200
    os.rename(path, secret)
    os.symlink(secret, path)
    server.ask(f"/v1/items/{item}/original").problem(404)
    os.unlink(path)
    with open(path, "wb") as file:
        file.write(b"<script>alert(1)</script>")
    server.ask(f"/v1/items/{item}/original").problem(404)
    os.unlink(path)
    os.mkfifo(path)
    server.ask(f"/v1/items/{item}/original").problem(404)
    os.unlink(path)
    os.rename(secret, path)
    assert server.ask(f"/v1/items/{item}/original").status == 200
    for wrong in ("/v1/items/2/original/../../x", "/v1/items/2/original/%2e%2e%2fx", "/v1/items/%2e%2e/original",
                  "/v1/items/2%00/original", "/v1/items/2/original/", "/v1/items//original", "/v1/items/2/original%2f.."):
        answers, _ = server.raw(f"GET {wrong} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        assert answers[0].status in (400, 404), wrong
    for where in (f"/v1/items/{item}/original", f"/v1/items/{item}/thumbnail", "/v1/items"):
        headers = server.ask(where).headers
        assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]


def removal_leaves_the_users_files_and_purges_its_own():
    """T27, T77"""
    item = new_item(1013)
    shown = server.ask(f"/v1/items/{item}").json["path"]
    answer = server.ask(f"/v1/items/{item}", method="DELETE")
    assert answer.status == 204 and answer.body == b"" and "content-length" not in answer.headers
    server.ask(f"/v1/items/{item}", method="DELETE").problem(404, "item_not_found")
    assert os.path.exists(shown)
    again = new_item(1013)
    assert again != item and os.path.exists(shown)
    server.ask(f"/v1/items/{again}?purge=yes", method="DELETE").problem(400, "http_parameter")
    assert server.ask(f"/v1/items/{again}?purge=true", method="DELETE").status == 204
    assert not os.path.exists(shown)
    path = home.picture("d1/mine.png", 1014)
    home.add()
    mine = json.loads(home.run("search", "--json", "path:*mine.png").stdout)["hits"][0]["id"]
    assert server.ask(f"/v1/items/{mine}?purge=true", method="DELETE").status == 204
    assert os.path.exists(path)
    os.unlink(path)


def forms_ask_as_data_does():
    data = png(5)
    query = {"parts": [{"image": {"file": "p"}, "weight": 0.7}, {"text": "red"}], "k": 6}
    other = {"parts": [{"image": {"data": base64.b64encode(data).decode()}, "weight": 0.7}, {"text": "red"}], "k": 6}

    def ask(*parts):
        return server.ask("/v1/search", form(*parts), Content_Type=FORM)

    served = ask(part("query", json.dumps(query).encode()), part("p", data, b"p.png", b"image/png")).json
    expected = server.ask("/v1/search", other).json
    for answer in (served, expected):
        answer.pop("took_ms")
    assert served == expected
    several = ask(part("query", json.dumps({"queries": [query, query]}).encode()), part("p", data)).json["answers"]
    assert [answer["hits"] for answer in several] == [expected["hits"]] * 2
    question = part("query", json.dumps(query).encode())
    ask(question).problem(400, "http_multipart", ("'p'",))
    ask(question, part("p", data), part("q", data)).problem(400, "http_multipart", ("'q'",))
    ask(part("p", data)).problem(400, "http_multipart", ("'query'",))
    ask(question, part("p", b"junk")).problem(422, "not_a_picture")
    ask(question, part("p", b"")).problem(422)
    ask(part("query", b'{"parts":[}')).problem(400)
    server.ask("/v1/search", query).problem(400)


def clients_that_vanish_in_an_upload_leave_nothing():
    """T93"""
    descriptors, files = server.descriptors_at_rest(), kept()
    head = (b"POST /v1/items HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nContent-Length: 10000000\r\n\r\n")
    socks = []
    for _ in range(200):
        sock = server.connect()
        sock.sendall(head + b"x" * 50000)
        socks.append(sock)
    deadline = time.monotonic() + 10
    while server.descriptors() < descriptors + 400 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert server.descriptors() >= descriptors + 400, server.descriptors()
    assert leftovers() == []
    for sock in socks:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        sock.close()
    deadline = time.monotonic() + 5
    while server.descriptors() > descriptors and time.monotonic() < deadline:
        time.sleep(0.05)
    assert server.descriptors() <= descriptors, (server.descriptors(), descriptors)
    assert kept() == files and leftovers() == []


def readers_that_vanish_leave_nothing():
    data = png(1015) + b"\0" * (8 << 20)
    answer = send(data)
    assert answer.status == 201, answer.body
    where = f"/v1/items/{answer.json['items'][0]['id']}/original"
    descriptors = server.descriptors_at_rest()
    socks = [server.connect() for _ in range(50)]
    for sock in socks:
        sock.sendall(f"GET {where} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        sock.recv(1000)
    before = server.rss_kib()
    assert server.ask(where).body == data
    assert server.rss_kib() - before < 16 << 10
    for sock in socks:
        sock.close()
    deadline = time.monotonic() + 5
    while server.descriptors() > descriptors and time.monotonic() < deadline:
        time.sleep(0.05)
    assert server.descriptors() <= descriptors


def searches_uploads_and_removals_at_once_lose_nothing():
    stop = threading.Event()
    wrong = []
    alive = {}

    def look():
        while not stop.is_set():
            answer = server.ask("/v1/search?q=red&k=50")
            if answer.status != 200:
                wrong.append(answer.body)
            for hit in answer.json.get("hits", [])[:5]:
                shown = server.ask(f"/v1/items/{hit['id']}/thumbnail")
                if shown.status not in (200, 404):
                    wrong.append(shown.body)

    def change(seed):
        for i in range(12):
            answer = send(png(seed + i))
            if answer.status != 201:
                wrong.append(answer.body)
                continue
            item = answer.json["items"][0]["id"]
            alive[seed + i] = item
            if i % 2:
                statuses = [server.ask(f"/v1/items/{item}", method="DELETE").status for _ in range(2)]
                if statuses != [204, 404]:
                    wrong.append(statuses)
                del alive[seed + i]

    threads = [threading.Thread(target=look) for _ in range(2)]
    changers = [threading.Thread(target=change, args=(2000 + 100 * n,)) for n in range(3)]
    for thread in threads + changers:
        thread.start()
    for thread in changers:
        thread.join()
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == [], wrong[:3]
    for seed, item in alive.items():
        answer = server.ask(f"/v1/items/{item}/original")
        assert answer.status == 200 and answer.body == png(seed)
    home.run("check")


def a_library_that_moves_takes_its_uploads_along():
    global server
    item = new_item(1016)
    server.stop()
    old, new = os.path.join(home.base, "library"), os.path.join(home.base, "elsewhere")
    os.rename(old, new)
    try:
        home.env["IMAGO_LIBRARY"] = new
        command = [new if word == old else word for word in home.command("serve", "--listen", "127.0.0.1:0")]
        process = subprocess.Popen(command, env=home.env, stderr=subprocess.PIPE)
        url = process.stderr.readline().decode().split()[-1]
        server.url = url
        answer = server.ask(f"/v1/items/{item}/original")
        process.terminate()
        process.wait(timeout=30)
        assert answer.status == 200 and answer.body == png(1016), answer.body
    finally:
        os.rename(new, old)
        server = Server(home)
    assert server.ask(f"/v1/items/{item}/original").body == png(1016)


def the_folder_of_uploads_cannot_be_forgotten():
    item = new_item(1017)
    roots = {root["path"]: root["id"] for root in server.ask("/v1/roots").json["roots"]}
    own = roots[os.path.realpath(ORIGINALS)]
    server.ask(f"/v1/roots/{own}", method="DELETE").problem(409, "conflict", (str(own), "keeps itself"))
    assert server.ask(f"/v1/items/{item}/original").body == png(1017)
    assert own in [root["id"] for root in server.ask("/v1/roots").json["roots"]]


def the_daemon_stops_well():
    server.stop()
    assert leftovers() == []


main([an_upload_is_an_item_at_once, what_the_users_folders_hold_is_not_kept_twice,
      forms_bring_several_pictures_with_what_is_said_of_them, a_bad_picture_stops_no_other_and_leaves_nothing,
      forms_are_read_strictly_and_nothing_is_stored, sizes_are_decided_before_the_body,
      chunked_uploads_and_long_ones_keep_memory_flat, changes_are_whole_or_none, listings_are_whole_and_exact,
      similar_is_search_by_the_item, thumbnails_are_kept_and_asked_for_once, originals_come_in_ranges,
      originals_stay_inside_their_folders, removal_leaves_the_users_files_and_purges_its_own,
      forms_ask_as_data_does, clients_that_vanish_in_an_upload_leave_nothing,
      readers_that_vanish_leave_nothing, searches_uploads_and_removals_at_once_lose_nothing,
      a_library_that_moves_takes_its_uploads_along, the_folder_of_uploads_cannot_be_forgotten,
      the_daemon_stops_well])
