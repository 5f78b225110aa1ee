"""Data folders of earlier formats load, answer as they did, and go on; those of later ones are refused with a sentence.

`tests/formats/first.tar.gz` is the folder of the first format: collections with lists, without, and exact.
"""

import sqlite3
import tarfile
from pathlib import Path

import numpy as np
import pytest

from index_store import SearchPlan
from index_store.errors import DamagedData
from tests.builders import clustered
from tests.index_store.making import THOROUGH, store_at

FIRST = Path(__file__).parents[1] / "formats/first.tar.gz"
VECTORS = clustered(100, 8, 1)


@pytest.fixture
def first(tmp_path: Path) -> Path:
    with tarfile.open(FIRST) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path


def test_a_folder_of_the_first_format_loads_answers_and_goes_on(first: Path) -> None:
    left = [*range(3), *range(4, 100)]
    for start in range(2):
        with store_at(first) as store:
            assert store.collections() == ["bare", "exact", "lists"]
            for name in store.collections():
                collection = store.collection(name)
                assert collection.count() == 100 + start
                assert collection.retrieve([7])[0].payload == {"n": 7}
                for plan in (THOROUGH, SearchPlan(1, exact=True)):
                    found = collection.query(VECTORS[left], plan)
                    assert [hits[0].id for hits in found] == left
                collection.upsert([900], {"default": np.full((1, 8), 50, np.float32)})
                while collection.encode_pending(50):
                    pass


@pytest.mark.parametrize("database", ["catalogue.sqlite3", "points.sqlite3"])
def test_a_later_format_is_refused_with_a_sentence(first: Path, database: str) -> None:
    path = next(first.rglob(database))
    with sqlite3.connect(path) as db:
        db.execute("UPDATE meta SET value = 99 WHERE key = 'format'")
    db.close()
    if database == "catalogue.sqlite3":
        with pytest.raises(DamagedData, match=r"format .*99.*this version reads"), store_at(first):
            pass
        return
    with store_at(first) as store:
        refused = [name for name in store.collections() if told(store, name)]
        assert len(refused) == 1
        assert "format 99; this version reads" in (told(store, refused[0]) or "")


def told(store: object, name: str) -> str | None:
    try:
        store.collection(name)  # type: ignore[attr-defined]
        return None
    except DamagedData as error:
        return str(error)
