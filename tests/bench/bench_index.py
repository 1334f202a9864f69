#!/usr/bin/env python3
"""Search times of the index beside faiss-cpu, usearch and NumPy: the same vectors, queries, filters,
one thread, one run. Prints one JSON object and a table of ratios (their time / ours).

usage: bench_index.py --program build/…/tests/bench/bench_index [--n 100000] [--dim 512] [--million]
Needs numpy; faiss-cpu and usearch from PyPI are left out where they are not installed."""
import argparse
import json
import os
import pathlib
import platform
import subprocess
import sys
import tempfile
import time

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"
sys.path.insert(0, str(pathlib.Path(__file__).parent))
import numpy as np  # noqa: E402
import vectors  # noqa: E402

FILTERS = {"1%": 0.01, "10%": 0.1, "50%": 0.5}
ROUNDS = 3


def median_ms(call, queries):
    """Median over the queries of the best of ROUNDS, as the program does it."""
    best = np.full(len(queries), np.inf)
    for _ in range(ROUNDS):
        for i, query in enumerate(queries):
            start = time.perf_counter()
            call(query[None])
            best[i] = min(best[i], time.perf_counter() - start)
    return float(np.median(best) * 1e3)


def batch_ms(call, queries):
    """A query's share of one call for all."""
    best = np.inf
    for _ in range(ROUNDS):
        start = time.perf_counter()
        call(queries)
        best = min(best, time.perf_counter() - start)
    return float(best * 1e3 / len(queries))


def recall(truth, found):
    hits = sum(len(set(map(int, t)) & set(map(int, f))) for t, f in zip(truth, found))
    return hits / truth.size


def numpy_search(rows, k):
    def search(queries):
        scores = queries @ rows.T
        top = np.argpartition(scores, -k, axis=1)[:, -k:]
        order = np.argsort(-np.take_along_axis(scores, top, 1), axis=1)
        return np.take_along_axis(top, order, 1)
    return search


def run_numpy(rows, queries, masks, k):
    out = {"single": median_ms(numpy_search(rows, k), queries[:10]),
           "batch": batch_ms(numpy_search(rows, k), queries)}
    for name, mask in masks.items():
        places = np.flatnonzero(mask)

        def search(query, places=places):  # gathers first, as one would
            scores = rows[places] @ query[0]
            return places[np.argpartition(scores, -k)[-k:]]
        out[name] = median_ms(search, queries[:10])
    return out


def run_faiss(rows, queries, masks, k, truth):
    try:
        import faiss
    except ImportError:
        return {}
    faiss.omp_set_num_threads(1)
    out = {}
    dim = rows.shape[1]
    kinds = {"faiss flat": lambda: faiss.IndexFlatIP(dim),
             "faiss sq8": lambda: faiss.IndexScalarQuantizer(
                 dim, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT)}
    for kind, make in kinds.items():
        index = make()
        index.train(rows)
        index.add(rows)
        one = {"single": median_ms(lambda q: index.search(q, k), queries[:20]),
               "batch": batch_ms(lambda q: index.search(q, k), queries),
               "recall": recall(truth, index.search(queries, k)[1])}
        for name, mask in masks.items():
            selector = faiss.IDSelectorBitmap(np.packbits(mask, bitorder="little"))
            params = (faiss.SearchParameters(sel=selector))
            one[name] = median_ms(lambda q, p=params: index.search(q, k, params=p), queries[:20])
        out[kind] = one
        del index
    return out


def run_usearch(rows, queries, k, truth):
    try:
        from usearch.index import search, MetricKind, Index
    except ImportError:
        return {}
    out = {"usearch exact": {
        "single": median_ms(lambda q: search(rows, q, k, MetricKind.IP, exact=True, threads=1), queries[:10]),
        "batch": batch_ms(lambda q: search(rows, q, k, MetricKind.IP, exact=True, threads=1), queries[:10])}}
    if len(rows) <= 100000:
        start = time.perf_counter()
        index = Index(ndim=rows.shape[1], metric="ip", dtype="i8")
        index.add(np.arange(len(rows)), rows)
        found = index.search(queries, k, threads=1)
        out["usearch hnsw i8"] = {
            "build_s": time.perf_counter() - start,
            "single": median_ms(lambda q: index.search(q[0], k, threads=1), queries),
            "batch": batch_ms(lambda q: index.search(q, k, threads=1), queries),
            "recall": recall(truth, found.keys)}
    return out


