"""What the end-to-end tests of app/ share: a tiny model, small pictures, and the program."""
import json
import os
import pathlib
import random
import struct
import subprocess
import sys
import tempfile
import zlib

PROGRAM = os.path.abspath(sys.argv[1])
SOURCE = pathlib.Path(sys.argv[2]).resolve()
MODEL = str(SOURCE / "tests/golden/encoder/f32-quick-gelu")


def png(seed, width=24, height=18):
    rng = random.Random(seed)
    rows = b"".join(b"\0" + bytes(rng.randrange(256) for _ in range(3 * width)) for _ in range(height))

    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) +
            chunk(b"IEND", b""))


def environment(base):
    """No calibration pictures: preparing the model takes no time, scores are plain cosines."""
    data = pathlib.Path(base) / "share"
    (data / "models").mkdir(parents=True, exist_ok=True)
    env = dict(os.environ, IMAGO_DATA=str(data), XDG_DATA_HOME=str(base), HOME=str(base))
    env.pop("IMAGO_LIBRARY", None)
    return env


class Imago:
    def __init__(self):
        self.base = tempfile.mkdtemp(prefix="imago-app-")
        self.library = os.path.join(self.base, "library")
        self.pictures = os.path.join(self.base, "pictures")
        os.mkdir(self.pictures)
        self.env = environment(self.base)

    def command(self, *args):
        return [PROGRAM, args[0], "--library", self.library, *map(os.fspath, args[1:])]

    def run(self, *args, code=0, env=None, timeout=120):
        done = subprocess.run(self.command(*args), env=dict(self.env, **(env or {})),
                              capture_output=True, timeout=timeout)
        if code is not None and done.returncode != code:
            raise AssertionError(f"{args}: exit {done.returncode}, expected {code}: "
                                 f"{done.stderr.decode(errors='replace')[-600:]}")
        return done

    def add(self, *paths, code=0, **kw):
        done = self.run("add", "--json", "--yes", "--model", MODEL, *(paths or (self.pictures,)),
                        code=code, **kw)
        lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith(b"{")]
        return next((line for line in lines if line.get("event") == "done"), None), lines

    def status(self):
        return json.loads(self.run("status", "--json").stdout)

    def picture(self, name, seed):
        path = os.path.join(self.pictures, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(png(seed))
        return path


def main(tests):
    failed = 0
    for test in tests:
        print(f"[ RUN      ] {test.__name__}", flush=True)
        try:
            test()
            print(f"[       OK ] {test.__name__}", flush=True)
        except Exception as error:  # a failed test must not stop its neighbours
            failed += 1
            print(f"[  FAILED  ] {test.__name__}: {error!r}", flush=True)
    print(f"{len(tests) - failed} passed, {failed} failed")
    sys.exit(failed != 0)
