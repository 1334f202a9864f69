#!/usr/bin/env python3
"""Immich's other tasks (faces, text in pictures): what a server that is named by --immich-upstream is asked, and what
becomes of its answers, its silence and its failures."""
import http.server
import json
import os
import random
import socket
import threading
import time

import serving
from serving import Immich
from support import MODEL, SANITIZED, main, png

home = serving.library(4)
NAME = os.path.basename(MODEL)
FACES = {"facial-recognition": {"detection": {"modelName": "buffalo_l", "options": {"minScore": 0.7}},
                                "recognition": {"modelName": "buffalo_l"}}}
OCR = {"ocr": {"detection": {"modelName": "PP-OCRv5_mobile", "options": {"minScore": 0.5, "maxResolution": 736}},
               "recognition": {"modelName": "PP-OCRv5_mobile", "options": {"minScore": 0.8}}}}
CLIP = {"clip": {"visual": {"modelName": NAME}}}
FOUND = {"facial-recognition": [{"boundingBox": {"x1": 1, "y1": 2, "x2": 30, "y2": 40}, "embedding": "[0.1,-0.25]",
                                 "score": 0.87}], "imageHeight": 3, "imageWidth": 4}
PICTURE = png(1)
BOUNDARY = "----formdata-undici-012345678901"


class Upstream:
    """A server that keeps what it was sent. self.reply is called with the handler for each request."""

    def __init__(self):
        self.seen = []
        self.connections = 0
        upstream = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self):
                upstream.connections += 1
                super().setup()

            def log_message(self, *_):
                pass

            def any(self):
                upstream.seen.append((self.command, self.path, list(self.headers.items()),
                                      self.rfile.read(int(self.headers.get("content-length", 0)))))
                upstream.reply(self)

            do_GET = do_POST = do_HEAD = do_PUT = any

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None  # a client that goes away
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.answers(FOUND)

    def answers(self, body, status=200, kind="application/json", **headers):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()

        def reply(handler):
            handler.send_response(status)
            for name, value in {"Content-Type": kind, "Content-Length": str(len(data)), **headers}.items():
                handler.send_header(name.replace("_", "-"), value)
            handler.end_headers()
            handler.wfile.write(data)
        self.reply = reply

    def take(self):
        seen, self.seen = self.seen, []
        return seen


upstream = Upstream()
server = Immich(home, "--immich-upstream", upstream.url + "/", "--immich-seconds", "2")


def ask(entries, parts=None, **headers):
    return server.form({"entries": json.dumps(entries), **(parts or {"image": PICTURE})}, **headers)


def parts_of(body):
    """{name: bytes} of a multipart body, its parts' heads dropped."""
    pieces = body.split(b"--" + BOUNDARY.encode())
    assert pieces[0] == b"" and pieces[-1] == b"--\r\n", (pieces[0], pieces[-1])
    out = {}
    for piece in pieces[1:-1]:
        head, _, data = piece.partition(b"\r\n\r\n")
        out[head.split(b'name="')[1].split(b'"')[0].decode()] = data[:-2]
    return out


def other_tasks_are_passed_on_as_they_came():
    for task in (FACES, OCR, {**FACES, **OCR}, {"a task of tomorrow": 5}):
        body = (f"--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"entries\"\r\n\r\n{json.dumps(task)}\r\n"
                f"--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"image\"; filename=\"blob\"\r\n"
                f"Content-Type: application/octet-stream\r\n\r\n").encode() + PICTURE + f"\r\n--{BOUNDARY}--\r\n".encode()
        answer = server.to_immich("/predict", body, **{
            "Content-Type": "multipart/form-data; boundary=" + BOUNDARY, "Cookie": "a=b", "Authorization": "Bearer x",
            "X-Forwarded-For": "1.2.3.4", "User-Agent": "node"})
        assert answer.status == 200 and answer.headers["content-type"] == "application/json", answer.body
        assert answer.json == FOUND
        (method, path, headers, sent), = upstream.take()
        assert (method, path) == ("POST", "/predict") and sent == body
        headers = {name.lower(): value for name, value in headers}
        assert headers.pop("content-type") == f'multipart/form-data; boundary="{BOUNDARY}"'
        assert headers.pop("content-length") == str(len(body)) and headers.pop("host") in upstream.url
        assert headers == {"accept": "*/*", "user-agent": "imago", "via": "1.1 imago"}, headers  # and nothing of who asked


