"""`python -m benchmarks.sift_store MODEL [ROWS]`: a data folder with SIFT encoded, for the benchmarks of search.

It lands in runs/MODEL-ROWS (ignored by git) and is kept, since encoding takes minutes. Vectors are uint8 rows of
../shared/data/sift, searched by Euclid; originals lie beside the codes.
"""

import os
import sys
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from service.cli.process import share_threads

DATA = Path(os.environ.get("QINCO_BENCH_DATA", "../shared/data")) / "sift"
RUNS = Path("runs")
COLLECTION = "sift"
ROWS_AT_ONCE = 20_000
CANDIDATES = BEAM = 4
MEASURED_LIMIT, MEASURED_SAMPLE = 10, 500


def main() -> None:
    share_threads(os.cpu_count() or 1)
    model, rows = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 700_000
    print(encoded(model, rows))


def base(rows: int) -> NDArray[np.uint8]:
    """The first so many vectors, mapped."""
    return np.load(DATA / "base.npy", mmap_mode="r")[:rows]


def folder_of(model: Path, rows: int) -> Path:
    """Where the data folder of a model and so many rows lies."""
    return RUNS / f"{model.stem}-{rows}"


def encoded(model: Path, rows: int) -> Path:
    """The data folder of so many rows encoded with a model; made unless it is there."""
    from index_store import CodesConfig, CollectionConfig, Store, VectorConfig  # after threads are shared

    folder = folder_of(model, rows)
    store = Store.open(folder, threads=os.cpu_count() or 1, max_pending=1 << 31)
    try:
        if COLLECTION not in store.collections():
            store.put_model("codec", model)
            vectors = base(rows)
            codes = CodesConfig("codec", "uint8", CANDIDATES, BEAM)
            config = CollectionConfig({"default": VectorConfig(vectors.shape[1], "Euclid")}, {"default": codes})
            collection = store.create_collection(COLLECTION, config)
            for first in range(0, rows, ROWS_AT_ONCE):
                some = vectors[first : first + ROWS_AT_ONCE]
                ids = np.arange(first, first + len(some), dtype=np.uint64)
                collection.upsert(ids, {"default": some.astype(np.float32)})
        collection = store.collection(COLLECTION)
        started, total = time.perf_counter(), collection.info().pending
        while collection.encode_pending(50_000):
            left = collection.info().pending
            print(f"{total - left} of {total} encoded, {time.perf_counter() - started:.0f} s", flush=True)
        while collection.refine(50_000) or collection.merge():  # a long backlog is encoded in haste first
            pass
        if collection.codes.recall_is_due("default"):  # or a server would measure it beside what is to be measured
            collection.codes.measure_recall("default", MEASURED_LIMIT, MEASURED_SAMPLE, lambda share: None)
    finally:
        store.close()
    return folder


if __name__ == "__main__":
    main()
