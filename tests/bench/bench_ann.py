#!/usr/bin/env python3
"""IVF and HNSW of the index beside faiss-cpu, usearch and NumPy: the same vectors (vectors.py),
queries and filters, one run. Building with two threads, queries one by one on one thread and timed
by its processor time, with the least effort that gives recall@10 of 0.95 and 0.99 on other queries of the same kind; texts and
pictures apart. Prints a JSON object a line as it comes, then a table.

usage: bench_ann.py --program build/…/tests/bench/bench_faiss [--n 100000] [--dim 512] [--folder /tmp]
       [--ours tiered ivf hnsw:16:100] [--peers numpy IVF,Flat IVF,PQfs HNSW16:100 usearch]
Wants faiss-cpu and usearch from PyPI, and IMAGO_MODULES=build/…/index."""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"
sys.path.insert(0, str(pathlib.Path(__file__).parent))
import numpy as np  # noqa: E402
import vectors  # noqa: E402

K = 10
THREADS = 2
FILTERS = {"1%": 0.01, "10%": 0.1, "50%": 0.5}
KINDS = ("text", "picture")
LINES = []


def say(**line):
    LINES.append(line)
    print(json.dumps(line), flush=True)


class World:
    """Rows, queries and filters, the exact answers to the half of the queries that is timed."""

    def __init__(self, n, dim, m):
        made = vectors.Pictures(dim)
        self.rows = made.rows(n)
        self.queries = {"text": made.texts(2 * m, self.rows), "picture": made.pictures(2 * m)}
        self.masks = {"none": None}
        self.masks.update({name: made.rng.random(n) < share for name, share in FILTERS.items()})
        self.m = m
        self.levels = {}

    def save(self, folder):
        n = len(self.rows)
        self.rows.tofile(folder / "rows")
        for kind, queries in self.queries.items():
            queries.tofile(folder / f"{kind}s")
        padded = np.zeros((len(FILTERS), (n + 63) // 64 * 64), bool)
        padded[:, :n] = [self.masks[name] for name in FILTERS]
        np.packbits(padded, axis=1, bitorder="little").tofile(folder / "filters")

    def find_levels(self):
        """Score of the tenth exact hit of every query and filter."""
        for kind, queries in self.queries.items():
            scores = np.empty((len(queries), len(self.rows)), np.float32)
            for at in range(0, len(self.rows), 100000):
                scores[:, at:at + 100000] = queries @ self.rows[at:at + 100000].T
            for name, mask in self.masks.items():
                part = scores if mask is None else scores[:, mask]
                self.levels[kind, name] = np.partition(part, -K, axis=1)[:, -K] - 1e-6
            del scores

    def recall(self, kind, name, which, found):
        """Of the queries `which`: share of hits at least as good as the tenth exact one."""
        n_found = 0
        for q, ids in zip(which, found):
            ids = np.asarray(ids, np.int64)
            ids = ids[(ids >= 0) & (ids < len(self.rows))]
            n_found += int((self.rows[ids] @ self.queries[kind][q] >= self.levels[kind, name][q]).sum())
        return n_found / (K * len(which))


def time_queries(world, peer, kind, name, what, wanted, call):
    which = range(world.m, 2 * world.m)
    found, ms = [], []
    for q in which:
        start = time.process_time()  # one thread works: other work on the machine hardly counts
        found.append(call(world.queries[kind][q][None]))
        ms.append((time.process_time() - start) * 1e3)
    ms.sort()
    say(bench="search", spec=peer, what=what, kind=kind, wanted=wanted, filter=name,
        queries_per_s=round(1e3 * len(ms) / sum(ms), 1), p50_ms=round(ms[len(ms) // 2], 3),
        p95_ms=round(ms[len(ms) * 95 // 100], 3), recall=round(world.recall(kind, name, which, found), 4))


def tune(world, kind, efforts, call):
    """For each wanted recall the first effort of the ladder that reaches it, else the last."""
    out, which = {}, range(world.m)
    for effort in efforts:
        recall = world.recall(kind, "none", which, [call(world.queries[kind][q][None], effort) for q in which])
        for wanted in (0.95, 0.99):
            if wanted not in out and recall >= wanted:
                out[wanted] = effort
        if len(out) == 2:
            break
    return {wanted: out.get(wanted, efforts[-1]) for wanted in (0.95, 0.99)}


def run_numpy(world):
    for kind in KINDS:
        for name, mask in world.masks.items():
            places = None if mask is None else np.flatnonzero(mask)

            def call(query, places=places):  # gathers first, as one would
                scores = (world.rows if places is None else world.rows[places]) @ query[0]
                top = np.argpartition(scores, -K)[-K:]
                return top if places is None else places[top]
            time_queries(world, "numpy", kind, name, "exact", 1, call)


# ---- FAISS ----

def faiss_parameters(faiss, is_hnsw, is_fast_scan, effort, mask):
    selector = {} if mask is None else {"sel": faiss.IDSelectorBitmap(np.packbits(mask, bitorder="little"))}
    if is_hnsw:
        return faiss.SearchParametersHNSW(efSearch=effort, **selector)
    if is_fast_scan:  # more candidates for each hit are scored again when more lists do not help
        inner = faiss.SearchParametersIVF(nprobe=effort[0], **selector)
        return faiss.IndexRefineSearchParameters(k_factor=effort[1], base_index_params=inner)
    return faiss.SearchParametersIVF(nprobe=effort, **selector)


def build_faiss(faiss, world, spec):
    n, dim = world.rows.shape
    lists = world.lists
    name, _, queue = spec.partition(":")
    factory = {"IVF,Flat": f"IVF{lists},Flat", "IVF,PQfs": f"IVF{lists},PQ{dim // 4}x4fs,RFlat"}.get(name, f"{name},Flat")
    index = faiss.index_factory(dim, factory, faiss.METRIC_INNER_PRODUCT)
    if queue:
        index.hnsw.efConstruction = int(queue)
    faiss.omp_set_num_threads(THREADS)
    start, cpu = time.perf_counter(), time.process_time()
    index.train(world.rows[np.random.default_rng(3).permutation(n)[:64 * lists]])
    for at in range(0, n, 50000):
        index.add(world.rows[at:at + 50000])
    say(bench="build", spec=spec, threads=THREADS, seconds=round(time.perf_counter() - start, 1),
        processor_s=round(time.process_time() - cpu, 1))
    return index


def change_faiss(faiss, world, spec, index, folder):
    """File and its reading, rows added and removed a second."""
    path = str(folder / "faiss")
    faiss.write_index(index, path)
    start = time.perf_counter()
    again = faiss.read_index(path)
    say(bench="open", spec=spec, ms=round((time.perf_counter() - start) * 1e3, 1), bytes=os.path.getsize(path))
    os.unlink(path)
    n_more = min(len(world.rows) // 50, 5000)
    start = time.perf_counter()
    for at in range(0, n_more, 64):
        again.add(world.rows[at:min(at + 64, n_more)])
    say(bench="add", spec=spec, rows_per_s=round(n_more / (time.perf_counter() - start)), batch=64)
    try:
        start = time.perf_counter()
        gone = again.remove_ids(np.arange(0, len(world.rows), 10, dtype=np.int64))
        say(bench="remove", spec=spec, rows_per_s=round(gone / (time.perf_counter() - start)))
    except RuntimeError:
        say(bench="remove", spec=spec, rows_per_s=None)  # an HNSW of FAISS removes nothing


def run_faiss(world, spec, folder):
    import faiss
    index = build_faiss(faiss, world, spec)
    faiss.omp_set_num_threads(1)
    is_hnsw, is_fast_scan = spec.startswith("HNSW"), spec == "IVF,PQfs"
    lists = world.lists
    efforts = [e for e in (2**i for i in range(13)) if (16 <= e if is_hnsw else e <= lists)]
    if is_fast_scan:
        efforts = [(lists_read, factor) for factor in (8, 32, 128) for lists_read in efforts]
    for kind in KINDS:
        chosen = tune(world, kind, efforts, lambda query, effort: index.search(
            query, K, params=faiss_parameters(faiss, is_hnsw, is_fast_scan, effort, None))[1][0])
        for wanted, effort in chosen.items():
            say(bench="effort", spec=spec, kind=kind, wanted=wanted, effort=effort)
            for name, mask in world.masks.items():
                params = faiss_parameters(faiss, is_hnsw, is_fast_scan, effort, mask)
                try:
                    time_queries(world, spec, kind, name, "plain", wanted,
                                 lambda query, p=params: index.search(query, K, params=p)[1][0])
                except RuntimeError as error:  # fast-scan takes no selector in some versions
                    say(bench="search", spec=spec, kind=kind, wanted=wanted, filter=name, refused=str(error)[-90:])
    change_faiss(faiss, world, spec, index, folder)


def run_usearch(world, folder):
    from usearch.index import Index
    for dtype in ("i8",):
        spec = f"usearch {dtype}"
        index = Index(ndim=world.rows.shape[1], metric="ip", dtype=dtype, connectivity=16)
        start, cpu = time.perf_counter(), time.process_time()
        index.add(np.arange(len(world.rows)), world.rows, threads=THREADS)
        say(bench="build", spec=spec, threads=THREADS, seconds=round(time.perf_counter() - start, 1),
            processor_s=round(time.process_time() - cpu, 1))

        def search(query, effort, index=index):  # candidates are scored again, as ours are
            index.expansion_search = effort
            ids = index.search(query[0], 4 * K, threads=1).keys.astype(np.int64)
            return ids[np.argsort(-(world.rows[ids] @ query[0]))[:K]]
        for kind in KINDS:
            for wanted, effort in tune(world, kind, [2**i for i in range(5, 13)], search).items():
                say(bench="effort", spec=spec, kind=kind, wanted=wanted, effort=effort)
                time_queries(world, spec, kind, "none", "plain", wanted, lambda query, e=effort: search(query, e))
        path = str(folder / "usearch")
        index.save(path)
        start = time.perf_counter()
        again = Index.restore(path)
        say(bench="open", spec=spec, ms=round((time.perf_counter() - start) * 1e3, 1), bytes=os.path.getsize(path))
        n_more = min(len(world.rows) // 50, 5000)
        start = time.perf_counter()
        for at in range(0, n_more, 64):
            again.add(np.arange(len(world.rows) + at, len(world.rows) + min(at + 64, n_more)),
                      world.rows[at:min(at + 64, n_more)], threads=1)
        say(bench="add", spec=spec, rows_per_s=round(n_more / (time.perf_counter() - start)), batch=64)
        start = time.perf_counter()
        again.remove(np.arange(0, n_more))
        say(bench="remove", spec=spec, rows_per_s=round(n_more / (time.perf_counter() - start)))


def run_ours(program, folder, world, specs):
    specs = [f"{spec}:{world.lists}" if spec in ("ivf", "ivf-small") else spec for spec in specs]
    process = subprocess.Popen(
        [program, folder, str(len(world.rows)), str(world.rows.shape[1]), str(2 * world.m), *specs],
        stdout=subprocess.PIPE, text=True)
    for line in process.stdout:
        say(**json.loads(line))
    if process.wait() != 0:
        raise RuntimeError(f"{program} failed")


def table():
    """queries a second at a wanted recall, a line for each index."""
    found = {}
    for line in LINES:
        if line["bench"] == "search" and "queries_per_s" in line and line["what"] in ("plain", "exact", "fast"):
            key = (line["kind"], line["wanted"], f"{line['spec']} {'' if line['what'] == 'plain' else line['what']}")
            found.setdefault(key, {})[line["filter"]] = line
    for (kind, wanted, spec), views in sorted(found.items()):
        cells = "  ".join(f"{name} {views[name]['queries_per_s']:7.0f}/s ({views[name]['recall']:.3f})"
                          if name in views else f"{name} -" for name in ("none", *FILTERS))
        print(f"{kind:8} {wanted:.2f} {spec:18} {cells}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--program", required=True)
    parser.add_argument("--n", type=int, default=100000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--queries", type=int, default=100, help="timed of each kind; as many more to tune")
    parser.add_argument("--folder", help="where to put the vectors (6 GB for a million rows)")
    parser.add_argument("--ours", nargs="*", default=["tiered", "ivf", "hnsw"])
    parser.add_argument("--peers", nargs="*", default=["numpy", "IVF,Flat", "IVF,PQfs", "HNSW32:200", "usearch"])
    parser.add_argument("--lists", type=int, help="of an IVF; 4 times the square root of n")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        folder = pathlib.Path(name)
        os.environ["TMPDIR"] = name
        world = World(args.n, args.dim, args.queries)
        world.lists = args.lists or int(4 * args.n**0.5)
        world.save(folder)
        print(f"# made {args.n} vectors", file=sys.stderr, flush=True)
        say(bench="world", n=args.n, dim=args.dim, queries=args.queries, k=K, load=os.getloadavg()[0],
            **{kind: vectors.describe(world.rows, queries) for kind, queries in world.queries.items()})
        run_ours(args.program, folder, world, args.ours)
        world.find_levels()
        for peer in args.peers:
            if peer.startswith(("ivf", "hnsw")):  # ours, in its turn
                run_ours(args.program, folder, world, [peer])
            elif peer == "numpy":
                run_numpy(world)
            elif peer == "usearch":
                run_usearch(world, folder)
            else:
                run_faiss(world, peer, folder)
        say(bench="end", load=os.getloadavg()[0])
    table()


if __name__ == "__main__":
    main()
