#!/usr/bin/env python3
"""Jobs and folders over HTTP: done, stopped, listened to, and finished after the daemon was killed."""
import contextlib
import json
import os
import shutil
import signal
import socket
import sqlite3
import time

import serving
from serving import Server
from support import MODEL, png

home = serving.library()


def folder(name, n, first):
    path = os.path.join(home.base, name)
    os.makedirs(path)
    for i in range(n):
        with open(os.path.join(path, f"{i:04}.png"), "wb") as file:
            file.write(png(first + i))
    return path


def wait(server, job, *states, timeout=120):
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        now = server.ask(f"/v1/jobs/{job}").json
        if now["state"] in states:
            return now
        time.sleep(0.02)
    raise AssertionError(now)


def add(server, *paths):
    answer = server.ask("/v1/jobs", {"kind": "add", "paths": list(paths)})
    assert answer.status == 202, answer.body
    assert answer.headers["location"] == f"/v1/jobs/{answer.json['id']}"
    return answer.json["id"]


def items(server):
    return server.ask("/v1/library").json["items"]


def a_folder_is_added_while_others_search(server):
    before = items(server)
    path = folder("more", 60, 1000)
    job = add(server, path)
    while server.ask(f"/v1/jobs/{job}").json["state"] not in ("done", "failed"):
        assert server.ask("/v1/search?q=red").status == 200
    done = wait(server, job, "done")
    assert done["progress"]["added"] == 60 and done["error"] is None, done
    assert items(server) == before + 60
    hit = server.ask("/v1/search", {"parts": [{"image": {"path": path + "/0007.png"}}], "k": 1}).json["hits"][0]
    assert hit["path"] == path + "/0007.png" and hit["cosine"] > 0.999
    assert server.ask("/v1/jobs").json["jobs"][0] == done


def wrong_wishes_are_refused(server):
    for body, status in (({"kind": "add"}, 400), ({"kind": "add", "paths": []}, 400),
                         ({"kind": "add", "paths": ["relative"]}, 400), ({"kind": "sing"}, 400),
                         ({"kind": "add", "paths": [home.base + "/none"]}, 404), ([], 400),
                         ({"kind": "add", "paths": [3]}, 400), ({"kind": "rebuild", "paths": ["/"]}, 400),
                         ({"paths": ["/"]}, 400), ({"kind": "add", "paths": ["/a\0b"]}, 400),
                         ({"kind": "add", "paths": ["/"], "zoom": 1}, 400)):
        server.ask("/v1/jobs", body).problem(status)
    server.ask("/v1/jobs/4711").problem(404)
    server.ask("/v1/jobs/4711/events").problem(404)
    server.ask("/v1/jobs/4711", method="DELETE").problem(404)


def other_kinds_are_done(server):
    for kind in ("rebuild", "compact"):
        job = server.ask("/v1/jobs", {"kind": kind}).json["id"]
        assert wait(server, job, "done", "failed")["state"] == "done"


def listen(server, job, last=None):
    """(id, event, data) of a stream to its end."""
    sock = server.connect(60)
    more = f"Last-Event-ID: {last}\r\n" if last else ""
    sock.sendall(f"GET /v1/jobs/{job}/events HTTP/1.1\r\nHost: localhost\r\n{more}\r\n".encode())
    data = b""
    while piece := sock.recv(65536):
        data += piece
    sock.close()
    head, _, body = data.partition(b"\r\n\r\n")
    assert b"text/event-stream" in head and b"Content-Length" not in head, head
    events = []
    for block in body.decode().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if lines:
            events.append((int(lines["id"]), lines["event"], json.loads(lines["data"])))
    return events


