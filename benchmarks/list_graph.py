"""`python -m benchmarks.list_graph SIFT LISTS`: a graph over so many centroids beside comparing all of them.

SIFT is the folder of the whole data set; its vectors are the centroids (700 000 at most), its queries are assigned.
The smaller sister of `benchmarks.many_lists`, in seconds of CPU. Writes benchmarks/results/list_graph.json.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import faiss
import numpy as np

from benchmarks.machine import machine
from model import list_graph
from model.coarse import CoarseQuantiser

RESULT = Path(__file__).parent / "results" / "list_graph.json"
SHA256 = "00" * 32
PROBES = (128, 512, 4096)


def main() -> None:
    faiss.omp_set_num_threads(1)
    folder, lists = Path(sys.argv[1]), int(sys.argv[2])
    vectors = np.load(folder / "base.npy", mmap_mode="r")[:lists].astype(np.float32)
    mean, std = vectors.mean(axis=0), vectors.std()
    quantiser = CoarseQuantiser(((vectors - mean) / std).astype(np.float16))
    queries = (np.load(folder / "query.npy")[:500].astype(np.float32) - mean) / std
    compared = quantiser.nearest(queries)
    compare_us = per_query_us(lambda: quantiser.nearest(queries), len(queries))
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "lists.graph"
        build_s = cpu_s(lambda: list_graph.save(list_graph.build(quantiser.centroids, print_share), path, SHA256))
        graph_mb = path.stat().st_size / 1e6
        load_s = cpu_s(lambda: quantiser.take_graph(path, SHA256))
    assert quantiser.graph is not None
    graph = quantiser.graph
    found = quantiser.nearest(queries)
    figures = {
        "machine": machine(),
        "lists": lists,
        "dim": vectors.shape[1],
        "times": "CPU, one thread",
        "build_s": round(build_s, 1),
        "load_s": round(load_s, 2),
        "graph_mb": round(graph_mb, 1),
        "centroids_mb": round(quantiser.centroids.nbytes / 1e6, 1),
        "assign_by_comparing_us": round(compare_us),
        "assign_by_graph_us": round(per_query_us(lambda: quantiser.nearest(queries), len(queries))),
        "assignment_recall": round(float((found == compared).mean()), 4),
        "probe_us": {
            k: round(per_query_us(lambda k=k: graph.nearest(queries[:100], k), 100))  # type: ignore[misc]
            for k in PROBES
        },
    }
    RESULT.write_text(json.dumps(figures, indent=2) + "\n")
    print(RESULT.read_text())


def print_share(share: float) -> None:
    print(f"{share:.0%}", end=" ", flush=True, file=sys.stderr)


def cpu_s(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def per_query_us(work: Callable[[], object], queries: int) -> float:
    return 1e6 * cpu_s(work) / queries


if __name__ == "__main__":
    main()
