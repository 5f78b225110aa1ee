"""Nothing is compiled while somebody waits: what warming leaves uncompiled, the first user's query would compile."""

import subprocess
import sys
from pathlib import Path

SCRIPT = """
import gc, sys
from pathlib import Path

import numpy as np
from numba.core.dispatcher import Dispatcher

from index_store import SearchPlan, Store
from index_store.filters import Filter
from index_store.warming import warm
from tests.builders import clustered
from tests.index_store.making import DIM, encode_all, fill, make_collection

folder = Path(sys.argv[1])


def compiled():
    dispatchers = [one for one in gc.get_objects() if isinstance(one, Dispatcher)]
    return {(one.__module__, one.__name__, str(kinds)) for one in dispatchers for kinds in one.signatures}


few, many = Filter.parse({"must": [{"has_id": list(range(0, 700, 7))}]}), Filter.parse({"must_not": [{"has_id": [9]}]})


def use(collection):
    for queries in (clustered(1, DIM, seed=3), clustered(9, DIM, seed=4)):
        for plan in (SearchPlan(5), SearchPlan(5, rescore=False), SearchPlan(5, exact=True)):
            collection.query(queries, plan)
            collection.query(queries, plan, filter=few)
            collection.query(queries, plan, filter=many)


warm()
before = compiled()
store = Store.open(folder / "data", threads=2)
collection = make_collection(store, folder)
fill(collection, 500)
encode_all(collection)
fill(collection, 200, first=500, seed=2)
use(collection)
encode_all(collection)
collection.delete([1, 2, 3])
fill(collection, 1, first=700, seed=3)
encode_all(collection)
use(collection)
collection.codes.measure_recall("default", 5, 50)
store.close()
store = Store.open(folder / "data", threads=2)
use(store.collection("terms"))
store.close()
for late in sorted(compiled() - before):
    print(*late)
"""


def test_encoding_and_searching_compile_nothing_after_warming(tmp_path: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", SCRIPT, str(tmp_path)], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == "", f"compiled while a user waits:\n{ended.stdout}"
