"""`python -m benchmarks.query_profile MODEL [ROWS]`: where the time of one query goes, stage by stage.

CPU time of the thread that asks, one query after another: the least tenth of the queries counts, which other work on
the machine disturbs least. Writes benchmarks/results/query_profile.json and .png.
"""

import json
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from benchmarks.machine import machine
from benchmarks.sift_store import COLLECTION, DATA, encoded
from service.cli.process import share_threads

RESULT = Path(__file__).parent / "results" / "query_profile"
LIMIT, QUERIES = 10, 1000


def main() -> None:
    share_threads(1)
    model, rows = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 700_000
    from index_store import SearchPlan, Store, one_call, plan  # after threads are shared

    vars(plan)["time"] = SimpleNamespace(perf_counter=time.thread_time)  # the clock of its stages
    one_call.CLOCK = time.CLOCK_THREAD_CPUTIME_ID
    store = Store.open(encoded(model, rows), threads=1)
    try:
        collection = store.collection(COLLECTION)
        plans = {
            "rescored, defaults": SearchPlan(LIMIT),
            "codes alone, defaults": SearchPlan(LIMIT, rescore=False),
            "codes alone, nprobe 32, 20 decoded": SearchPlan(LIMIT, nprobe=32, shortlist=20, rescore=False),
        }
        stages = {name: profile(collection, one) for name, one in plans.items()}
    finally:
        store.close()
    figures = {"machine": machine(), "model": model.stem, "vectors": rows, "limit": LIMIT, "microseconds": stages}
    RESULT.with_suffix(".json").write_text(json.dumps(figures, indent=2) + "\n")
    print(RESULT.with_suffix(".json").read_text())
    draw(stages, f"One query, SIFT, {rows} vectors of {model.stem}, one core", RESULT.with_suffix(".png"))


def profile(collection: Any, plan: Any) -> dict[str, int]:
    """Microseconds of each stage, and of all that is between them, over the fastest tenth of the queries."""
    from index_store import SearchTrace

    queries = np.load(DATA / "query.npy")[:QUERIES].astype(np.float32)
    spent: list[dict[str, float]] = []
    for place in range(QUERIES):
        trace = SearchTrace()
        started = time.thread_time()
        collection.query(queries[place : place + 1], plan, trace=trace)
        whole = time.thread_time() - started
        spent.append({**trace.seconds, "between": whole - sum(trace.seconds.values()), "all": whole})
    fastest = sorted(spent, key=lambda one: one["all"])[: QUERIES // 10]
    return {stage: round(1e6 * float(np.mean([one[stage] for one in fastest]))) for stage in fastest[0]}


def draw(stages: dict[str, dict[str, int]], title: str, path: Path) -> None:
    """A bar for each plan, its stages one after another."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axis = pyplot.subplots(figsize=(11, 3))
    names = list(dict.fromkeys(stage for one in stages.values() for stage in one if stage != "all"))
    left = np.zeros(len(stages))
    for stage in names:
        widths = np.array([one.get(stage, 0) for one in stages.values()])
        axis.barh(list(stages), widths, left=left, label=stage)
        left += widths
    axis.set_xlabel("microseconds of CPU")
    axis.legend(ncols=len(names), loc="upper center", bbox_to_anchor=(0.4, -0.25))
    axis.set_title(title)
    axis.invert_yaxis()
    figure.savefig(path, dpi=110, bbox_inches="tight")


if __name__ == "__main__":
    main()
