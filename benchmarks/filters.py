"""`python -m benchmarks.filters MODEL [ROWS]`: what a filter costs a query, by how many points survive it, on SIFT.

Payloads hold numbers drawn at random, so that a filter keeps 10 % or 0.1 % of all points, spread over all lists.
Queries come one at a time, in turn without filter, with one asked for the first time (other limits or another number
each time; of keywords there are ten, so nothing is remembered of the filter), and with one asked before; figures are
medians, of CPU time too, which other work disturbs less. Recall is 10-recall@10 against exact search over
the survivors. It writes benchmarks/results/filters.json; the data folder is that of `benchmarks.sift_store`.
"""

import json
import os
import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import machine
from benchmarks.sift_store import COLLECTION, DATA, encoded
from service.cli.process import share_threads

RESULT = Path(__file__).parent / "results" / "filters.json"
LIMIT = 10
QUERIES = 100
UNINDEXED = 3
GROUPS = 1000
COLOURS = AT_ONCE = 10


def main() -> None:
    share_threads(os.cpu_count() or 1)
    model, rows = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 700_000
    from index_store import IndexSchema, Store  # after threads are shared

    folder = _with_payloads(encoded(model, rows), rows)
    queries = np.load(DATA / "query.npy")[:QUERIES].astype(np.float32)
    figures: dict[str, Any] = {"machine": machine(), "rows": rows, "limit": LIMIT, "queries": QUERIES}
    store = Store.open(folder, threads=os.cpu_count() or 1)
    try:
        collection = store.collection(COLLECTION)
        for key in collection.payload_indexes():
            collection.delete_payload_index(key)
        figures["unindexed"] = {name: _unindexed(collection, condition) for name, condition in CONDITIONS.items()}
        started = time.perf_counter()
        for key, kind in (("group", "integer"), ("colour", "keyword"), ("price", "float")):
            collection.create_payload_index(key, IndexSchema(kind))
        while collection.index_payloads():
            pass
        figures["indexing_s"] = round(time.perf_counter() - started, 2)
        figures["indexed"] = {name: _compared(collection, condition, queries) for name, condition in CONDITIONS.items()}
    finally:
        store.close()
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(figures, indent=2) + "\n")
    print(RESULT.read_text())


CONDITIONS: dict[str, dict[str, Any]] = {
    "10 %, a keyword": {"key": "colour", "match": {"value": "colour 3"}},
    "10 %, a range of floats": {"key": "price", "range": {"gte": 0.2, "lt": 0.3}},
    "0.1 %, an integer": {"key": "group", "match": {"value": 17}},
    "0.1 %, a range of floats": {"key": "price", "range": {"gte": 0.5, "lt": 0.501}},
    "50 %, a range of floats": {"key": "price", "range": {"lt": 0.5}},
}