def clips_tasks_are_answered_here():
    alone = ask(CLIP)
    assert alone.status == 200 and set(alone.json) == {"clip", "imageHeight", "imageWidth"}
    assert server.form({"entries": json.dumps({"clip": {"textual": {"modelName": NAME}}}), "text": "a"}).status == 200
    assert server.to_immich("/ping").body == b"pong"
    ask({"clip": {}}).problem(422)
    assert upstream.take() == []


def an_entry_with_both_has_both_answers():
    alone = ask(CLIP).json
    for entries in ({**CLIP, **FACES}, {**OCR, **CLIP, **FACES}):
        answer = ask(entries)
        assert answer.status == 200, answer.body
        assert answer.json == {**FOUND, "clip": alone["clip"]}, answer.body
        (method, path, _, sent), = upstream.take()
        others = {task: types for task, types in entries.items() if task != "clip"}
        parts = parts_of(sent)
        assert (method, path) == ("POST", "/predict") and set(parts) == {"entries", "image"}
        assert json.loads(parts["entries"]) == others and parts["image"] == PICTURE
    upstream.answers(b" { } ")
    assert ask({**CLIP, **FACES}).json == {"clip": alone["clip"]}
    upstream.answers({**FOUND, "clip": "[1]"})  # which it was not asked for
    ask({**CLIP, **FACES}).problem(502)
    assert ask(FACES).json["clip"] == "[1]"
    upstream.take()
    # what fails here is not asked for there
    ask({"clip": {"visual": {"modelName": "none"}}, **FACES}).problem(404, "model_not_found")
    ask({**CLIP, **FACES}, {"image": b"no picture"}).problem(422, "not_a_picture")
    ask({**CLIP, **FACES}, {"text": "a"}).problem(400)
    assert upstream.take() == []
    upstream.answers(FOUND)


def long_and_chunked_bodies_arrive_whole():
    picture = random.Random(7).randbytes(20 << 20)
    answer = ask(FACES, {"image": picture})
    assert answer.status == 200, answer.body
    assert parts_of(upstream.take()[0][3])["image"] == picture
    body = (f"--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"entries\"\r\n\r\n{json.dumps(OCR)}\r\n--{BOUNDARY}--\r\n")
    host = server.immich.split("//")[1]
    with socket.create_connection((host.split(":")[0], int(host.split(":")[1])), timeout=20) as sock:
        sock.sendall(f"POST /predict HTTP/1.1\r\nHost: {host}\r\nContent-Type: multipart/form-data; boundary={BOUNDARY}\r\n"
                     "Transfer-Encoding: chunked\r\n\r\n".encode())
        for i in range(0, len(body), 50):
            piece = body[i:i + 50].encode()
            sock.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
        sock.sendall(b"0\r\n\r\n")
        (one,), _ = serving.read_all(sock)
    assert one.status == 200 and one.json == FOUND
    assert upstream.take()[0][3].decode() == body


def its_failures_are_passed_back():
    for status, body, kind in ((500, b"Internal Server Error", "text/plain"), (422, b'{"detail": "x"}', "application/json"),
                               (400, b"", "text/plain"), (503, b"<html>\xff", "text/html; charset=utf-8")):
        upstream.answers(body, status, kind, Retry_After="7")
        for entries in (FACES, {**CLIP, **FACES}):
            answer = ask(entries)
            assert (answer.status, answer.body, answer.headers["content-type"]) == (status, body, kind), answer.body
            assert "default-src 'none'" in answer.headers["content-security-policy"]
            assert answer.headers["retry-after"] == ("7" if status == 503 else None)


