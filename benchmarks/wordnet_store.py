"""`python -m benchmarks.wordnet_store`: a data folder with the bundled example encoded, for the benchmarks of search.

It lands in runs/wordnet-20000 (ignored by git) and is kept. Vectors are the int8 rows of examples/wordnet, searched by
Cosine with the bundled codec and its own candidates and beam; originals lie beside the codes.
"""

import os
from pathlib import Path

import numpy as np

from benchmarks.sift_store import RUNS
from service.cli.process import share_threads

DATA = Path(__file__).parent.parent / "examples" / "wordnet"
FOLDER = RUNS / "wordnet-20000"
COLLECTION = "wordnet"


def main() -> None:
    share_threads(os.cpu_count() or 1)
    print(encoded())


def encoded() -> Path:
    """The data folder; made unless it is there."""
    from index_store import CodesConfig, CollectionConfig, Store, VectorConfig  # after threads are shared

    store = Store.open(FOLDER, threads=os.cpu_count() or 1)
    try:
        if COLLECTION not in store.collections():
            store.put_model("codec", DATA / "wordnet-16.safetensors")
            vectors = np.load(DATA / "base.npy").astype(np.float32)
            config = CollectionConfig(
                {"default": VectorConfig(vectors.shape[1], "Cosine")}, {"default": CodesConfig("codec")}
            )
            collection = store.create_collection(COLLECTION, config)
            collection.upsert(np.arange(len(vectors), dtype=np.uint64), {"default": vectors})
        collection = store.collection(COLLECTION)
        while collection.encode_pending(5_000):
            print(f"{collection.info().pending} left to encode", flush=True)
        while collection.refine(5_000) or collection.merge():
            pass
    finally:
        store.close()
    return FOLDER


if __name__ == "__main__":
    main()
