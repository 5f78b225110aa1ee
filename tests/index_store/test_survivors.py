"""What passes a filter is remembered, and never longer than it is true."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyroaring import BitMap

from index_store import Collection, Filter, IndexSchema, SearchPlan, survivors
from index_store.payload_change import overwriting
from index_store.payload_indexes import State
from index_store.survivors import Remembered, Survivors
from tests.builders import clustered
from tests.index_store.making import DIM, encode_all, make_collection, store_at

RED = Filter.parse({"must": [{"key": "colour", "match": {"value": "red"}}]})


def found(collection: Collection, condition: Filter) -> set[object]:
    """The ids that a query gives, asked so that all that pass come back."""
    (hits,) = collection.query(clustered(1, DIM), SearchPlan(100), filter=condition)
    return {hit.id for hit in hits}


def put(collection: Collection, ids: list[int], colour: str) -> None:
    collection.upsert(np.array(ids, np.uint64), {"default": clustered(len(ids), DIM)}, [{"colour": colour}] * len(ids))


@settings(max_examples=8)
@given(
    changes=st.lists(
        st.tuples(
            st.sampled_from(["paint red", "paint blue", "write red", "delete", "encode", "index", "forget the index"]),
            st.lists(st.integers(0, 30), min_size=1, max_size=5, unique=True),
        ),
        max_size=12,
    )
)
@pytest.mark.parametrize("lists", [8, None])
def test_a_filter_asked_again_sees_every_change(
    tmp_path_factory: pytest.TempPathFactory, lists: int | None, changes: list[tuple[str, list[int]]]
) -> None:
    folder = tmp_path_factory.mktemp("changes")
    with store_at(folder) as store:
        collection = make_collection(store, folder, lists=lists)
        put(collection, list(range(0, 30, 2)), "red")
        colours = dict.fromkeys(range(0, 30, 2), "red")
        for change, ids in changes:
            held = [id for id in ids if id in colours]
            if change.startswith("paint") and held:
                collection.change_payloads(held, overwriting({"colour": change.split()[1]}))
                colours |= dict.fromkeys(held, change.split()[1])
            elif change == "write red":
                put(collection, ids, "red")
                colours |= dict.fromkeys(ids, "red")
            elif change == "delete":
                collection.delete(ids)
                colours = {id: colour for id, colour in colours.items() if id not in ids}
            elif change == "encode" and lists is not None:
                encode_all(collection)
            elif change == "index":
                collection.create_payload_index("colour", IndexSchema("keyword"))
                collection.index_payloads()
            elif change == "forget the index":
                collection.delete_payload_index("colour")
            expected = {id for id, colour in colours.items() if colour == "red"}
            assert found(collection, RED) == found(collection, RED) == expected


def test_filters_that_are_equal_to_python_are_told_apart(tmp_path: Path) -> None:
    with store_at(tmp_path) as store:
        collection = make_collection(store, tmp_path)
        collection.upsert(np.array([1, 2], np.uint64), {"default": clustered(2, DIM)}, [{"a": 1}, {"a": True}])
        one, true = (Filter.parse({"must": [{"key": "a", "match": {"value": value}}]}) for value in (1, True))
        assert one == true
        assert found(collection, one) == {1}
        assert found(collection, true) == {2}


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(survivors, "MOST_BYTES", 10_000)
    remembered, state = Remembered(), State(1, 0)
    filters = [Filter.parse({"must": [{"has_id": [one]}]}) for one in range(4)]
    for one in filters:
        remembered.put(one, state, Survivors(BitMap(range(900))))
    assert [remembered.get(one, state) is not None for one in filters] == [False, False, True, True]
    assert remembered.get(filters[3], State(2, 0)) is None
