"""A service without codes does without what computes them, and one on CPUs without what trains them."""

import subprocess
import sys
from pathlib import Path

from tests.builders import tiny_codec

ASKED = """
import sys
from service.server import Server
import index_store, model
from index_store import Store
Store.open(sys.argv[1]).close()
print(*(name for name in ("torch", "numba", "llvmlite", "pyarrow", "h5py", "matplotlib") if name in sys.modules))
"""

LIFE = """
import sys
from pathlib import Path

import numpy as np

import service.server
from index_store import CodesConfig, CollectionConfig, SearchPlan, Store, VectorConfig
from index_store.filters import Filter

data, checkpoints = Path(sys.argv[1]), sys.argv[2:]
vectors = np.random.default_rng(0).normal(size=(900, 16)).astype(np.float32)
few, many = Filter.parse({"must": [{"has_id": list(range(0, 800, 9))}]}), Filter.parse({"must_not": [{"has_id": [9]}]})
plans = SearchPlan(5), SearchPlan(5, rescore=False), SearchPlan(5, exact=True), SearchPlan(5, shortlist=60, rerank=20)


def use(collection):
    for plan in (*plans, SearchPlan(5, shortlist=60, rerank=20, rescore=False)):
        for queries in (vectors[:1], vectors[:9]):
            for chosen in (None, few, many):
                assert len(collection.query(queries, plan, filter=chosen)[0]) == 5


store = Store.open(data, threads=2)
for number, (checkpoint, distance) in enumerate(zip(checkpoints, ("Cosine", "Dot"), strict=True)):
    store.put_model(f"tiny{number}", checkpoint)
    config = CollectionConfig({"default": VectorConfig(16, distance)}, {"default": CodesConfig(f"tiny{number}")})
    collection = store.create_collection(f"terms{number}", config)
    for begin in (0, 500):
        collection.upsert(np.arange(begin, begin + 400, dtype=np.uint64), {"default": vectors[begin : begin + 400]})
        use(collection)
        while collection.encode_pending(300):
            pass
    collection.delete([1, 2, 3])
    use(collection)
    collection.info()
    collection.codes.measure_recall("default", 5, 50)
    store.codec(f"tiny{number}").prefix(2).with_shortlist_decoders(vectors)
store.close()
store = Store.open(data, threads=2)
for name in store.collections():
    use(store.collection(name))
store.close()
from model.training import Recipe, list_count  # what a service needs of a training; the rest is another process's
from model.training.report import markdown
print(*(name for name in ("torch", "pyarrow", "h5py", "matplotlib") if name in sys.modules))
"""


def imported(script: str, *arguments: object) -> list[str]:
    """Which of the large libraries a script names as imported once it is done."""
    command = [sys.executable, "-c", script, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_a_service_without_models_imports_neither_pytorch_nor_numba(tmp_path: Path) -> None:
    assert imported(ASKED, tmp_path) == []


def test_models_are_stored_and_their_codes_made_and_searched_without_pytorch(tmp_path: Path) -> None:
    checkpoints = [tiny_codec(tmp_path, lists=lists) for lists in (0, 8)]
    assert imported(LIFE, tmp_path / "data", *checkpoints) == []
