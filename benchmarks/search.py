"""`python -m benchmarks.search MODEL [ROWS]`: recall against queries a second, beside Faiss at equal bytes.

One thread. A configuration is timed by the CPU seconds of the whole process, which other work on the machine disturbs
less than the clock on the wall does; all are run in turns, and the median of the turns counts. Ours is asked through
`Collection.query`, ids and versions included. Writes benchmarks/results/search_MODEL.json and .png.
"""

import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import machine
from benchmarks.sift_store import COLLECTION, DATA, base, encoded
from service.cli.process import share_threads

RESULTS = Path(__file__).parent / "results"
LIMIT = 10
QUERIES, SINGLE_QUERIES, BATCH, TURNS = 1000, 100, 100, 2

Float32 = NDArray[np.float32]


@dataclass
class Measured:
    """One configuration: queries/s of one core in batches and one at a time, and what was found."""

    system: str
    setting: str
    bytes_in_ram: float
    recall_at_1: float
    ten_recall_at_10: float
    batched_per_s: float
    single_per_s: float


def main() -> None:
    share_threads(1)
    model, rows = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 700_000
    measured = measure(model, rows)
    figures = {
        "machine": machine(), "model": model.stem, "vectors": rows, "queries": QUERIES, "batch": BATCH, "threads": 1,
        "limit": LIMIT, "measured": [asdict(one) for one in measured],
    }  # fmt: skip
    result = RESULTS / f"search_{model.stem}"
    result.with_suffix(".json").write_text(json.dumps(figures, indent=1) + "\n")
    draw(measured, f"SIFT, {rows} vectors, {model.stem}, one core", result.with_suffix(".png"))


def measure(model: Path, rows: int) -> list[Measured]:
    """Every configuration of every system, in turns."""
    from benchmarks import faiss_rivals  # after threads are shared
    from index_store import Store

    queries = np.load(DATA / "query.npy")[:QUERIES].astype(np.float32)
    store = Store.open(encoded(model, rows), threads=1)
    try:
        collection = store.collection(COLLECTION)
        code_bytes = collection.info().code_bytes
        truth = neighbours(queries, base(rows))
        configurations = [("Qinco", setting, code_bytes + 6.0, ours(collection, plan)) for setting, plan in plans()]
        vectors = base(rows)
        for rival in faiss_rivals.rivals(code_bytes, rows):
            index = faiss_rivals.opened(rival, vectors)
            for effort, search in faiss_rivals.searches(rival, index, vectors):
                size = faiss_rivals.size_bytes(rival, rows)
                configurations.append((rival.name, str(effort), size, search))
        return [
            Measured(name, setting, size, *found_by(search, queries, truth), *speeds)
            for (name, setting, size, search), speeds in zip(
                configurations, in_turns([search for *_, search in configurations], queries), strict=True
            )
        ]
    finally:
        store.close()


def plans() -> list[tuple[str, Any]]:
    """Our settings, from fast to thorough."""
    from index_store import SearchPlan

    rescored = [(8, 128), (16, 128), (32, 128), (64, 128), (64, 200), (128, 200), (128, 400), (256, 800)]
    reranked = [(4, 20), (8, 20), (16, 20), (32, 20), (64, 40), (128, 40), (128, 100)]
    return [
        ("rescored, defaults", SearchPlan(LIMIT)),
        *(
            (f"rescored, nprobe {n}, {s} read", SearchPlan(LIMIT, nprobe=n, oversampling=s / LIMIT))
            for n, s in rescored
        ),
        ("codes alone, defaults", SearchPlan(LIMIT, rescore=False)),
        *(
            (f"codes alone, nprobe {n}, {r} decoded", SearchPlan(LIMIT, nprobe=n, rerank=r, shortlist=r, rescore=False))
            for n, r in reranked
        ),
    ]


def ours(collection: Any, plan: Any) -> Any:
    """A search that gives ids [q, limit], as Faiss' do."""

    def search(queries: Float32, limit: int) -> NDArray[np.int64]:
        found = np.full((len(queries), limit), -1, np.int64)
        for row, hits in enumerate(collection.query(queries, plan)):
            found[row, : len(hits)] = [hit.id for hit in hits]
        return found

    return search


def in_turns(searches: list[Any], queries: Float32) -> list[tuple[float, float]]:
    """(queries/s in batches, queries/s one at a time) of each, per second of CPU, the median of the turns."""
    rates = np.zeros((TURNS, len(searches), 2))
    for turn in range(TURNS):
        for place, search in enumerate(searches):
            search(queries[:1], LIMIT)
            for column, (some, size) in enumerate(((queries, BATCH), (queries[:SINGLE_QUERIES], 1))):
                started = time.process_time()
                for first in range(0, len(some), size):
                    search(some[first : first + size], LIMIT)
                rates[turn, place, column] = len(some) / (time.process_time() - started)
        print(f"Turn {turn + 1} of {TURNS} done", flush=True)
    return [(round(a), round(b)) for a, b in np.median(rates, axis=0)]


def found_by(search: Any, queries: Float32, truth: NDArray[np.int64]) -> tuple[float, float]:
    """R@1 and 10-recall@10."""
    found = np.concatenate([search(queries[i : i + BATCH], LIMIT) for i in range(0, len(queries), BATCH)])
    shared = [len({*ids} & {*true}) / LIMIT for ids, true in zip(found.tolist(), truth.tolist(), strict=True)]
    return round(float((found[:, 0] == truth[:, 0]).mean()), 4), round(float(np.mean(shared)), 4)


def neighbours(queries: Float32, vectors: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The true nearest rows [q, 10] among the first so many vectors."""
    known = np.load(DATA / "groundtruth.npy")[: len(queries)]
    if len(vectors) == len(base(1 << 62)):
        return known[:, :LIMIT].astype(np.int64)
    import faiss

    exact = faiss.IndexFlatL2(vectors.shape[1])
    exact.add(vectors.astype(np.float32))
    found: NDArray[np.int64] = exact.search(queries, LIMIT)[1]
    return found


def draw(measured: list[Measured], title: str, path: Path) -> None:
    """Two frontiers: R@1 and 10-recall@10 against queries a second, in batches (lines) and one at a time (dotted)."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(14, 6))
    groups = list(dict.fromkeys(_curve(one) for one in measured))
    for number, group in enumerate(groups):
        points = [one for one in measured if _curve(one) == group]
        for axis, value in zip(axes, ("recall_at_1", "ten_recall_at_10"), strict=True):
            for speed, style in (("batched_per_s", "o-"), ("single_per_s", "o:")):
                best = frontier([(getattr(one, value), getattr(one, speed)) for one in points])
                label = f"{group}, {points[0].bytes_in_ram:.0f} bytes" if style == "o-" else None
                axis.plot(*zip(*best, strict=True), style, color=f"C{number}", label=label, markersize=3)
            axis.set_xlabel({"recall_at_1": "R@1", "ten_recall_at_10": "10-recall@10"}[value])
            axis.set_ylabel("queries/s of one core")
            axis.set_yscale("log")
    axes[0].legend(fontsize=8)
    figure.suptitle(title + "; lines: batches, dotted: one at a time")
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def _curve(one: Measured) -> str:
    return f"Qinco, {one.setting.split(',')[0]}" if one.system == "Qinco" else one.system


def frontier(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Those that no other beats in both recall and speed, by recall."""
    kept: list[tuple[float, float]] = []
    for recall, speed in sorted(points, reverse=True):
        if not kept or speed > kept[-1][1]:
            kept.append((recall, speed))
    return kept[::-1]


if __name__ == "__main__":
    main()
