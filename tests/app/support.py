"""What the end-to-end tests of app/ share: a tiny model, small pictures, and the program."""
import atexit
import contextlib
import hashlib
import json
import os
import pathlib
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import zlib

PROGRAM = os.path.abspath(sys.argv[1])
SOURCE = pathlib.Path(sys.argv[2]).resolve()
MODEL = str(SOURCE / "tests/golden/encoder/f32-quick-gelu")
LONG = os.environ.get("IMAGO_TEST_LONG", "0") not in ("", "0")
ROOT = os.geteuid() == 0
FOLDER = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None

with open(PROGRAM, "rb") as program:
    code = program.read()  # the run times of sanitizers bear neither ptrace nor preloads
    SANITIZED = b"__asan_init" in code or b"__tsan_init" in code


class Skipped(Exception):
    """What a test needs is not there: said, not failed."""


def need(condition, what):
    if not condition:
        raise Skipped(f"needs {what}")


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
    env = dict(os.environ, IMAGO_DATA=str(data), XDG_DATA_HOME=str(base), HOME=str(base),
               XDG_CACHE_HOME=os.path.join(base, ".cache"))
    env.pop("IMAGO_LIBRARY", None)
    env.pop("XDG_RUNTIME_DIR", None)  # no daemon of this user answers for the command line
    return env


def fresh_folder():
    folder = tempfile.mkdtemp(prefix="imago-app-", dir=FOLDER)
    # not shutil.rmtree: it recurses, and some trees here are 5,000 folders deep
    atexit.register(subprocess.run, ["rm", "-rf", "--one-file-system", folder], check=False)
    return folder


def tree_digest(folder):
    """Names, kinds, modes and content of all below: equal before and after means untouched."""
    digest = hashlib.sha256()
    for parent, folders, files in os.walk(os.fsencode(folder)):
        folders.sort()
        for name in sorted(folders + files):
            path = os.path.join(parent, name)
            info = os.lstat(path)
            digest.update(b"%s %o %d %d\n" % (path, info.st_mode, info.st_size, info.st_mtime_ns))
            if name in files and os.path.isfile(path) and not os.path.islink(path):
                with open(path, "rb") as file:
                    digest.update(file.read())
    return digest.hexdigest()


def mount(*args):
    need(ROOT, "root to mount")
    done = subprocess.run(["mount", *args], capture_output=True)
    need(done.returncode == 0, f"mount {' '.join(args)} ({done.stderr.decode().strip()})")


def unmount(folder):
    subprocess.run(["umount", folder], check=True, capture_output=True)


@contextlib.contextmanager
def mounted(folder, *args):
    mount(*args, folder)
    try:
        yield folder
    finally:
        # lazily: a command that a failed test left behind must not keep the mount
        subprocess.run(["umount", "-l", folder], check=False, capture_output=True)


class Imago:
    def __init__(self):
        self.base = fresh_folder()
        self.library = os.path.join(self.base, "library")
        self.pictures = os.path.join(self.base, "pictures")
        os.mkdir(self.pictures)
        self.env = environment(self.base)

    def command(self, *args):
        return [PROGRAM, args[0], "--library", self.library, *map(os.fspath, args[1:])]

    def run(self, *args, code=0, env=None, timeout=120, under=(), **kw):
        done = subprocess.run([*under, *self.command(*args)], env=dict(self.env, **(env or {})),
                              capture_output=True, timeout=timeout, **kw)
        if code is not None and done.returncode != code:
            raise AssertionError(f"{args}: exit {done.returncode}, expected {code}: "
                                 f"{done.stderr.decode(errors='replace')[-600:]}")
        return done

    def as_somebody_else(self):
        """Arguments of run() for a uid that file modes bind; root hands its files over."""
        if not ROOT:
            return {}
        subprocess.run(["chown", "-R", "65534:65534", self.base], check=True)
        them = {"user": 65534, "group": 65534, "extra_groups": []}
        done = subprocess.run([PROGRAM, "version"], env=self.env, capture_output=True, **them)
        need(done.returncode == 0, "a program and model that others may read")
        return them

    def add(self, *paths, code=0, **kw):
        done = self.run("add", "--json", "--yes", "--model", MODEL, *(paths or (self.pictures,)),
                        code=code, **kw)
        lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith(b"{")]
        return next((line for line in lines if line.get("event") == "done"), None), lines

    def error(self, *args, code, names=(), **kw):
        """The error object of a command that fails with this exit code and names these."""
        lines = self.run(args[0], "--json", *args[1:], code=code, **kw).stderr.splitlines()
        errors = [json.loads(line)["error"] for line in lines if line.startswith(b'{"error"')]
        assert len(errors) == 1, lines
        for name in names:
            assert name in errors[0]["message"], errors[0]
        return errors[0]

    def hits(self, query="red", **kw):
        """All hits whose file is there: {path: (id, score)}."""
        answer = json.loads(self.run("search", "--json", "-k", "10000", query, **kw).stdout)
        return {hit["path"]: (hit["id"], hit["score"]) for hit in answer["hits"] if hit["online"]}

    def sound(self):
        self.run("check")

    def status(self):
        return json.loads(self.run("status", "--json").stdout)

    def picture(self, name, seed, **size):
        path = os.path.join(self.pictures, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(png(seed, **size))
        return path


def main(tests):
    failed = 0
    skipped = 0
    for test in tests:
        print(f"[ RUN      ] {test.__name__}", flush=True)
        try:
            test()
            print(f"[       OK ] {test.__name__}", flush=True)
        except Skipped as reason:
            skipped += 1
            print(f"[  SKIPPED ] {test.__name__}: {reason}", flush=True)
        except Exception as error:  # a failed test must not stop its neighbours
            failed += 1
            print(f"[  FAILED  ] {test.__name__}: {error!r}", flush=True)
    print(f"{len(tests) - failed - skipped} passed, {skipped} skipped, {failed} failed")
    sys.exit(failed != 0)