def events_are_told_in_their_order(server):
    path = folder("events", 40, 2000)
    with open(path + "/broken.jpg", "wb") as file:
        file.write(b"\xff\xd8\xff\xe0 no picture")
    job = add(server, path)
    events = listen(server, job)
    names = [name for _, name, _ in events]
    assert names[0] in ("state", "progress") and names[-1] == "done", names
    assert names.count("done") == 1
    ids = [number for number, _, _ in events]
    assert ids == sorted(ids), ids
    assert events[-1][2]["progress"]["added"] == 40
    warned = [data for _, name, data in events if name == "warning"]
    assert events[-1][2]["progress"]["failed"] == 1
    assert all(set(data) >= {"message"} for data in warned)
    again = listen(server, job)
    assert [name for _, name, _ in again] == ["done"]


def of_many_paths_a_few_are_told(server):
    """A listener of an add of a thousand files with long names hears its end."""
    path = os.path.join(home.base, "long" + "n" * 200, "m" * 200)
    os.makedirs(path)
    names = [os.path.join(path, f"{i:04}.png") for i in range(1000)]
    for i, name in enumerate(names):
        with open(name, "wb") as file:
            file.write(png(70000 + i, 6, 5))
    job = add(server, *names)
    events = listen(server, job)
    assert events[-1][1] == "done", events[-1]
    for told in (events[-1][2], server.ask(f"/v1/jobs/{job}").json, server.ask("/v1/jobs").json["jobs"][0]):
        assert told["n_paths"] == 1000 and told["paths"] == names[:10], told


