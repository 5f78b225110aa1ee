"""`python -m benchmarks.start MODEL [ROWS]`: how soon a server is ready, and what its first queries take.

One collection of a million points (SIFT's, then the same perturbed), payloads of three keys, each indexed, and codes
found with a beam of one, since encoding is not what is measured. A server is started on it six times, the first time to
compile what no start before has: seconds until /readyz says yes; milliseconds of the first query of one client, of the
tenth, and of one after a pause like that before the first; resident memory; least and median. Writes
benchmarks/results/start.json; the data stays in runs/start-MODEL-ROWS, 350 bytes a point.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import machine
from benchmarks.scale import AT_ONCE, ENCODED_AT_ONCE, measured, vectors
from benchmarks.sift_store import COLLECTION, MEASURED_LIMIT, MEASURED_SAMPLE, RUNS
from service.cli.process import share_threads

RESULT = Path(__file__).parent / "results" / "start.json"
KEYS = {"group": "integer", "colour": "keyword", "price": "float"}
GROUPS, COLOURS = 1000, 10
STARTS = 5


def main() -> None:
    share_threads(os.cpu_count() or 1)
    model, rows = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000
    folder = RUNS / f"start-{model.stem}-{rows}"
    if not folder.is_dir():
        unfinished = folder.with_name(f"{folder.name}-unfinished")
        make(unfinished, model, rows)
        unfinished.rename(folder)
    # Installed packages have their bytecode, as the images have; a checkout that may not be written to has none.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = str((RUNS / "bytecode").resolve())
    measured(folder)
    starts = [measured(folder) for _ in range(STARTS)]
    figures: dict[str, Any] = {"machine": machine(), "model": model.stem, "rows": rows, "indexes": KEYS}
    for key in starts[0]:
        told = [one[key] for one in starts]
        figures[key] = {"least": min(told), "median": round(float(np.median(told)), 2)}
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(figures, indent=2) + "\n")
    print(RESULT.read_text())


def make(folder: Path, model: Path, rows: int) -> None:
    """A data folder with so many points, encoded, merged and indexed; goes on with what there is."""
    from index_store import CodesConfig, CollectionConfig, IndexSchema, Store, VectorConfig  # after threads are shared

    store = Store.open(folder, threads=os.cpu_count() or 1, max_pending=1 << 31)
    try:
        if COLLECTION not in store.collections():
            store.put_model("codec", model)
            dim = store.model("codec").dim
            codes = CodesConfig("codec", "uint8", 1, 1)
            config = CollectionConfig({"default": VectorConfig(dim, "Euclid")}, {"default": codes})
            collection = store.create_collection(COLLECTION, config)
            for key, kind in KEYS.items():
                collection.create_payload_index(key, IndexSchema(kind))
        collection, random = store.collection(COLLECTION), np.random.default_rng(1)
        for first in range(collection.count(), rows, AT_ONCE):
            ids = np.arange(first, min(first + AT_ONCE, rows), dtype=np.uint64)
            payloads = [
                {"group": one % GROUPS, "colour": f"colour {one % COLOURS}", "price": price}
                for one, price in zip(ids.tolist(), random.random(len(ids)).round(6).tolist(), strict=True)
            ]
            collection.upsert(ids, {"default": vectors(ids)}, payloads)
            if collection.info().pending >= ENCODED_AT_ONCE:
                collection.encode_pending(ENCODED_AT_ONCE)
            print(f"{ids[-1] + 1} of {rows} stored", file=sys.stderr, flush=True)
        while collection.encode_pending(ENCODED_AT_ONCE) or collection.merge() or collection.index_payloads():
            pass
        if collection.codes.recall_is_due("default"):  # or a server would measure it beside what is to be measured
            collection.codes.measure_recall("default", MEASURED_LIMIT, MEASURED_SAMPLE, lambda share: None)
    finally:
        store.close()


if __name__ == "__main__":
    main()