def run_ours(program, folder, rows_path, n, dim, queries, masks, k, first):
    queries.tofile(folder / "queries")
    words = (n + 63) // 64
    bits = []
    for mask in masks.values():
        padded = np.zeros(words * 64, bool)
        padded[:n] = mask
        bits.append(np.packbits(padded, bitorder="little"))
    np.concatenate(bits).tofile(folder / "filters")
    lines = subprocess.run(
        [program, folder / "library", rows_path if first else "-", str(n), str(dim), folder / "queries",
         str(len(queries)), folder / "filters", str(k)],
        check=True, capture_output=True, text=True).stdout.splitlines()
    return [json.loads(line) for line in lines]


def find(ours, what, filter_name="none", batch=False):
    """The line of one query, or of the most at once."""
    lines = [line for line in ours if line["what"] == what and line.get("filter") == filter_name and
             (line["batch"] > 1) == batch]
    return max(lines, key=lambda line: line["batch"])


def table(kind, ours, peers):
    """Rows of (what, our ms, recall, then their ms and ratio)."""
    ways = [("proved", "none", False, "single"), ("fast", "none", False, "single"),
            ("proved", "none", True, "batch"), ("fast", "none", True, "batch")]
    ways += [("auto", name, False, name) for name in FILTERS]
    print(f"\n{kind} queries" + " " * 14 + "ms  recall   " + "  ".join(f"{p:>18}" for p in peers))
    for what, name, batch, key in ways:
        line = find(ours, what, name, batch)
        cells = []
        for peer in peers.values():
            cells.append(f"{peer[key]:9.3f} {peer[key] / line['p50_ms']:6.1f}x" if key in peer else "-")
        label = f"{what} {name if name != 'none' else ''}{' batch' if batch else ''}"
        print(f"{label:22} {line['p50_ms']:7.3f}  {line['recall']:.4f}   " + "  ".join(f"{c:>18}" for c in cells))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--program", required=True, type=pathlib.Path)
    parser.add_argument("--n", type=int, default=100000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--million", action="store_true", help="1,000,000 rows")
    parser.add_argument("--folder", help="where to put the vectors (2 GB for a million rows)")
    args = parser.parse_args()
    n = 1000000 if args.million else args.n
    result = {"machine": platform.machine(), "cpus": os.cpu_count(), "n": n, "dim": args.dim, "k": args.k,
              "load_before": os.getloadavg()[0]}
    world = vectors.Pictures(args.dim)
    rows = world.rows(n)
    masks = {name: world.rng.random(n) < share for name, share in FILTERS.items()}
    kinds = {"text": world.texts(args.queries, rows), "picture": world.pictures(args.queries)}
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        folder = pathlib.Path(name)
        rows.tofile(folder / "rows")
        for i, (kind, queries) in enumerate(kinds.items()):
            truth = numpy_search(rows, args.k)(queries)
            ours = run_ours(args.program, folder, folder / "rows", n, args.dim, queries, masks, args.k, i == 0)
            if i == 0:
                (folder / "rows").unlink()
            peers = {"numpy": run_numpy(rows, queries, masks, args.k)}
            peers.update(run_faiss(rows, queries, masks, args.k, truth))
            peers.update(run_usearch(rows, queries, args.k, truth))
            result[kind] = {"vectors": vectors.describe(rows, queries), "ours": ours, "peers": peers}
            table(kind, ours, peers)
    print("\n" + json.dumps(result))


if __name__ == "__main__":
    main()
