"""Fast first, better later: encoding a backlog in haste and refining it, beside encoding it well at once.

    python -m benchmarks.fast_first [ROWS]

The example's vectors (examples/wordnet), 16 bytes, A = B = 8. Writes benchmarks/results/fast_first.json. Seconds are of
processor time, all threads together, so that whatever else the machine does disturbs them little.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import machine
from index_store import CodesConfig, Collection, CollectionConfig, Store, VectorConfig, encoding

EXAMPLE = Path("examples/wordnet")
RESULT = Path("benchmarks/results/fast_first.json")
BATCH_ROWS = 4096
CANDIDATES, BEAM = 8, 8


def main(rows: int) -> None:
    base = np.load(EXAMPLE / "base.npy")[:rows].astype(np.float32)
    base /= np.linalg.norm(base, axis=1, keepdims=True)
    with tempfile.TemporaryDirectory() as folder:
        store = Store.open(folder)
        store.put_model("example", EXAMPLE / "wordnet-16.safetensors")
        told = {
            "rows": len(base), "candidates": CANDIDATES, "beam": BEAM, "machine": machine(),
            "at_once": _encoded(store, base, "at-once", backlog=len(base)),
            "fast_first": _encoded(store, base, "fast-first", backlog=0),
        }  # fmt: skip
        store.close()
    RESULT.write_text(json.dumps(told, indent=2) + "\n")
    print(json.dumps(told, indent=2))


def _encoded(store: Store, base: np.ndarray, name: str, backlog: int) -> dict[str, Any]:
    """Seconds until all is searchable by codes, and until the codes are what they stay, with the error of each."""
    encoding.DRAFT_BACKLOG = backlog
    codes = CodesConfig("example", "float32", CANDIDATES, BEAM)
    config = CollectionConfig({"default": VectorConfig(base.shape[1], "Cosine")}, {"default": codes})
    collection = store.create_collection(name, config)
    collection.upsert(np.arange(len(base), dtype=np.uint64), {"default": base})
    searchable_s = _seconds(lambda: collection.encode_pending(BATCH_ROWS))
    first = _mse(collection, base)
    refined_s = _seconds(lambda: collection.refine(BATCH_ROWS))
    return {
        "searchable_after_s": searchable_s, "mse_then": first,
        "refined_after_s": searchable_s + refined_s, "mse_in_the_end": _mse(collection, base),
    }  # fmt: skip


def _seconds(step: Callable[[], int]) -> float:
    """Processor time until `step` finds nothing more to do."""
    began = time.process_time()
    while step():
        pass
    return round(time.process_time() - began, 2)


def _mse(collection: Collection, base: np.ndarray) -> float:
    codec, total = collection.codes.codecs()[0], 0.0
    for one in collection.view().segments:
        codes = np.c_[one.lists_of(np.arange(len(one))), one.codes].astype(np.int32)
        total += float(np.square(codec.decode(codes) - base[one.rows]).sum())
    return round(total / len(base), 4)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000)