def _with_payloads(folder: Path, rows: int) -> Path:
    """A copy of a data folder whose points have payloads; made unless it is there."""
    from index_store import Store
    from index_store.payload_change import overwriting

    copy = folder.with_name(f"{folder.name}-payloads")
    if copy.exists():
        return copy
    unfinished = folder.with_name(f"{folder.name}-unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    shutil.copytree(folder, unfinished)
    random = np.random.default_rng(1)
    groups = random.integers(0, GROUPS, rows)
    store = Store.open(unfinished, threads=1)
    try:
        collection = store.collection(COLLECTION)
        with ThreadPoolExecutor(AT_ONCE) as clients:  # whose changes are made durable together
            for group in range(GROUPS):
                ids = np.flatnonzero(groups == group).astype(np.uint64)
                changes = []
                for colour, some in enumerate(np.array_split(random.permutation(ids), COLOURS)):
                    price = round(float(random.random()), 6)
                    payload = {
                        "group": group,
                        "colour": f"colour {colour}",
                        "price": price,
                        "text": f"{group} in a row",
                    }
                    changes.append((some, overwriting(payload)))
                list(clients.map(lambda change: collection.change_payloads(*change), changes))
    finally:
        store.close()
    unfinished.rename(copy)
    return copy


def _unindexed(collection: Any, condition: dict[str, Any]) -> dict[str, float]:
    """Seconds that filtering takes by reading payloads; the fastest of a few, since others use the machine."""
    from index_store import Filter

    seconds, cpu_seconds = [], []
    for place in range(UNINDEXED):
        # Another limit each time, so that no answer is remembered.
        asked = Filter.parse({"must": [condition], "must_not": [{"has_id": [place]}]})
        started, cpu_started = time.perf_counter(), time.thread_time()
        collection.count(asked)
        seconds.append(time.perf_counter() - started)
        cpu_seconds.append(time.thread_time() - cpu_started)
    return {"count_s": round(min(seconds), 3), "cpu_s": round(min(cpu_seconds), 3)}


def _compared(collection: Any, condition: dict[str, Any], queries: NDArray[np.float32]) -> dict[str, Any]:
    """Milliseconds a query with the filter and without, in turn, and the recall of both."""
    from index_store import Filter, SearchPlan
    from index_store.survivors import Remembered

    plan, exact = SearchPlan(LIMIT), SearchPlan(LIMIT, exact=True)
    timed: dict[str, list[tuple[float, float]]] = {"unfiltered": [], "first": [], "again": []}
    recalls: dict[str, list[float]] = {"plain": [], "filtered": []}
    known = Filter.parse({"must": [condition]})
    collection.query(queries[:1], plan, filter=known)
    for place, query in enumerate(queries):
        fresh = Filter.parse({"must": [_another(condition, place)]})
        for name, asked in (("unfiltered", None), ("first", fresh), ("again", known)):
            if name == "first":
                remembered, collection._held._remembered = collection._held._remembered, Remembered()
            started, cpu_started = time.perf_counter(), time.thread_time()
            found = collection.query(query[None], plan, filter=asked)[0]
            timed[name].append((time.perf_counter() - started, time.thread_time() - cpu_started))
            if name == "first":
                collection._held._remembered = remembered
            if name != "first" and place < QUERIES // 4:
                exactly = collection.query(query[None], exact, filter=asked)[0]
                recalls["plain" if asked is None else "filtered"].append(_recall(found, exactly))
    survivors = collection.count(Filter.parse({"must": [condition]}))
    return {
        "survivors": survivors,
        **{f"{name}_ms": round(1e3 * float(np.median(one, axis=0)[0]), 2) for name, one in timed.items()},
        **{f"{name}_cpu_ms": round(1e3 * float(np.median(one, axis=0)[1]), 2) for name, one in timed.items()},
        **{f"{name}_ratio": _ratio(timed[name], timed["unfiltered"]) for name in ("first", "again")},
        **{f"{name}_cpu_ratio": _ratio(timed[name], timed["unfiltered"], 1) for name in ("first", "again")},
        "recall_unfiltered": round(float(np.mean(recalls["plain"])), 3),
        "recall_filtered": round(float(np.mean(recalls["filtered"])), 3),
    }


def _another(condition: dict[str, Any], place: int) -> dict[str, Any]:
    """A condition like another that as many points meet; the same of a keyword."""
    if "range" in condition:
        moved = {name: limit + 1e-6 * (place + 1) for name, limit in condition["range"].items()}
        return {"key": condition["key"], "range": moved}
    if condition["key"] == "group":
        return {"key": "group", "match": {"value": 100 + place}}
    return condition


def _ratio(one: list[tuple[float, float]], other: list[tuple[float, float]], clock: int = 0) -> float:
    """The median ratio of two measurements made in turn, by the clock on the wall (0) or of the CPU (1)."""
    return round(float(np.median(np.array(one)[:, clock] / np.array(other)[:, clock])), 2)


def _recall(found: list[Any], true: list[Any]) -> float:
    return len({hit.id for hit in found} & {hit.id for hit in true}) / len(true)


if __name__ == "__main__":
    main()
