"""`python -m benchmarks.target_recall MODEL [ROWS]`: `target_recall` on queries that it was not measured on, on SIFT.

Half of the public queries are remembered as recent ones and measured; the other half is asked for 0.90, 0.95 and 0.99,
with rescoring. Beside it stand the best numbers set by hand: the cheapest of a grid whose recall on that other half
reaches what was asked, timed in the same process in turn. It writes benchmarks/results/target_recall.json; the data
folder is that of `benchmarks.sift_store`.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import machine
from benchmarks.sift_store import COLLECTION, DATA, encoded
from service.cli.process import share_threads

RESULT = Path(__file__).parent / "results" / "target_recall.json"
LIMIT, MEASURED, TIMED = 10, 1000, 100
TARGETS = (0.90, 0.95, 0.99)
NPROBES = (8, 16, 32, 64, 128, 256, 512, 1024)
RESCORED = (10, 20, 40, 80, 160, 320, 640, 1280)


def main() -> None:
    share_threads(os.cpu_count() or 1)
    model, rows = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 700_000
    from index_store import SearchPlan, Store  # after threads are shared

    queries = np.load(DATA / "query.npy").astype(np.float32)
    seen, unseen = queries[:MEASURED], queries[MEASURED:]
    true = np.load(DATA / "groundtruth.npy")[MEASURED:, :LIMIT]
    store = Store.open(encoded(model, rows), threads=os.cpu_count() or 1, recent_queries=MEASURED)
    figures: dict[str, Any] = {"machine": machine(), "rows": rows, "limit": LIMIT, "measured_on": MEASURED}
    try:
        collection = store.collection(COLLECTION)
        for query in seen:
            collection.query(query[None], SearchPlan(1, nprobe=1))
        started = time.perf_counter()
        collection.measure_recall("default", LIMIT, MEASURED)
        figures["measuring_s"] = round(time.perf_counter() - started, 1)
        grid = {(n, r): _recall(collection, unseen, true, _plan(n, r)) for n in NPROBES for r in RESCORED}
        figures["targets"] = [_target(collection, unseen, true, target, grid) for target in TARGETS]
    finally:
        store.close()
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(figures, indent=2) + "\n")
    print(RESULT.read_text())


def _target(
    collection: Any, queries: NDArray[np.float32], true: NDArray[np.int32], target: float, grid: dict[Any, float]
) -> dict[str, Any]:
    found = collection.operating_point("default", target, LIMIT)
    if found is None:
        return {"target": target, "chosen": "exact search: nothing that was measured reached it"}
    _, point = found
    reached = [numbers for numbers, recall in grid.items() if recall >= target]
    plans = [_plan(point.nprobe, point.rescored), *(_plan(*numbers) for numbers in reached)]
    times = np.zeros((len(plans), TIMED))
    for turn in range(TIMED):
        for place, plan in enumerate(plans):
            started = time.perf_counter()
            collection.query(queries[turn][None], plan)
            times[place, turn] = time.perf_counter() - started
    typical = np.median(times, axis=1) * 1e3
    best = int(typical[1:].argmin()) if reached else None
    return {
        "target": target,
        "chosen": {"nprobe": point.nprobe, "rescored": point.rescored, "measured": round(point.recall, 4)},
        "recall_on_unseen": round(_recall(collection, queries, true, plans[0]), 4),
        "ms": round(float(typical[0]), 2),
        "best_by_hand": None if best is None else {"nprobe": reached[best][0], "rescored": reached[best][1],
                                                   "recall": round(grid[reached[best]], 4),
                                                   "ms": round(float(typical[1 + best]), 2)},
        "ratio": None if best is None else round(float(typical[0] / typical[1 + best]), 2),
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
