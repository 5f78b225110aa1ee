"""`python -m benchmarks.target_recall MODEL [ROWS]`: `target_recall` on queries that it was not measured on, on SIFT;
`python -m benchmarks.target_recall wordnet`: the same on the bundled example.

Half of the public queries are remembered as recent ones and measured; the other half is asked for 0.90, 0.95 and 0.99,
with rescoring. Beside it stand the best numbers set by hand: the cheapest of a grid whose recall on that other half
reaches what was asked, timed in the same process in turn. Times are medians, by the clock and of CPU; the ratio is of
CPU time, which other work disturbs less. It writes benchmarks/results/target_recall.json or target_recall_wordnet.json;
the data folders are those of `benchmarks.sift_store` and `benchmarks.wordnet_store`.
"""

import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import sift_store, wordnet_store
from benchmarks.machine import machine
from service.cli.process import share_threads

RESULTS = Path(__file__).parent / "results"
LIMIT, TIMED = 10, 100
TARGETS = (0.90, 0.95, 0.99)
NPROBES = (8, 16, 32, 64, 128, 256, 512, 1024)
RESCORED = (10, 20, 40, 80, 160, 320, 640, 1280)


@dataclass(frozen=True)
class Case:
    """A collection, its rows, queries float32 [q, dim] and their true neighbours [q, LIMIT], and where figures go."""

    folder: Path
    collection: str
    rows: int
    queries: NDArray[np.float32]
    true: NDArray[np.int32]
    result: Path


def main() -> None:
    share_threads(os.cpu_count() or 1)
    from index_store import SearchPlan, Store  # after threads are shared

    case = _wordnet() if sys.argv[1] == "wordnet" else _sift(Path(sys.argv[1]), int((*sys.argv, "700000")[2]))
    half = len(case.queries) // 2
    seen, unseen, true = case.queries[:half], case.queries[half:], case.true[half:]
    store = Store.open(case.folder, threads=os.cpu_count() or 1, recent_queries=half)
    figures: dict[str, Any] = {"machine": machine(), "rows": case.rows, "limit": LIMIT, "measured_on": half}
    try:
        collection = store.collection(case.collection)
        for query in seen:
            collection.query(query[None], SearchPlan(1, nprobe=1))
        started = time.perf_counter()
        collection.codes.measure_recall("default", LIMIT, half)
        figures["measuring_s"] = round(time.perf_counter() - started, 1)
        grid = {(n, r): _recall(collection, unseen, true, _plan(n, r)) for n in NPROBES for r in RESCORED}
        figures["targets"] = [_target(collection, unseen, true, target, grid) for target in TARGETS]
    finally:
        store.close()
    RESULTS.mkdir(exist_ok=True)
    case.result.write_text(json.dumps(figures, indent=2) + "\n")
    print(case.result.read_text())


def _sift(model: Path, rows: int) -> Case:
    data = sift_store.DATA
    queries = np.load(data / "query.npy").astype(np.float32)
    true = np.load(data / "groundtruth.npy")[:, :LIMIT]
    folder = sift_store.encoded(model, rows)
    return Case(folder, sift_store.COLLECTION, rows, queries, true, RESULTS / "target_recall.json")


def _wordnet() -> Case:
    data = wordnet_store.DATA
    queries = np.load(data / "query.npy").astype(np.float32)
    true = np.load(data / "groundtruth.npy")[:, :LIMIT]
    folder, rows = wordnet_store.encoded(), len(np.load(data / "base.npy", mmap_mode="r"))
    return Case(folder, wordnet_store.COLLECTION, rows, queries, true, RESULTS / "target_recall_wordnet.json")


def _target(
    collection: Any, queries: NDArray[np.float32], true: NDArray[np.int32], target: float, grid: dict[Any, float]
) -> dict[str, Any]:
    found = collection.codes.operating_point("default", target, LIMIT)
    if found is None:
        return {"target": target, "chosen": "exact search: nothing that was measured reached it"}
    _, point = found
    reached = [numbers for numbers, recall in grid.items() if recall >= target]
    plans = [_plan(point.nprobe, point.rescored), *(_plan(*numbers) for numbers in reached)]
    times = np.zeros((len(plans), TIMED, 2))
    for turn in range(TIMED):
        for place, plan in enumerate(plans):
            started = np.array([time.perf_counter(), time.process_time()])
            collection.query(queries[turn][None], plan)
            times[place, turn] = np.array([time.perf_counter(), time.process_time()]) - started
    typical, cpu = np.median(times, axis=1).T * 1e3
    best = int(cpu[1:].argmin()) if reached else None
    return {
        "target": target,
        "chosen": {"nprobe": point.nprobe, "rescored": point.rescored, "measured": round(point.recall, 4)},
        "recall_on_unseen": round(_recall(collection, queries, true, plans[0]), 4),
        "ms": round(float(typical[0]), 2), "cpu_ms": round(float(cpu[0]), 2),
        "best_by_hand": None if best is None else {"nprobe": reached[best][0], "rescored": reached[best][1],
                                                   "recall": round(grid[reached[best]], 4),
                                                   "ms": round(float(typical[1 + best]), 2),
                                                   "cpu_ms": round(float(cpu[1 + best]), 2)},
        "ratio": None if best is None else round(float(cpu[0] / cpu[1 + best]), 2),
    }  # fmt: skip


def _plan(nprobe: int, rescored: int) -> Any:
    from index_store import SearchPlan

    return SearchPlan(LIMIT, nprobe=nprobe, shortlist=rescored, oversampling=rescored / LIMIT)


def _recall(collection: Any, queries: NDArray[np.float32], true: NDArray[np.int32], plan: Any) -> float:
    hits = collection.query(queries, plan)
    return float(
        np.mean(
            [len({hit.id for hit in own} & set(some.tolist())) / LIMIT for own, some in zip(hits, true, strict=True)]
        )
    )


if __name__ == "__main__":
    main()
