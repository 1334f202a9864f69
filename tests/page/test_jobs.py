#!/usr/bin/env python3
"""Jobs of a real daemon as the page shows them while they run, and pictures that have no vector yet."""
import contextlib
import fcntl
import os
import re
import signal
import sqlite3
import struct
import zlib

from browser import CONTRAST, NAMES, Page, main, shots
from serving import Server
from support import Imago, png

N = 250
home = Imago()
for i in range(6):
    home.picture(f"{i}.png", i)
home.add()
server = Server(home)
page = Page(server.url)

# All that stands in the part of the page that tells of jobs, whenever it changes.
RECORD = """
window.told = [];
addEventListener("DOMContentLoaded", () => new MutationObserver(() => {
  for (const row of document.querySelectorAll("#progress .job")) {
    const bar = row.querySelector("progress");
    told.push([row.querySelector(".text").textContent, bar?.value ?? null, bar?.max ?? null]);
  }
}).observe(document.getElementById("progress"), {subtree: true, childList: true, characterData: true, attributes: true}));
"""
page.cdp("Page.addScriptToEvaluateOnNewDocument", source=RECORD)


def large_png(side):
    """Much to decode in few bytes."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    row = b"\0" + bytes(range(256)) * (3 * side // 256 + 1)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)) +
            chunk(b"IDAT", zlib.compress(row[:3 * side + 1] * side)) + chunk(b"IEND", b""))


LARGE = large_png(5000)


def folder(name, n, first, broken=0, large=True):
    """n pictures, which are some work each when they are large: one picture, a comment in each that tells them apart."""
    path = os.path.join(home.base, name)
    os.makedirs(path)
    for i in range(n):
        comment = b"tEXt" + b"Comment\0%d" % (first + i)
        chunk = struct.pack(">I", len(comment) - 4) + comment + struct.pack(">I", zlib.crc32(comment))
        with open(os.path.join(path, f"{i:05}.png"), "wb") as file:
            file.write(LARGE[:-12] + chunk + LARGE[-12:] if large else png(first + i))
    for i in range(broken):
        with open(os.path.join(path, f"0000{i}.broken.jpg"), "wb") as file:
            file.write(b"\xff\xd8\xff\xe0 no picture")
    return path


def post(kind, *paths):
    answer = server.ask("/v1/jobs", {"kind": kind, "paths": list(paths)} if paths else {"kind": kind})
    assert answer.status == 202, answer.body
    return answer.json["id"]


def ended(job):
    page.until(lambda: server.ask(f"/v1/jobs/{job}").json["ended"], "the job's end", seconds=120)
    return server.ask(f"/v1/jobs/{job}").json


def readable():
    """Names and contrast of what is shown now, in both themes; no more than a phone's width."""
    assert page.js(NAMES) == []
    for theme in ("light", "dark"):
        page.cdp("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme},
                                                           {"name": "prefers-reduced-motion", "value": "reduce"}])
        found = page.js(CONTRAST)
        assert found["bad"] == [] and found["n"] > 5, (theme, found)
    page.cdp("Emulation.setEmulatedMedia", features=[])
    page.cdp("Emulation.setDeviceMetricsOverride", width=360, height=740, deviceScaleFactor=1, mobile=True)
    assert page.js("return document.documentElement.scrollWidth") <= 360
    page.cdp("Emulation.clearDeviceMetricsOverride")


