#!/usr/bin/env python3
"""Who may do what: T72, T78-T80, T85-T87, and the commands that make and revoke keys."""
import contextlib
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import threading
import time

import serving
from serving import Server, read_all
from support import SOURCE, main, need

home = serving.library(6)
HOST = b"Host: localhost\r\n"


def new_key(scope, name=""):
    return json.loads(home.run("key", "add", "--scope", scope, "--name", name, "--json").stdout)


def bearer(key):
    return {"Authorization": "Bearer " + key}


def bare(problem):
    """The body without what differs in each answer."""
    return re.sub(rb'"request_id":"[0-9a-f]+"', b"", problem)


open_server = Server(home)
assert open_server.ask("/v1/library").status == 200  # nobody has made a key yet
assert open_server.ask("/v1/library", **bearer("-")).status == 200
assert home.run("serve", "--listen", "0.0.0.0:0", code=2, timeout=20).stderr.find(b"--listen 0.0.0.0:0") > 0
KEYS = {scope: new_key(scope, scope + " <i>") for scope in ("read", "write", "admin")}
# the first key locks a daemon that runs already, at the next request
assert open_server.ask("/v1/library").status == 401
open_server.stop()
server = Server(home, "-v")
LOG = []
reader = threading.Thread(target=lambda: LOG.append(server.process.stderr.read()))
reader.start()  # a pipe that nobody empties would stop the server


def get(path="/v1/library", key=None):
    return server.ask(path, **(bearer(key) if key else {}))


