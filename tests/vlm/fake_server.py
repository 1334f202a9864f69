"""A server on loopback that plays a vision-language model: judges by a function of the tests, plays
recorded answers, and misbehaves on demand. Counts what it is asked."""
import base64
import http.server
import json
import math
import pathlib
import socket
import struct
import threading
import time

ANSWERS = pathlib.Path(__file__).resolve().parent / "answers"
SPELLINGS = {"yes": (0.7, ["yes", "Yes", " yes"]), "no": (0.7, ["no", "No", " no"])}


def jpeg_size(data):
    """Width and height from the frame header."""
    at = 2
    while at + 9 < len(data):
        marker, size = data[at + 1], struct.unpack(">H", data[at + 2:at + 4])[0]
        if 0xC0 <= marker <= 0xC2:
            height, width = struct.unpack(">HH", data[at + 5:at + 9])
            return width, height
        at += 2 + size
    raise AssertionError("no JPEG")


def pictures_of(body):
    """The JPEGs of a request, whatever its form; nothing but JPEG data URIs or bare base64 may be."""
    found = []

    def walk(value, key=None):
        if isinstance(value, dict):
            for name, inner in value.items():
                walk(inner, name)
        elif isinstance(value, list):
            for inner in value:
                walk(inner, key)
        elif key == "url":
            assert value.startswith("data:image/jpeg;base64,"), value[:60]
            found.append(base64.b64decode(value.split(",", 1)[1], validate=True))
        elif key in ("data", "image", "data_base64"):
            found.append(base64.b64decode(value, validate=True))
    walk(body)
    return found


def text_of(body):
    if "query" in body:
        return body["query"]
    if "questions" in body:
        return body["questions"]["match"]["instructions"]
    parts = body["contents"][0]["parts"] if "contents" in body else body["messages"][0]["content"]
    return "".join(part.get("text", "") for part in parts)


def labels(p):
    """A list of tokens whose yes and no have P(yes) = p and mass 0.98."""
    out = []
    for label, share in (("yes", p), ("no", 1 - p)):
        for token, part in zip(SPELLINGS[label][1], (0.6, 0.3, 0.1)):
            prob = max(0.98 * share * part, 1e-12)
            out.append({"token": token, "bytes": list(token.encode()), "logprob": math.log(prob)})
    out.append({"token": "", "bytes": [], "logprob": math.log(0.02)})
    return sorted(out, key=lambda entry: -entry["logprob"])


def chat(content, logprobs=None, finish="stop"):
    choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": finish}
    if logprobs is not None:
        choice["logprobs"] = {"content": [dict(logprobs[0], top_logprobs=logprobs)]}
    return {"object": "chat.completion", "choices": [choice],
            "usage": {"prompt_tokens": 92, "completion_tokens": 1, "total_tokens": 93}}


class FakeServer:
    """judge(query, (width, height)) gives P(yes) of a picture. `act`, when set, answers a request its
    own way: it gets the handler and the body."""

    def __init__(self, judge=lambda query, size: 0.5, profile="llama-server"):
        self.judge, self.profile, self.act = judge, profile, None
        self.requests, self.bodies, self.heads, self.pictures = [], [], [], []
        self.lock = threading.Lock()
        fake = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def do_GET(self):
                fake.answer(self, None)

            def do_POST(self):
                data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                fake.answer(self, data)

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

            def handle_error(self, request, client_address):
                pass  # clients may go away

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def forget(self):
        with self.lock:
            self.requests, self.bodies, self.heads, self.pictures = [], [], [], []

    @property
    def judged(self):
        return [path for path in self.requests if path.startswith("POST") and "tokenize" not in path]

    def answer(self, handler, data):
        body = json.loads(data) if data else None
        with self.lock:
            self.requests.append(f"{handler.command} {handler.path}")
            self.bodies.append(data or b"")
            self.heads.append(str(handler.headers))
            if body is not None and "tokenize" not in handler.path:
                self.pictures += pictures_of(body)
        if self.act is not None:
            self.act(handler, body)
            return
        status, answer = self.route(handler.path, body)
        send(handler, answer, status)

    def route(self, path, body):
        owners = {"llama-server": "llamacpp", "vllm": "vllm", "ollama": "library", "openai": "system"}
        if path == "/v1/models":
            if self.profile not in owners:
                return 500, "Internal Server Error"
            return 200, {"object": "list", "data": [{"id": "tiny", "owned_by": owners[self.profile]}]}
        if path == "/tokenize" and self.profile == "vllm":
            spelled = ["yes", " yes", "Yes", " Yes", "YES", " YES", "no", " no", "No", " No", "NO", " NO"]
            assert body["add_special_tokens"] is False
            return 200, {"tokens": [300 + spelled.index(body["prompt"])]}
        if path == "/v1/rerank":
            return self.rerank(body)
        if body is None:
            return 404, {"error": {"message": "no such route"}}
        size = jpeg_size(pictures_of(body)[0])
        p = self.judge(text_of(body), size)
        if path == "/v1/systemone" and self.profile == "transformers":
            return 200, {"answers": {"match": {"type": "noul", "noul": p}},
                         "usage": {"input_tokens": 97, "output_tokens": 0}}
        if path.endswith(":generateContent") and self.profile == "gemini":
            return self.gemini(body, p)
        if path != "/v1/chat/completions":
            return 404, {"error": {"message": "no such route"}}
        return self.chat(body, p)

    def chat(self, body, p):
        if self.profile == "transformers" and not set(body) <= {"model", "messages", "max_tokens",
                                                               "temperature", "logprobs", "top_logprobs"}:
            return 422, {"detail": "Unexpected fields in the request"}
        if self.profile == "openai" and "max_tokens" in body:
            return 400, {"error": {"message": "Unsupported parameter: 'max_tokens'"}}
        if "response_format" in body:
            return 200, chat(json.dumps({"score": round(10 * p)}))
        if body.get("logprobs") and self.profile != "transformers":
            entries = labels(p)
            if "logprob_token_ids" in body:
                assert body["logprob_token_ids"] == list(range(300, 312)), body["logprob_token_ids"]
            return 200, chat("yes" if p > 0.5 else "no", entries, "length")
        return 200, chat("yes" if p > 0.5 else "no", None, "length")

    def gemini(self, body, p):
        config = body["generationConfig"]
        if config.get("responseLogprobs"):
            return 400, {"error": {"code": 400, "message": "Logprobs is not enabled for this model."}}
        return 200, {"candidates": [{"content": {"parts": [
            {"text": "hm", "thought": True}, {"text": json.dumps({"score": round(10 * p)})}]},
            "finishReason": "STOP"}], "usageMetadata": {"totalTokenCount": 290}}

    def rerank(self, body):
        jina = self.profile == "jina"
        if self.profile not in ("rerank", "jina") or jina != ("image" in body["documents"][0]):
            return 400, {"message": "no such form"}
        sizes = [jpeg_size(picture) for picture in pictures_of(body)]
        results = [{"index": i, "relevance_score": self.judge(body["query"], size)}
                   for i, size in enumerate(sizes)]
        results.sort(key=lambda result: -result["relevance_score"])
        return 200, {"results": results, "usage": {"total_tokens": 204}}