def what_is_no_answer_is_502():
    for body, status in ((b"<html>", 200), (b"", 200), (b"[1]", 200), (b'{"a":1', 200), (b'{"a":NaN}', 200), (b'"clip"', 200),
                         (b"{}{}", 200), (b"{}", 204), (b"{}", 201), (b"[" * 100000, 200)):
        upstream.answers(body if status != 204 else b"", status)
        for entries in (FACES, {**CLIP, **FACES}):
            ask(entries).problem(502, "upstream", ("upstream",))
    upstream.take()
    for status in (301, 302, 303, 307, 308):
        upstream.answers(b"", status, Location=upstream.url + "/elsewhere")
        assert "redirects are not followed" in ask(FACES).problem(502)["detail"]
        assert [one[1] for one in upstream.take()] == ["/predict"]
    upstream.answers(b"{" + b" " * (17 << 20) + b"}")
    ask(FACES).problem(502, "upstream", ("more than",))

    def no_http(handler):
        handler.wfile.write(b"\x00\x01 what?\r\n\r\n")
        handler.close_connection = True
    upstream.reply = no_http
    ask(FACES).problem(502, "upstream")

    def cut(handler):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{\"a\":")
        handler.close_connection = True
    upstream.reply = cut
    ask(FACES).problem(502, "upstream")
    upstream.answers(FOUND, 500, "x/y; a=" + "b" * 300)
    assert ask(FACES).status == 500
    upstream.answers(FOUND)
    assert ask(FACES).json == FOUND
    upstream.take()


def while_it_is_slow_others_are_answered():
    """504 after --immich-seconds; all the while searches, pings and CLIP's tasks go on."""
    go = threading.Event()

    def wait(handler):
        go.wait(20)
        handler.close_connection = True
    upstream.reply = wait
    answers, times = [], []
    threads = [threading.Thread(target=lambda: answers.append(ask(FACES))) for _ in range(4)]
    start = time.time()
    for thread in threads:
        thread.start()
    while time.time() - start < 1.2:
        one = time.time()
        assert server.ask("/v1/search?q=red").status == 200 and ask(CLIP).status == 200
        times.append(time.time() - one)
    for thread in threads:
        thread.join()
    took = time.time() - start
    go.set()
    for answer in answers:
        assert "2000 ms" in answer.problem(504, "timeout")["detail"]
    assert len(answers) == 4 and 2 <= took < 8, took
    assert max(times) < (10 if SANITIZED else 2), max(times)
    upstream.answers(FOUND)
    assert ask(FACES).json == FOUND


def a_client_that_leaves_ends_the_request():
    left = threading.Event()

    def wait(handler):
        handler.connection.settimeout(10)
        try:
            left.set() if handler.connection.recv(1) == b"" else None
        except OSError:
            left.set()
        handler.close_connection = True
    own = Immich(home, "--immich-upstream", upstream.url, "--immich-seconds", "60")
    upstream.take()
    upstream.reply = wait
    host = own.immich.split("//")[1].split(":")
    body = f"--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"entries\"\r\n\r\n{json.dumps(OCR)}\r\n--{BOUNDARY}--\r\n"
    sock = socket.create_connection((host[0], int(host[1])), timeout=20)
    sock.sendall(f"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Type: multipart/form-data; boundary={BOUNDARY}\r\n"
                 f"Content-Length: {len(body)}\r\n\r\n{body}".encode())
    while not upstream.seen:
        time.sleep(0.01)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    sock.close()  # a reset
    assert left.wait(5), "the upstream is still asked"
    upstream.answers(FOUND)
    own.stop()