def every_route_asks_for_its_scope():
    """T80: the table is what the server itself tells of its routes."""
    spec = server.ask("/openapi.json").json
    assert spec["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    order = ["public", "read", "write", "admin"]
    n = 0
    for path, operations in spec["paths"].items():
        for method, operation in operations.items():
         security = operation["security"]  # KeyError: a route that says nothing
         assert security == [] or (len(security) == 1 and len(security[0]["key"]) == 1), (path, security)
         need = order.index(security[0]["key"][0]) if security else 0
         where = re.sub(r"\{[a-z]+\}", "999999", path)
         body = b"x" if "requestBody" in operation else None
         for has, scope in enumerate(order):
             headers = {} if has == 0 else bearer(KEYS[scope]["key"])
             answer = server.ask(where, body=body, method=method.upper(),
                                 Content_Type="text/nothing", **headers)
             if has < need:
                 answer.problem(401 if has == 0 else 403, "key_needed" if has == 0 else "key_scope")
             else:
                 assert answer.status not in (401, 403), (method, path, scope, answer.body)
             n += 1
    public = {path for path, ops in spec["paths"].items() for op in ops.values() if not op["security"]}
    assert public >= {"/health", "/openapi.json"}
    assert not any(path.startswith("/v1/") for path in public), public
    assert n >= 48, n


def wrong_credentials_have_one_answer():
    """T78"""
    good = KEYS["read"]["key"].encode()
    # addresses of their own: this is not about the count of attempts
    seen = set()
    shapes = [b"", b"Authorization: \r\n", b"Authorization: Bearer\r\n", b"Authorization: Bearer \r\n",
           b"Authorization: Bearer wrong\r\n", b"Authorization: Basic " + good + b"\r\n",
           b"Authorization: Bearer " + good[:-1] + b"\r\n", b"Authorization: Bearer " + good + b"0\r\n",
           b"Authorization: Bearer " + good.upper() + b"\r\n",
           b"Authorization: Bearer " + good + b"\0\r\n", b"Authorization: Bearer \0" + good + b"\r\n",
           b"Authorization: Bearer " + b"k" * 16000 + b"\r\n",
           (b"Authorization: Bearer " + good + b"\r\n") * 2,
           b"Authorization: Bearer wrong\r\nAuthorization: Bearer " + good + b"\r\n",
           b"Authorization: Bearer " + good + b"\r\nauthorization: x\r\n",
           b"Authorization: Bearer " + good + b", Bearer " + good + b"\r\n"]
    for i, shape in enumerate(shapes):
        with socket.socket() as sock:
         sock.settimeout(10)
         sock.bind((f"127.0.1.{i + 1}", 0))
         sock.connect(("127.0.0.1", server.port))
         sock.sendall(b"GET /v1/library HTTP/1.1\r\n" + HOST + shape + b"Connection: close\r\n\r\n")
         answers, _ = read_all(sock)
        assert len(answers) == 1, (shape[:60], answers)
        answers[0].problem(401, "key_needed")
        assert answers[0].headers["www-authenticate"].startswith("Bearer"), answers[0].headers
        seen.add(bare(answers[0].body))
    assert len(seen) == 1, seen
    # the scheme's letters may be of any case, blanks around are trimmed
    answers, _ = server.raw(b"GET /v1/library HTTP/1.1\r\n" + HOST + b"authorization:\tbEARER " + good +
                         b" \r\nConnection: close\r\n\r\n")
    assert [a.status for a in answers] == [200]
    # a line end within it is no key, whatever a proxy thinks of it
    answers, closed = server.raw(b"GET /v1/library HTTP/1.1\r\n" + HOST + b"Authorization: Bearer " + good +
                              b"\rX: y\r\n\r\n")
    assert closed and [a.status for a in answers] == [400]


def a_key_in_the_address_is_no_key():
    key = KEYS["admin"]["key"]
    for name in ("key", "api_key", "access_token"):
        server.ask(f"/v1/library?{name}={key}").problem(401, "key_needed")
        problem = server.ask(f"/v1/library?{name}={key}", **bearer(key)).problem(400, "http_parameter", [name])
        assert key not in json.dumps(problem)
    assert key.encode() not in server.ask(f"/v1/{key}/x").body


def a_revoked_key_stops_on_open_connections():
    key = new_key("read", "short")
    request = (b"GET /v1/library HTTP/1.1\r\n" + HOST + b"Authorization: Bearer " + key["key"].encode() +
            b"\r\n\r\n")

    def status(sock):
        sock.sendall(request)
        head = b""
        while b"\r\n\r\n" not in head:
         head += sock.recv(65536)
        size = int(re.search(rb"Content-Length: (\d+)", head).group(1))
        body = head.partition(b"\r\n\r\n")[2]
        while len(body) < size:
         body += sock.recv(65536)
        return int(head.split()[1])

    with server.connect() as sock:
        assert status(sock) == 200
        home.run("key", "revoke", str(key["id"]))
        assert status(sock) == 401
    over = server.ask("/v1/keys", {"scope": "read", "name": "x"}, **bearer(KEYS["admin"]["key"]))
    assert over.status == 201, over.body
    with server.connect() as sock:
        request = request.replace(key["key"].encode(), over.json["key"].encode())
        assert status(sock) == 200
        done = server.ask(f"/v1/keys/{over.json['id']}", method="DELETE", **bearer(KEYS["admin"]["key"]))
        assert done.status == 200, done.body
        assert status(sock) == 401


def keys_are_made_and_listed_over_http():
    admin = bearer(KEYS["admin"]["key"])
    listed = server.ask("/v1/keys", **admin).json["keys"]
    assert listed == json.loads(home.run("key", "list", "--json").stdout)["keys"]
    assert [k["scope"] for k in listed[:3]] == ["read", "write", "admin"]
    assert not any("imago_" in json.dumps(k) for k in listed)
    for body in ({}, {"scope": "root"}, {"scope": 1}, {"scope": "read", "x": 1}, [], "x",
              {"scope": "read", "name": "a\nb"}, {"scope": "read", "name": "n" * 101},
              {"scope": "read\0"}, b"{", b'{"scope":"read","scope":"admin"}'):
        server.ask("/v1/keys", body, **admin).problem(400)
    server.ask("/v1/keys/99999", method="DELETE", **admin).problem(404, "key_not_found", ["99999"])
    server.ask("/v1/keys/x", method="DELETE", **admin).problem(400)
    assert server.ask("/v1/keys", **admin).json["keys"] == listed


def commands_of_keys():
    home.run("key", "add", code=2)
    home.run("key", "add", "--scope", "all", code=2)
    home.run("key", "add", "--scope", "read", "--name", "x" * 101, code=2)
    home.run("key", "revoke", "x", code=2)
    home.run("key", "revoke", code=2)
    home.run("key", "revoke", "99999", code=3)
    done = home.run("key", "add", "--scope", "read")
    assert re.fullmatch(rb"imago_[0-9a-f]{64}\n", done.stdout), done.stdout
    lines = home.run("key", "list").stdout.decode().splitlines()
    assert lines[0].split("\t")[:2] == ["1", "read"] and lines[0].endswith("read <i>"), lines
    # no file of the library holds a key
    for parent, _, files in os.walk(home.library):
        for name in files:
         with open(os.path.join(parent, name), "rb") as file:
             data = file.read()
         for key in KEYS.values():
             assert key["key"].encode() not in data and key["key"][6:].encode() not in data, name


def bodies_of_strangers_are_not_invited():
    """T72"""
    head = (b"POST /v1/search HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\nContent-Length: 2\r\n"
         b"Expect: 100-continue\r\n")
    answers, closed = server.raw(head + b"\r\n")
    assert closed and [a.status for a in answers] == [401]
    with server.connect() as sock:
        sock.sendall(head + b"Authorization: Bearer " + KEYS["read"]["key"].encode() + b"\r\n\r\n")
        assert sock.recv(4096).startswith(b"HTTP/1.1 100 ")


def who_guesses_is_slowed_down():
    """T79"""
    def ask(address, key):
        with socket.socket() as sock:
         sock.settimeout(10)
         sock.bind((address, 0))
         sock.connect(("127.0.0.1", server.port))
         sock.sendall(b"GET /v1/library HTTP/1.1\r\n" + HOST + b"Authorization: Bearer " + key.encode() +
                      b"\r\nX-Forwarded-For: 10.1.2.3\r\nConnection: close\r\n\r\n")
         return read_all(sock)[0][0]

    good = KEYS["read"]["key"]
    statuses = [ask("127.0.2.1", f"wrong{i}").status for i in range(25)]
    assert statuses == [401] * 20 + [429] * 5, statuses
    late = ask("127.0.2.1", "wrong")
    late.problem(429, "key_attempts")
    assert 1 <= int(late.headers["retry-after"]) <= 60
    assert ask("127.0.2.1", good).status == 200  # behind a proxy all have one address
    assert ask("127.0.2.2", good).status == 200 and ask("127.0.2.2", "wrong").status == 401


def pages_of_others_change_nothing():
    """T85"""
    admin = bearer(KEYS["admin"]["key"])
    before = server.ask("/v1/keys", **admin).json
    port = server.port
    for origin in ("http://evil", "null", f"http://127.0.0.1:{port}.evil", f"http://127.0.0.1:{port + 1}",
                f"http://localhost:{port}", "http://127.0.0.1", f"ftp://127.0.0.1:{port}", "",
                f"http://127.0.0.1:{port}/", f"http://127.0.0.1:{port} http://evil"):
        for kind in ("application/json", "text/plain", "application/x-www-form-urlencoded",
                  "multipart/form-data; boundary=x"):
         answer = server.ask("/v1/keys", b'{"scope":"admin"}', Origin=origin, Content_Type=kind, **admin)
         answer.problem(403, "origin_refused")
         assert "access-control-allow-origin" not in answer.headers
        server.ask("/v1/keys/1", method="DELETE", Origin=origin, **admin).problem(403, "origin_refused")
        answer = server.ask("/v1/library", Origin=origin, **admin)
        assert answer.status == 200 and "access-control-allow-origin" not in answer.headers
    preflight = server.ask("/v1/keys", method="OPTIONS", Origin="http://evil",
                        Access_Control_Request_Method="POST", **admin)
    assert preflight.status == 405 and not any(h.lower().startswith("access-control") for h in preflight.headers)
    assert server.ask("/v1/keys", **admin).json == before
    own = server.ask("/v1/search", {"parts": [{"text": "red"}]}, Origin=f"http://127.0.0.1:{port}", **admin)
    assert own.status == 200, own.body


def hosts():
    """T86, and what --host adds"""
    def status(on, port, host, key=None):
        with socket.create_connection((on, port), timeout=10) as sock:
         extra = b"Authorization: Bearer " + key.encode() + b"\r\n" if key else b""
         sock.sendall(b"GET /v1/library HTTP/1.1\r\nHost: " + host + b"\r\n" + extra +
                      b"X-Forwarded-Host: localhost\r\nConnection: close\r\n\r\n")
         return read_all(sock)[0][0].status

    key = KEYS["read"]["key"]
    for host in (b"evil.example", b"127.0.0.1.nip.io", b"[::1%25lo]", b"127.0.0.2", b"2130706433", b"0x7f000001",
              b"localhost.", b"0.0.0.0"):
        assert status("127.0.0.1", server.port, host, key) == 421, host
    for host in (b"localhost", b"LOCALHOST:1", b"127.0.0.1", b"[::1]:%d" % server.port):
        assert status("127.0.0.1", server.port, host, key) == 200, host
    other = Server(home, "--listen", "127.0.0.2:0", "--listen", "0.0.0.0:0", "--listen", "[::1]:0",
                "--host", "Photos.example", "--host", "b.example", env={"XDG_RUNTIME_DIR": ""})
    urls = [other.url] + [other.process.stderr.readline().decode().split()[-1] for _ in range(3)]
    ports = [int(url.rsplit(":", 1)[1]) for url in urls]
    assert urls[3].startswith("http://[::1]:") and urls[2].startswith("http://0.0.0.0:"), urls
    for on, port in (("127.0.0.1", ports[0]), ("127.0.0.2", ports[1]), ("127.0.0.1", ports[2]), ("::1", ports[3])):
        assert status(on, port, b"photos.EXAMPLE:443", key) == 200
        assert status(on, port, b"b.example", key) == 200
        assert status(on, port, b"c.example", key) == 421
        assert status(on, port, b"localhost", key) == 200
        assert status(on, port, b"localhost") == 401
    assert status("127.0.0.2", ports[1], b"127.0.0.2", key) == 200
    assert status("127.0.0.2", ports[1], b"127.0.0.3", key) == 421
    # an address that others reach: what it is called there
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
         probe.connect(("192.0.2.1", 9))
         own = probe.getsockname()[0]
        except OSError:
         own = None
    if own and not own.startswith("127."):
        assert status(own, ports[2], own.encode(), key) == 200
        assert status(own, ports[2], own.encode()) == 401
        assert status(own, ports[2], b"localhost", key) == 421
        assert status(own, ports[2], b"127.0.0.1", key) == 421
    other.stop()


def what_is_not_an_address_is_refused():
    for listen in ("x", "127.0.0.1", "127.0.0.1:99999", "example.org:80", ":80", "[127.0.0.1]:0", "::1:0"):
        done = home.run("serve", "--listen", "127.0.0.1:0", "--listen", listen, code=2, timeout=20)
        assert f"--listen {listen}".encode() in done.stderr, done.stderr
    done = home.run("serve", *["--listen", "127.0.0.1:0"] * 17, code=2, timeout=20)
    assert b"--listen" in done.stderr


def without_valid_keys_nobody_else_is_let_in():
    """A library whose keys are all revoked stays locked."""
    global home
    kept = home
    try:
        home = serving.library(3)
        key = new_key("admin")
        home.run("key", "revoke", str(key["id"]))
        assert b"--listen 0.0.0.0:0" in home.run("serve", "--listen", "0.0.0.0:0", code=2, timeout=20).stderr
        locked = Server(home, env={"XDG_RUNTIME_DIR": ""})
        assert locked.ask("/health").status in (200, 503)
        locked.ask("/v1/library").problem(401)
        locked.ask("/v1/library", **bearer(key["key"])).problem(401)
        locked.stop()
    finally:
        home = kept


def many_ask_while_keys_change():
    admin, stop, wrong = bearer(KEYS["admin"]["key"]), threading.Event(), []

    def ask(key, expected):
        while not stop.is_set():
         status = server.ask("/v1/library", **bearer(key)).status
         if status != expected:
             wrong.append((key[:9], status))

    threads = [threading.Thread(target=ask, args=(KEYS["read"]["key"], 200)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(20):
        made = server.ask("/v1/keys", {"scope": "write"}, **admin).json
        assert server.ask("/v1/library", **bearer(made["key"])).status == 200
        server.ask(f"/v1/keys/{made['id']}", method="DELETE", **admin)
        assert server.ask("/v1/library", **bearer(made["key"])).status in (401, 429)
    stop.set()
    for thread in threads:
        thread.join()
    assert not wrong, wrong[:5]


def the_proxy_of_the_manual_works():
    """nginx with the lines of docs/manual.md, over TLS."""
    nginx = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")
    need(nginx and shutil.which("openssl"), "nginx and openssl")
    with open(SOURCE / "docs/manual.md") as file:
        snippet = re.search(r"```nginx\n(.*?)```", file.read(), re.S).group(1)
    folder = os.path.join(home.base, "proxy")
    os.mkdir(folder)
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=photos.example",
                    "-addext", "subjectAltName=DNS:photos.example", "-keyout", folder + "/k", "-out", folder + "/c"],
                   check=True, capture_output=True)
    behind = Server(home, "--host", "photos.example")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    for old, new in (("443 ssl", f"127.0.0.1:{port} ssl"), ("/etc/ssl/photos.example.pem", folder + "/c"),
                     ("/etc/ssl/private/photos.example.key", folder + "/k"), ("127.0.0.1:7070", f"127.0.0.1:{behind.port}")):
        assert old in snippet, old
        snippet = snippet.replace(old, new)
    with open(folder + "/conf", "w") as file:
        file.write(f"user root;\ndaemon off;\npid {folder}/pid;\nerror_log stderr;\nevents {{}}\nhttp {{\naccess_log off;\n" +
                   "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in
                           ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")) + snippet + "}\n")
    proxy = subprocess.Popen([nginx, "-p", folder, "-c", folder + "/conf", "-e", "stderr"], stderr=subprocess.DEVNULL)
    context = ssl.create_default_context(cafile=folder + "/c")

    def ask(host, path="/v1/library", method="GET", body=b"", **headers):
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        with context.wrap_socket(socket.create_connection(("127.0.0.1", port), timeout=20),
                                 server_hostname="photos.example") as sock:
            sock.sendall(f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n"
                         f"Content-Length: {len(body)}\r\n{lines}\r\n".encode() + body)
            data = b""
            while piece := sock.recv(65536):
                data += piece
        return int(data.split()[1])

    try:
        for _ in range(100):
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            time.sleep(0.1)
        auth = bearer(KEYS["admin"]["key"])
        assert ask(f"photos.example:{port}") == 401
        assert ask(f"photos.example:{port}", **auth) == 200
        assert ask("other.example", **auth) == 421
        search = json.dumps({"parts": [{"text": "red"}]}).encode()
        for origin, status in ((f"https://photos.example:{port}", 200), ("https://evil.example", 403)):
            assert ask(f"photos.example:{port}", "/v1/search", "POST", search, Origin=origin,
                       **{"Content-Type": "application/json"}, **auth) == status, origin
    finally:
        proxy.terminate()
        proxy.wait(timeout=20)
        behind.stop()


def no_key_is_in_a_log():
    """Last: the server's whole log, /metrics, its arguments and environment."""
    admin = KEYS["admin"]["key"]
    metrics = get("/metrics", admin).body.decode()
    for name in ("cmdline", "environ"):
        with open(f"/proc/{server.process.pid}/{name}", "rb") as file:
         assert b"imago_" not in file.read()
    server.ask("/v1/library", User_Agent="a\x1b[31m" + admin, **bearer(admin))
    time.sleep(0.3)
    server.process.terminate()
    reader.join(timeout=30)
    assert server.process.wait(timeout=30) == 0
    log = LOG[0].decode()
    assert log.count('"event":"request"') > 200, len(log)
    for key in KEYS.values():
        for text in (metrics, log):
            assert key["key"] not in text and key["key"][6:] not in text
    assert "imago_" not in log.replace("imago_" + "*" * 64, ""), [line for line in log.splitlines() if "imago_" in line]
    assert "\x1b" not in log and all(line.startswith("{") for line in log.splitlines() if line and not line.startswith("imago: finishing"))


main([every_route_asks_for_its_scope, wrong_credentials_have_one_answer, a_key_in_the_address_is_no_key,
      a_revoked_key_stops_on_open_connections, keys_are_made_and_listed_over_http, commands_of_keys,
      bodies_of_strangers_are_not_invited, who_guesses_is_slowed_down, pages_of_others_change_nothing, hosts,
      what_is_not_an_address_is_refused, without_valid_keys_nobody_else_is_let_in,
      many_ask_while_keys_change, the_proxy_of_the_manual_works, no_key_is_in_a_log])