@contextlib.contextmanager
def held_up():
    """Nobody writes into the library: a job does not end before the page has looked, however quick the machine."""
    with open(os.path.join(home.library, "lock"), "r+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def rows():
    return page.texts("#progress .job .text")


def all_gone():
    page.until(lambda: not page.one("#progress").is_displayed(), "the end", seconds=60)


def a_folder_is_added_while_one_looks():
    """The page is open before the job is made."""
    page.go()
    assert page.text("#facts") == "6 pictures" and not page.one("#progress").is_displayed()
    page.asked()
    path = folder("holiday & <b>x", N, 1000)
    job = post("add", path)
    page.until(lambda: page.one("#progress").is_displayed(), "the job", seconds=12)
    assert rows()[0].startswith(f"Adding {path} \u00b7 "), rows()
    shots(page, "jobs-running")
    readable()
    assert ended(job)["state"] == "done"
    all_gone()
    asked = [one["path"] for one in page.asked("/v1/")]
    assert f"/v1/jobs/{job}/events" in asked and f"/v1/jobs/{job}" in asked, asked
    page.until(lambda: page.text("#facts") == f"{N + 6:,} pictures", "the new pictures")
    steps = [re.fullmatch(re.escape(f"Adding {path} \u00b7 ") + r"([\d,]+) of ([\d,]+)", text) for text, *_ in page.js("return told")]
    done = [int(step[1].replace(",", "")) for step in steps if step]
    assert done == sorted(done) and len(set(done)) >= 2, done
    bars = [(value, most) for _, value, most in page.js("return told") if most and most > 1]
    assert bars and all(value <= most for value, most in bars), bars
    page.unharmed()


def short_jobs_are_noticed_too():
    """Begun and ended between two looks."""
    page.go()
    before = int(page.text("#facts").split()[0].replace(",", ""))
    ended(post("add", folder("short", 3, 100000, broken=1, large=False)))
    page.until(lambda: page.text("#facts") == f"{before + 3:,} pictures", "the new pictures", seconds=12)
    assert rows() and rows()[0].endswith("3 added, 1 could not be read"), rows()
    page.one("#progress .icon-button").click()
    assert not page.one("#progress").is_displayed()


def jobs_that_wait_say_so_and_the_end_is_told():
    """Three at once; one of them has files that are no pictures, which stays until it is put away."""
    page.go()
    path = folder("broken", 150, 20000, broken=3)
    later = folder("later", 5, 30000)
    first, second, third = post("add", path), post("rebuild"), post("add", later)
    with held_up():
        page.until(lambda: len(rows()) >= 2, "the jobs", seconds=12)
    for job in (first, second, third):
        assert ended(job)["error"] is None or job == first
    page.until(lambda: len(rows()) == 1, "one of them", seconds=30)
    assert rows() == [f"Adding {path} \u00b7 150 added, 3 could not be read"], rows()
    texts = [text for text, *_ in page.js("return told")]
    assert any(text.endswith("waiting") for text in texts), texts
    assert all(text.startswith("Adding /") or text.startswith("Building the index") for text in texts), texts
    ours = [text for text in texts if "/broken" in text]
    known = next(i for i, text in enumerate(ours) if " of 153" in text)
    assert all(" of 153" in text or "150 added" in text for text in ours[known:]), ours  # a warning is not taken for progress
    shots(page, "jobs-ended")
    readable()
    page.one("#progress .icon-button").click()
    assert not page.one("#progress").is_displayed()
    page.unharmed()


def a_job_that_is_stopped_or_fails_is_told():
    page.go()
    path = folder("stopped", 400, 40000)
    job = post("add", path)
    page.until(lambda: rows(), "the job", seconds=12)
    server.ask(f"/v1/jobs/{job}", method="DELETE")
    if ended(job)["state"] == "stopped":
        page.until(lambda: rows() == [f"Adding {path} \u00b7 stopped"], "its end")
        page.one("#progress .icon-button").click()
    all_gone()
    gone = folder("gone", 1, 50000)
    blocked = post("add", folder("before", 150, 60000))
    job = post("add", gone)
    with held_up():
        os.rename(gone, gone + ".away")
        page.until(lambda: len(rows()) == 2, "both", seconds=12)
    ended(blocked)
    state = ended(job)
    if state["state"] == "failed" or state["error"]:
        page.until(lambda: len(rows()) == 1 and state["error"]["message"] in rows()[0], (rows(), state))
        page.one("#progress .icon-button").click()
    else:
        all_gone()
    page.unharmed()


def a_daemon_that_ends_and_comes_back_is_followed():
    """The next look finds the job again, which goes on after a kill."""
    global server
    page.go()
    path = folder("killed", 300, 70000)
    job = post("add", path)
    page.until(lambda: rows(), "the job", seconds=12)
    server.process.send_signal(signal.SIGKILL)
    server.process.wait()
    server.process.stderr.close()
    server = Server(home, "--listen", f"127.0.0.1:{server.port}")
    assert ended(job)["state"] == "done"
    page.until(lambda: not page.one("#progress").is_displayed() or rows() == [], "the end", seconds=30)
    page.go()
    assert page.text("#facts") == f"{server.ask('/v1/library').json['items']:,} pictures"


def pictures_without_a_vector_are_counted():
    """Also while one looks on: they are counted anew with each job."""
    page.go()
    assert not page.one("#missing").is_displayed()
    page.asked()
    with contextlib.closing(sqlite3.connect(os.path.join(home.library, "library.db"), timeout=30)) as base, base:
        base.execute("DELETE FROM embedding WHERE item IN (SELECT item FROM embedding ORDER BY item LIMIT 1)")
    assert server.ask("/v1/library").json["unembedded"] == 1
    page.go()
    page.until(lambda: page.text("#missing") == "1 picture has no vector: searches do not find it", "one")
    assert [one["path"] for one in page.asked("/v1/library")] == ["/v1/library"]
    with contextlib.closing(sqlite3.connect(os.path.join(home.library, "library.db"), timeout=30)) as base, base:
        base.execute("DELETE FROM embedding WHERE item IN (SELECT item FROM embedding ORDER BY item LIMIT 233)")
    job = post("add", folder("counted", 100, 90000))
    page.until(lambda: page.text("#missing") == "234 pictures have no vector: searches do not find them", "many", seconds=20)
    ended(job)
    page.search("red")
    assert page.one("#missing").is_displayed()
    shots(page, "jobs-missing")
    readable()
    page.unharmed()


def nothing_went_wrong_on_the_way():
    page.unharmed()
    server.stop()


main([a_folder_is_added_while_one_looks, short_jobs_are_noticed_too, jobs_that_wait_say_so_and_the_end_is_told,
      a_job_that_is_stopped_or_fails_is_told, a_daemon_that_ends_and_comes_back_is_followed,
      pictures_without_a_vector_are_counted, nothing_went_wrong_on_the_way])