def answers_under_way_are_finished_at_the_end():
    own = Immich(home, "--immich-upstream", upstream.url)
    answers = []
    upstream.take()

    def slow(handler):
        time.sleep(1.5)
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")
    upstream.reply = slow
    thread = threading.Thread(target=lambda: answers.append(own.form({"entries": json.dumps(FACES), "image": PICTURE})))
    thread.start()
    while not upstream.seen:
        time.sleep(0.01)
    own.stop()
    thread.join()
    assert answers[0].status == 200 and answers[0].body == b"{}", answers[0].body
    # one that never ends is given up after the 10 s that are left for answers
    upstream.reply = lambda handler: time.sleep(40)
    own = Immich(home, "--immich-upstream", upstream.url)
    upstream.take()
    failed = []

    def ask_own():
        try:
            own.form({"entries": json.dumps(FACES), "image": PICTURE})
        except OSError as error:
            failed.append(error)
    thread = threading.Thread(target=ask_own)
    thread.start()
    while not upstream.seen:
        time.sleep(0.01)
    start = time.time()
    own.stop()
    thread.join()
    assert 9 < time.time() - start < 20 and failed, (time.time() - start, failed)
    upstream.answers(FOUND)


def no_server_is_502():
    """T82: nor one that may not be asked"""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = Immich(home, "--immich-upstream", f"http://localhost:{port}")
    problem = own.form({"entries": json.dumps(FACES), "image": PICTURE}).problem(502, "upstream", ("localhost",))
    assert "--immich-upstream" in problem["hint"], problem
    assert own.form({"entries": json.dumps(CLIP), "image": PICTURE}).status == 200
    own.stop()
    # an address that no server may have is not even connected to
    own = Immich(home, "--immich-upstream", "http://169.254.169.254:80")
    own.form({"entries": json.dumps(FACES), "image": PICTURE}).problem(502, "url_refused")
    own.stop()


def a_circle_is_gone_once():
    """--immich-upstream names the daemon itself, or one that names it in turn: 501 at once."""
    ports = []
    for _ in range(2):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            ports.append(free.getsockname()[1])
    others = [Immich(serving.library(1), "--immich-upstream", f"http://127.0.0.1:{ports[to]}",
                     listen=f"127.0.0.1:{ports[at]}") for at, to in ((0, 1), (1, 0))]
    start = time.time()
    for own in others:
        for entries in (FACES, {**CLIP, **OCR}):
            problem = own.form({"entries": json.dumps(entries), "image": PICTURE}).problem(501, "unsupported", ("passed it on",))
            assert "not imago" in problem["hint"], problem
    assert time.time() - start < 10, "it went round"
    upstream.take()
    ask(FACES, Via="1.1 fred, 1.1 imago").problem(501)
    assert ask(CLIP, Via="1.1 imago").status == 200 and upstream.take() == []
    assert ask(FACES, Via="1.1 fred").json == FOUND
    for own in others:
        own.stop()


def options_are_read_before_anything_is_served():
    for url, code, word in (("nowhere", 2, "nowhere"), ("", 2, "no URL"), ("ftp://a/", 11, "ftp"), ("file:///etc/passwd", 11, "file"),
                            ("http://a:b@c/", 11, "password"), ("http://a/?b", 2, "more than"), ("http://a/#b", 2, "more than")):
        error = home.error("serve", "--listen", "127.0.0.1:0", "--immich-listen", "127.0.0.1:0", "--immich-upstream", url,
                           code=code, names=(word,))
        assert error["field"] == "--immich-upstream" and "http://HOST:3003" in error["hint"], error
    home.error("serve", "--listen", "127.0.0.1:0", "--immich-upstream", upstream.url, code=2, names=("--immich-listen",))


def connections_are_kept():
    upstream.answers(FOUND)
    before = upstream.connections
    for _ in range(30):
        assert ask(FACES).status == 200
    assert upstream.connections - before <= 4, upstream.connections - before  # one a thread


def the_daemon_stops_well():
    server.stop()
    home.sound()


main([other_tasks_are_passed_on_as_they_came, clips_tasks_are_answered_here, an_entry_with_both_has_both_answers,
      long_and_chunked_bodies_arrive_whole, its_failures_are_passed_back, what_is_no_answer_is_502,
      while_it_is_slow_others_are_answered, a_client_that_leaves_ends_the_request,
      answers_under_way_are_finished_at_the_end, no_server_is_502, a_circle_is_gone_once, connections_are_kept,
      options_are_read_before_anything_is_served, the_daemon_stops_well])
