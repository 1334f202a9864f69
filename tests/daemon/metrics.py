#!/usr/bin/env python3
"""GET /metrics: what Prometheus reads, by its own parser; names and labels, sums, the audit."""
import collections
import json
import os

import serving
from serving import Server
from support import Skipped, main

home = serving.library()
server = Server(home)
WANTED = {  # name, type, labels
    "imago_requests": ("counter", {"route", "method", "status"}),
    "imago_request_seconds": ("histogram", {"route", "method"}),
    "imago_connections": ("gauge", set()), "imago_connections_accepted": ("counter", set()),
    "imago_connections_refused": ("counter", set()),
    "imago_queue_waiting": ("gauge", {"thread"}), "imago_queue_limit": ("gauge", set()),
    "imago_library_calls": ("counter", set()), "imago_library_requests": ("counter", set()),
    "imago_batch_requests": ("histogram", set()), "imago_encode_seconds": ("histogram", set()),
    "imago_search_seconds": ("histogram", set()), "imago_items": ("gauge", set()),
    "imago_items_without_vector": ("gauge", set()), "imago_index_rows": ("gauge", set()),
    "imago_index_bytes": ("gauge", set()), "imago_database_bytes": ("gauge", set()), "imago_ready": ("gauge", set()),
    "imago_vlm_sends_today": ("gauge", set()), "imago_vlm_tokens_today": ("gauge", set()),
    "imago_vlm_cost_today": ("gauge", set())}
AUDIT = {"imago_audit_recall": ("gauge", {"queries", "engine"}), "imago_audit_timestamp_seconds": ("gauge", set())}


def families(of=None):
    serving.sys.path.append(os.environ.get("IMAGO_TEST_PYTHONPATH", ""))
    try:
        from prometheus_client.parser import text_string_to_metric_families
    except ImportError as error:
        raise Skipped("needs the Python package prometheus_client (IMAGO_TEST_PYTHONPATH names its folder)") from error
    answer = (of or server).ask("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return list(text_string_to_metric_families(answer.body.decode()))


def check_histogram(family):
    """Buckets grow up to +Inf, which is the count."""
    rows = collections.defaultdict(dict)
    for sample in family.samples:
        labels = tuple(sorted((name, value) for name, value in sample.labels.items() if name != "le"))
        key = float(sample.labels["le"]) if "le" in sample.labels else sample.name.removeprefix(family.name)
        assert key not in rows[labels], sample
        rows[labels][key] = sample.value
    for labels, row in rows.items():
        bounds = sorted(key for key in row if isinstance(key, float))
        values = [row[bound] for bound in bounds]
        assert values == sorted(values) and bounds[-1] == float("inf"), (family.name, labels, row)
        assert row["_count"] == values[-1] and row["_sum"] >= 0, (family.name, labels, row)
        assert len(bounds) == 14


def check(found, wanted):
    names = [family.name for family in found]
    assert len(set(names)) == len(names), names
    for name, (kind, labels) in wanted.items():
        family = next((one for one in found if one.name == name), None)
        assert family is not None and family.type == kind and family.documentation, name
        assert family.samples, name
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == labels, sample
        if kind == "histogram":
            check_histogram(family)


def value(found, name, **labels):
    return sum(sample.value for family in found for sample in family.samples
               if sample.name == name and all(sample.labels.get(key) == what for key, what in labels.items()))


def all_is_there_and_reads():
    for i in range(3):
        server.ask(f"/v1/search?q=red+{i}")
    server.ask("/v1/nothing")
    found = families()
    check(found, WANTED)
    strangers = {family.name for family in found} - set(WANTED) - set(AUDIT)
    assert all(name.startswith("imago_") for name in strangers), strangers
    assert not {family.name for family in found} & set(AUDIT)  # there has been none
    assert value(found, "imago_items") == 24 and value(found, "imago_index_bytes") == 24 * 24 * 4
    assert value(found, "imago_items_without_vector") == 0 and value(found, "imago_database_bytes") > 4096


def times_and_batches_are_counted():
    before = families()
    server.ask("/v1/search", {"queries": [{"parts": [{"text": f"thing {i}"}]} for i in range(5)]})
    server.ask("/v1/search", {"filter": "type:png"})
    server.ask("/v1/embeddings", {"input": ["a", "b"]})
    after = families()
    for name, more in (("imago_search_seconds_count", 6), ("imago_encode_seconds_count", 6),
                       ("imago_batch_requests_count", 3), ("imago_library_calls_total", 3),
                       ("imago_requests_total", 4)):  # with that for the metrics before
        assert value(after, name) == value(before, name) + more, name
    assert value(after, "imago_encode_seconds_sum") > value(before, "imago_encode_seconds_sum")
    assert value(after, "imago_requests_total", route="/v1/search", status="200") == value(
        before, "imago_requests_total", route="/v1/search", status="200") + 2


def the_last_audit_is_told():
    report = json.loads(home.run("audit", "--json").stdout)
    own = Server(home)
    own.ask("/v1/search?q=red")
    found = families(own)
    check(found, WANTED | AUDIT)
    assert value(found, "imago_audit_recall", queries="pictures", engine=report["engine"]) == report["pictures"]["recall"]
    assert [s.labels["queries"] for f in found for s in f.samples if s.name == "imago_audit_recall"] == ["pictures"]
    assert value(found, "imago_audit_timestamp_seconds") > 1.7e9
    own.stop()


def pictures_without_vectors_are_counted():
    """Those that another model has not seen yet: none here, so that the sum is what is told."""
    found = families()
    status = home.status()
    assert value(found, "imago_items") - value(found, "imago_index_rows") == status["unembedded"]


def the_daemon_stops_well():
    server.stop()


main([all_is_there_and_reads, times_and_batches_are_counted, the_last_audit_is_told,
      pictures_without_vectors_are_counted, the_daemon_stops_well])
