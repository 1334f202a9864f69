"""What the tests of daemon/ share: a served library, requests whole and raw."""
import atexit
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "app"))
from support import Imago  # noqa: E402


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)

    def problem(self, status, code=None, names=()):
        """It must be a whole problem of this status and code whose sentence names these."""
        assert self.status == status, (self.status, self.body)
        assert self.headers["content-type"] == "application/problem+json", self.headers
        problem = self.json
        for key in ("type", "title", "status", "detail", "code", "class", "request_id"):
            assert key in problem, (key, problem)
        assert problem["status"] == status
        assert code is None or problem["code"] == code, problem
        for name in names:
            assert name in problem["detail"], problem
        return problem


class Server:
    def __init__(self, home, *args, env=None):
        self.home = home
        self.process = subprocess.Popen(home.command("serve", "--listen", "127.0.0.1:0", *args),
                                        env=dict(home.env, **(env or {})), stderr=subprocess.PIPE)
        atexit.register(self.end)
        line = self.process.stderr.readline().decode()
        assert "listening on http://" in line, (line, self.process.poll())
        self.url = line.split()[-1].rstrip('"}')
        self.port = int(self.url.rsplit(":", 1)[1])
        self.log = b""

    def end(self):
        """A test that failed half way must not leave its server behind."""
        if self.process.poll() is None:
            self.process.kill()

    def ask(self, path, body=None, method=None, **headers):
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        if data is not None:
            names.setdefault("Content-Type", "application/json")
        request = urllib.request.Request(self.url + path, data=data, headers=names, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return Answer(answer.status, answer.headers, answer.read())
        except urllib.error.HTTPError as answer:
            return Answer(answer.code, answer.headers, answer.read())

    def connect(self, timeout=15):
        return socket.create_connection(("127.0.0.1", self.port), timeout=timeout)

    def raw(self, data, half_close=False, timeout=15):
        """All answers to these bytes on one connection, and whether the server closed it."""
        with self.connect(timeout) as sock:
            with contextlib.suppress(ConnectionError):
                sock.sendall(data)
                if half_close:
                    sock.shutdown(socket.SHUT_WR)
            return read_all(sock)

    def rss_kib(self):
        with open(f"/proc/{self.process.pid}/status") as status:
            return int(next(line for line in status if line.startswith("RssAnon")).split()[1])

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def descriptors_at_rest(self):
        """When the connections of earlier requests have ended."""
        before = self.descriptors()
        while True:
            time.sleep(0.2)
            now = self.descriptors()
            if now == before:
                return now
            before = now

    def stop(self, code=0, told=False):
        """told: it has its signal already; a second one would end it at once."""
        if self.process.poll() is None and not told:
            self.process.send_signal(signal.SIGTERM)
        self.log += self.process.stderr.read()
        assert self.process.wait(timeout=30) == code, (self.process.returncode, self.log[-2000:])


class Immich(Server):
    """Also answers Immich, on a second address: self.immich."""

    def __init__(self, home, *args, listen="127.0.0.1:0"):
        super().__init__(home, "--immich-listen", listen, *args)
        line = ""
        while "for Immich on http://" not in line:
            line = self.process.stderr.readline().decode()
            assert line, self.process.poll()
        self.immich = line.split()[-1].rstrip('"}')

    def form(self, parts, path="/predict", **headers):
        """As undici writes a FormData: a Blob has a file name, a text has none."""
        body = b""
        for name, value in parts.items():
            blob = isinstance(value, bytes)
            body += (b'------formdata-undici-012345678901\r\nContent-Disposition: form-data; name="' + name.encode() + b'"' +
                     (b'; filename="blob"\r\nContent-Type: application/octet-stream' if blob else b"") + b"\r\n\r\n" +
                     (value if blob else value.encode()) + b"\r\n")
        body += b"------formdata-undici-012345678901--\r\n"
        return self.to_immich(path, body, **{
            "Content-Type": "multipart/form-data; boundary=----formdata-undici-012345678901", **headers})

    def to_immich(self, path, body=None, **headers):
        request = urllib.request.Request(self.immich + path, data=body, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return Answer(answer.status, answer.headers, answer.read())
        except urllib.error.HTTPError as answer:
            return Answer(answer.code, answer.headers, answer.read())


def read_all(sock):
    """Answers until the server closes or is silent for the socket's timeout."""
    data = b""
    closed = False
    with contextlib.suppress(TimeoutError, socket.timeout):
        while True:
            try:
                piece = sock.recv(65536)
            except ConnectionResetError:
                closed = True
                break
            if not piece:
                closed = True
                break
            data += piece
    return split_answers(data), closed


def split_answers(data):
    answers = []
    while data:
        head, _, rest = data.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        assert lines[0].startswith(b"HTTP/1.1 "), lines[0][:80]
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(b":")
            headers[name.decode().lower()] = value.strip().decode()
        size = int(headers.get("content-length", "0"))
        status = int(lines[0].split()[1])
        size = 0 if status == 100 else size
        assert len(rest) >= size, (status, len(rest), size)
        answers.append(Answer(status, headers, rest[:size]))
        data = rest[size:]
    return answers


def library(n=24):
    home = Imago()
    for i in range(n):
        home.picture(f"d{i % 3}/{i:02}.png", i)
    home.add()
    return home