def who_listens_to_a_job_that_waits_hears_that_it_was_stopped(server):
    first, second = add(server, folder("before", 400, 80000)), add(server, home.pictures)
    with server.connect(10) as listener:
        listener.sendall(f"GET /v1/jobs/{second}/events HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        said = listener.recv(65536)
        while b"event: state" not in said:
            said += listener.recv(65536)
        assert server.ask(f"/v1/jobs/{second}", method="DELETE").json["state"] == "stopped"
        while piece := listener.recv(65536):
            said += piece
    assert said.count(b"event: done") == 1 and b'"state":"stopped"' in said, said
    server.ask(f"/v1/jobs/{first}", method="DELETE")
    wait(server, first, "stopped", "done")


def listeners_who_vanish_or_sleep_cost_nothing(server):
    path = folder("vanish", 120, 3000)
    before = server.descriptors()
    job = add(server, path)
    socks = []
    for _ in range(60):
        sock = server.connect(5)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        sock.sendall(f"GET /v1/jobs/{job}/events HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        socks.append(sock)
    for sock in socks[:40]:
        sock.close()
    start = time.monotonic()
    assert server.ask("/health").status in (200, 503)
    assert time.monotonic() - start < 2
    wait(server, job, "done")
    for sock in socks:
        sock.close()
    end = time.monotonic() + 10
    while server.descriptors() > before + 4 and time.monotonic() < end:
        time.sleep(0.1)
    assert server.descriptors() <= before + 4, (before, server.descriptors())


def jobs_are_stopped_and_what_was_added_stays(server):
    path = folder("stop", 400, 4000)
    before = items(server)
    first, second = add(server, path), add(server, path)
    assert server.ask(f"/v1/jobs/{second}", method="DELETE").json["state"] == "stopped"
    wait(server, first, "running")
    time.sleep(0.3)
    server.ask(f"/v1/jobs/{first}", method="DELETE")
    ended = wait(server, first, "stopped", "done")
    if ended["state"] == "stopped":
        assert before <= items(server) < before + 400
    assert server.ask(f"/v1/jobs/{second}").json["state"] == "stopped"
    server.ask(f"/v1/jobs/{first}", method="DELETE").problem(409)
    done = wait(server, add(server, path), "done")
    assert items(server) == before + 400, done


def changes_do_not_wait_long_beside_an_add(server):
    path = folder("beside", 3000, 60000)
    job = add(server, path)
    waits = []
    while server.ask(f"/v1/jobs/{job}").json["state"] in ("waiting", "running"):
        start = time.monotonic()
        assert server.ask("/v1/keys/4711", method="DELETE").status in (404, 200)
        other = server.ask("/v1/jobs", {"kind": "compact"})  # a write of the library beside the add
        waits.append(time.monotonic() - start)
        server.ask(f"/v1/jobs/{other.json['id']}", method="DELETE")
        time.sleep(0.05)
    print(f"longest wait of {len(waits)} changes beside an add of 3,000: {max(waits) * 1000:.0f} ms")
    assert max(waits) < 5


def folders_are_listed_added_and_forgotten(server):
    path = folder("root", 10, 8000)
    before = items(server)
    answer = server.ask("/v1/roots", {"path": path})
    assert answer.status == 202, answer.body
    root = answer.json["root"]["id"]
    wait(server, answer.json["job"], "done")
    listed = {r["id"]: r for r in server.ask("/v1/roots").json["roots"]}
    assert listed[root] == {"id": root, "path": path, "recursive": True, "watch": False, "online": True,
                            "files": 10, "missing_files": 0, "items": 10, "failures": 0}, listed[root]
    state = {name: os.stat(os.path.join(path, name)).st_mtime_ns for name in os.listdir(path)}
    removed = server.ask(f"/v1/roots/{root}", method="DELETE")
    assert removed.json == {"removed": root, "items": 10}, removed.body
    assert items(server) == before
    assert state == {name: os.stat(os.path.join(path, name)).st_mtime_ns for name in os.listdir(path)}
    server.ask(f"/v1/roots/{root}", method="DELETE").problem(404)
    wait(server, add(server, path), "done")
    assert items(server) == before + 10
    for body, status in (({"path": "x"}, 400), ({"path": path + "/none"}, 404), ({}, 400),
                         ({"path": path + "/0000.png"}, 400), ({"path": path, "watch": 1}, 400)):
        server.ask("/v1/roots", body).problem(status)


def counts_are_told(server):
    library = server.ask("/v1/library").json
    assert library["jobs"] == {"waiting": 0, "running": 0} and library["unembedded"] == 0
    metrics = server.ask("/metrics").body.decode()
    for name in ("imago_jobs_waiting", "imago_jobs_running", "imago_items_without_vector"):
        assert f"\n{name} " in metrics, name


def a_job_without_a_model_waits_and_says_why(_):
    own = serving.Imago()
    model = os.path.join(own.base, "model")
    shutil.copytree(MODEL, model)
    own.picture("a.png", 1)
    own.run("add", "--model", model, own.pictures)
    own_server = Server(own)
    while own_server.ask("/health").status != 200:  # searches have theirs
        time.sleep(0.05)
    os.rename(model, model + ".away")
    for i in range(3):
        own.picture(f"later/{i}.png", 100 + i)
    job, behind = add(own_server, own.pictures), add(own_server, own.pictures)
    end = time.monotonic() + 60
    while (waiting := own_server.ask(f"/v1/jobs/{job}").json)["error"] is None and time.monotonic() < end:
        time.sleep(0.05)
    assert waiting["error"]["code"].startswith("model_") and waiting["error"]["message"], waiting
    assert waiting["state"] in ("waiting", "running") and waiting["ended"] is None, waiting
    assert own_server.ask("/v1/search?q=red").status == 200
    time.sleep(2.5)  # other tries end as the first did
    for number in (job, behind):
        assert own_server.ask(f"/v1/jobs/{number}").json["state"] in ("waiting", "running")
    with own_server.connect(10) as listener:  # the one behind begins with short waits of its own
        listener.sendall(f"GET /v1/jobs/{behind}/events HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        said = listener.recv(65536)
        own_server.ask(f"/v1/jobs/{job}", method="DELETE")
        while b'"retry_ms":' not in said:
            said += listener.recv(65536)
    assert b'"retry_ms":1000}' in said, said
    job, behind = behind, add(own_server, own.pictures)
    os.rename(model + ".away", model)
    done = wait(own_server, job, "done", "failed")
    assert done["state"] == "done" and done["error"] is None and done["progress"]["added"] == 3, done
    assert wait(own_server, behind, "done", "failed")["state"] == "done"
    assert items(own_server) == 4
    own_server.stop()


def change(home, sql):
    """As another program would."""
    with contextlib.closing(sqlite3.connect(os.path.join(home.library, "library.db"), timeout=30)) as base, base:
        base.execute(sql)


def an_end_that_cannot_be_written_is_written_later(_):
    own = serving.Imago()
    own.picture("a.png", 1)
    own.add()
    own_server = Server(own)
    change(own, "CREATE TRIGGER no_end BEFORE UPDATE ON job WHEN new.state = 'done' AND new.id = 1 "
                "BEGIN SELECT abs(-9223372036854775807 - 1); END")  # which is an error
    job = add(own_server, own.pictures)
    assert job == 1
    listener = own_server.connect(60)
    listener.sendall(f"GET /v1/jobs/{job}/events HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    said = b""
    while b"event: warning" not in said:  # the listener learns what stands against it
        said += listener.recv(65536)
    behind = [own_server.ask("/v1/jobs", {"kind": "compact"}).json["id"] for _ in range(50)]
    time.sleep(0.5)  # each of them had the end tried again
    assert own_server.ask(f"/v1/jobs/{job}").json["state"] == "running"
    assert {own_server.ask(f"/v1/jobs/{number}").json["state"] for number in behind} == {"waiting"}
    change(own, "DROP TRIGGER no_end")
    add(own_server, own.pictures)
    assert wait(own_server, job, "done", timeout=5)["progress"]["unchanged"] == 1
    while b"event: done" not in said:
        said += listener.recv(65536)
    listener.close()
    assert wait(own_server, behind[-1], "done")["state"] == "done"
    own_server.stop()


def a_reload_goes_on_with_what_runs(server):
    before = items(server)
    path = folder("reload", 300, 40000)
    job = add(server, path)
    wait(server, job, "running", "done")
    server.process.send_signal(signal.SIGHUP)
    wait(server, job, "done")
    assert items(server) == before + 300
    wait(server, add(server, folder("reloaded", 3, 50000)), "done")


def a_killed_daemon_loses_no_job(server):
    path = folder("killed", 3000, 10000)
    before = items(server)
    job, behind = add(server, path), add(server, folder("behind", 5, 20000))
    while not (server.ask(f"/v1/jobs/{job}").json["progress"] or {}).get("done"):
        time.sleep(0.005)
    assert server.ask(f"/v1/jobs/{job}").json["state"] == "running"
    server.process.send_signal(signal.SIGKILL)
    server.process.wait()
    server.process.stderr.close()
    again = Server(home)
    assert wait(again, job, "done")["state"] == "done"
    assert wait(again, behind, "done")["state"] == "done"
    assert items(again) == before + 3005
    job = add(again, folder("stopped", 300, 30000))
    wait(again, job, "running", "done")
    again.stop()  # a clean stop in the middle
    third = Server(home)
    wait(third, job, "done")
    assert items(third) == before + 3305
    third.stop()
    home.run("check")


if __name__ == "__main__":
    main_server = Server(home)
    for test in (a_folder_is_added_while_others_search, wrong_wishes_are_refused, other_kinds_are_done,
                 events_are_told_in_their_order, of_many_paths_a_few_are_told,
                 who_listens_to_a_job_that_waits_hears_that_it_was_stopped, listeners_who_vanish_or_sleep_cost_nothing,
                 jobs_are_stopped_and_what_was_added_stays, changes_do_not_wait_long_beside_an_add,
                 folders_are_listed_added_and_forgotten, counts_are_told,
                 a_job_without_a_model_waits_and_says_why, an_end_that_cannot_be_written_is_written_later,
                 a_reload_goes_on_with_what_runs, a_killed_daemon_loses_no_job):
        start = time.monotonic()
        test(main_server)
        print(f"{test.__name__}: {time.monotonic() - start:.1f} s", flush=True)