def send(handler, answer, status=200, headers=()):
    data = answer if isinstance(answer, bytes) else (
        answer.encode() if isinstance(answer, str) else json.dumps(answer).encode())
    handler.send_response(status)
    kind = "application/json" if not isinstance(answer, str) else "text/plain"
    for name, value in (("Content-Type", kind), ("Content-Length", str(len(data))), *headers):
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(data)


# ---- ways to misbehave: values for FakeServer.act ----

def plays(name):
    """A recorded or hand-made answer."""
    case = json.loads((ANSWERS / f"{name}.json").read_text())
    response = case["response"]
    if "body_file" in response:
        data = (ANSWERS / name.split("/")[0] / response["body_file"]).read_bytes()
    elif "body" in response:
        data = json.dumps(response["body"]).encode()
    else:
        data = response.get("raw_body", "").encode()
    keep = [(key, value) for key, value in response.get("headers", {}).items() if key == "retry-after"]
    return lambda handler, body: send(handler, data, response.get("status", 200), keep)


def says(answer, status=200, headers=()):
    return lambda handler, body: send(handler, answer, status, headers)


def silent(handler, body):
    time.sleep(30)


def head_then_silence(handler, body):
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
    handler.wfile.flush()
    time.sleep(30)


def drips(handler, body):
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
    for _ in range(30):
        handler.wfile.write(b" ")
        handler.wfile.flush()
        time.sleep(1)


def cuts(handler, body):
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{\"choices\":[")
    handler.wfile.flush()
    handler.connection.shutdown(socket.SHUT_RDWR)
    handler.close_connection = True


def resets(handler, body):
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()
    handler.close_connection = True


def huge(handler, body):
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
    block = b"x" * 65536
    for _ in range(1600):
        handler.wfile.write(block)


def endless_stream(handler, body):
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
    for _ in range(300):
        handler.wfile.write(b'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n')
        handler.wfile.flush()
        time.sleep(0.1)


# ---- questions: values for FakeServer.act that answer in words, at once or as a stream ----

def delta(text, gemini=False, **more):
    if gemini:
        return {"candidates": [{"content": {"parts": [{"text": text}]}, **more}]}
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None, **more}]}


def begin_stream(handler):
    handler.send_response(200)
    handler.send_header("Content-Type", "text/event-stream")
    handler.send_header("Connection", "close")
    handler.end_headers()
    handler.close_connection = True


def event(handler, value):
    handler.wfile.write(b"data: " + (value if isinstance(value, bytes) else json.dumps(value).encode()) + b"\n\n")
    handler.wfile.flush()


def streams(handler, text, pause=0.0, step=4, gemini=False):
    begin_stream(handler)
    for at in range(0, len(text), step):
        event(handler, delta(text[at:at + step], gemini))
        time.sleep(pause)
    if gemini:
        event(handler, dict(delta("", True, finishReason="STOP"), usageMetadata={"totalTokenCount": 120}))
        return
    event(handler, {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    event(handler, {"choices": [], "usage": {"total_tokens": 120}})
    event(handler, b"[DONE]")


def tells(text, pause=0.0, step=4):
    """Answers each question with this text (or what it makes of the request's body)."""
    def act(handler, body):
        said = text(body) if callable(text) else text
        said = said if isinstance(said, str) else json.dumps(said, ensure_ascii=False)
        gemini = "enerateContent" in handler.path
        if body.get("stream") or "streamGenerateContent" in handler.path:
            streams(handler, said, pause, step, gemini)
        elif gemini:
            send(handler, dict(delta(said, True, finishReason="STOP"), usageMetadata={"totalTokenCount": 120}))
        else:
            send(handler, dict(chat(said), usage={"total_tokens": 120}))
    return act
