"""Parts of points change durably: payloads, single vectors, points that lack some, and upserts that spare points."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index_store import CodesConfig, Collection, CollectionConfig, SearchPlan, Store, VectorConfig
from index_store import payload_change as changes
from index_store.errors import InvalidConfig, InvalidPoints, UnknownPoint
from index_store.filters import Filter
from tests.builders import clustered, tiny_codec
from tests.index_store.making import DIM, encode_all, fill, ids_of, make_collection, store_at

RED = Filter.parse({"must": [{"key": "colour", "match": {"value": "red"}}]})


def two_vectors(store: Store, folder: Path, **codes: Any) -> Collection:
    """A collection with the coded vector `a` and the exact vector `b` of two numbers."""
    store.put_model("tiny", tiny_codec(folder, dim=DIM, lists=4))
    vectors = {"a": VectorConfig(DIM, "Cosine"), "b": VectorConfig(2, "Euclid")}
    return store.create_collection("two", CollectionConfig(vectors, {"a": CodesConfig("tiny", **codes)}))


def places(**given: list[int]) -> dict[str, np.ndarray]:
    return {name: np.array(some, np.int64) for name, some in given.items()}


def write_half(collection: Collection, n: int = 40) -> np.ndarray:
    """n points of which all have `a`, and the even ones `b` too."""
    vectors = clustered(n, DIM)
    even = np.arange(0, n, 2)
    b = np.stack([even, even], axis=1).astype(np.float32)
    collection.upsert(range(n), {"a": vectors, "b": b}, [{"n": i} for i in range(n)], {"b": even})
    return vectors


def test_a_point_that_lacks_a_vector_is_not_found_by_it(tmp_path: Path) -> None:
    with store_at(tmp_path) as store:
        write_half(two_vectors(store, tmp_path))
        for _ in range(2):
            found = store.collection("two").query(np.ones((1, 2), np.float32), SearchPlan(40), using="b")
            assert sorted(hit.id for hit in found[0]) == list(range(0, 40, 2))
            encode_all(store.collection("two"))
    with store_at(tmp_path) as store:
        collection = store.collection("two")
        assert collection.count() == 40
        odd, even = collection.retrieve([1, 2], with_vector=True)
        assert odd.vectors is not None and odd.vectors.keys() == {"a"}
        assert even.vectors is not None and even.vectors["b"].tolist() == [2.0, 2.0]


def test_a_coded_vector_that_is_lacking_is_never_encoded(tmp_path: Path) -> None:
    with store_at(tmp_path) as store:
        collection = two_vectors(store, tmp_path)
        vectors = clustered(30, DIM)
        collection.upsert(range(60), {"a": vectors, "b": np.ones((60, 2), np.float32)}, None, places(a=list(range(30))))
        encode_all(collection)
        assert sum(map(len, collection.view("a").segments)) == 30
        found = collection.query(vectors[:1], SearchPlan(60, exact=True), using="a")[0]
        assert sorted(hit.id for hit in found) == list(range(30))


def test_other_vectors_and_the_payload_stay_when_one_vector_is_replaced(tmp_path: Path) -> None:
    with store_at(tmp_path) as store:
        collection = two_vectors(store, tmp_path)
        vectors = write_half(collection)
        encode_all(collection)
        before = collection.retrieve([1], with_vector=True)[0]
        collection.replace_vectors([1, 3], {"b": np.array([[9, 9], [8, 8]], np.float32)}, places(b=[0, 1]))
    with store_at(tmp_path) as store:
        collection = store.collection("two")
        after = collection.retrieve([1], with_vector=True)[0]
        assert before.vectors is not None and after.vectors is not None
        np.testing.assert_array_equal(after.vectors["a"], before.vectors["a"])
        assert after.vectors["b"].tolist() == [9, 9]
        assert after.payload == {"n": 1}
        assert after.version > before.version
        assert ids_of(collection.query(vectors[[1]], SearchPlan(1), using="a")) == [[1]]


def test_without_originals_a_vector_that_stays_is_what_its_code_decodes_to(tmp_path: Path) -> None:
    with store_at(tmp_path) as store:
        collection = two_vectors(store, tmp_path, originals="none")
        write_half(collection)
        encode_all(collection)
        before = collection.retrieve([1], with_vector=True)[0].vectors
        collection.replace_vectors([1], {"b": np.array([[9, 9]], np.float32)}, places(b=[0]))
        after = collection.retrieve([1], with_vector=True)[0].vectors
        assert before is not None and after is not None
        unit = before["a"] / np.linalg.norm(before["a"])
        np.testing.assert_allclose(after["a"], unit, atol=1e-6)


def test_a_vector_that_is_taken_away_is_found_no_more_and_may_come_back(tmp_path: Path) -> None:
    with store_at(tmp_path) as store:
        collection = make_collection(store, tmp_path)
        vectors = fill(collection, 50)
        encode_all(collection)
        collection.take_vectors([7], ["default"])
        plan = SearchPlan(1, exact=True)
        assert ids_of(collection.query(vectors[[7]], plan)) != [[7]]
        assert collection.count() == 50
        collection.replace_vectors([7], {"default": vectors[[7]]}, places(default=[0]))
        assert ids_of(collection.query(vectors[[7]], plan)) == [[7]]
    with store_at(tmp_path) as store:
        assert ids_of(store.collection("terms").query(vectors[[7]], plan)) == [[7]]


def test_what_names_an_unknown_point_changes_nothing(tmp_path: Path) -> None:
    with store_at(tmp_path) as store:
        collection = make_collection(store, tmp_path)
        fill(collection, 3)
        for change in (
            lambda: collection.change_payloads([1, 99], changes.setting({"a": 1})),
            lambda: collection.take_vectors([1, 99], ["default"]),
            lambda: collection.replace_vectors(
                [1, 99], {"default": np.ones((2, DIM), np.float32)}, places(default=[0, 1])
            ),
        ):
            with pytest.raises(UnknownPoint, match="no point 99"):
                change()
        (one,) = collection.retrieve([1], with_vector=True)
        assert (one.payload, one.version) == (None, 1)
        assert one.vectors is not None and one.vectors["default"].tolist() == clustered(3, DIM, 1)[1].tolist()


def test_changes_that_name_nothing_are_refused(tmp_path: Path) -> None:
    with store_at(tmp_path) as store:
        collection = make_collection(store, tmp_path)
        fill(collection, 3)
        with pytest.raises(InvalidPoints, match="no points"):
            collection.delete([])
        with pytest.raises(InvalidPoints, match="no vectors"):
            collection.take_vectors([1], [])
        with pytest.raises(InvalidConfig, match="title"):
            collection.take_vectors([1], ["title"])


def test_an_upsert_may_spare_the_points_that_are_there_or_those_that_are_not(tmp_path: Path) -> None:
    with store_at(tmp_path) as store:
        collection = make_collection(store, tmp_path, lists=None)
        vectors = clustered(4, DIM)
        collection.upsert([0, 1], {"default": vectors[:2]}, [{"colour": "red"}, {"colour": "blue"}])

        def write(**how: Any) -> dict[Any, Any]:
            new: list[dict[str, Any] | None] = [{"new": True}] * 4
            collection.upsert(range(4), {"default": vectors}, new, None, **how)
            return {record.id: record.payload for record in collection.retrieve(range(4))}

        assert write(mode="insert_only") == {
            0: {"colour": "red"}, 1: {"colour": "blue"}, 2: {"new": True}, 3: {"new": True}
        }  # fmt: skip
        collection.delete([2, 3])
        assert write(mode="update_only", condition=RED) == {0: {"new": True}, 1: {"colour": "blue"}}
        assert write(condition=RED) == {
            0: {"new": True}, 1: {"colour": "blue"}, 2: {"new": True}, 3: {"new": True}
        }  # fmt: skip


def test_payloads_change_durably_by_ids_and_by_filter(tmp_path: Path) -> None:
    with store_at(tmp_path) as store:
        collection = make_collection(store, tmp_path, lists=None)
        payloads: list[Any] = [{"colour": "red", "a": {"b": [1, 2]}}, {"colour": "blue"}, None]
        collection.upsert(range(3), {"default": clustered(3, DIM)}, payloads)
        collection.change_payloads(RED, changes.setting({"b": None, "c": 1}, "a"))
        collection.change_payloads([1], changes.deleting(["colour"]))
        collection.change_payloads([2], changes.overwriting({"x": [{"y": 1}, {"y": 2}]}))
        collection.change_payloads([2], changes.deleting(["x[].y"]))
    with store_at(tmp_path) as store:
        found = store.collection("terms").retrieve([0, 1, 2])
        assert [record.payload for record in found] == [{"colour": "red", "a": {"c": 1}}, None, {"x": [{}, {}]}]
        assert [record.version for record in found] == [2, 3, 5]


def test_scrolling_gives_every_point_once_in_the_order_of_ids(tmp_path: Path) -> None:
    with store_at(tmp_path) as store:
        collection = make_collection(store, tmp_path, lists=None)
        ids = np.random.default_rng(0).permutation(97)
        collection.upsert(ids.tolist(), {"default": clustered(97, DIM)}, [{"n": int(i)} for i in ids])
        few = Filter.parse({"must": [{"key": "n", "range": {"lt": 4}}]})
        for condition, expected in ((None, list(range(97))), (few, [0, 1, 2, 3])):
            seen: list[Any] = []
            start = None
            while True:
                page, start = collection.scroll(2, start, condition)
                seen += [record.id for record in page]
                if start is None:
                    break
            assert seen == expected


OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["upsert", "half", "replace", "take", "set", "delete", "encode", "merge"]),
        st.lists(st.integers(0, 11), min_size=1, max_size=4, unique=True),
        st.integers(0, 2**31),
    ),
    max_size=14,
)


@settings(max_examples=25, deadline=None)
@given(operations=OPERATIONS)
def test_any_sequence_of_changes_leaves_what_it_says_also_after_a_restart(
    tmp_path_factory: pytest.TempPathFactory, operations: list[tuple[str, list[int], int]]
) -> None:
    folder = tmp_path_factory.mktemp("any")
    told: dict[int, dict[str, Any]] = {}
    with store_at(folder) as store:
        collection = two_vectors(store, folder)
        for kind, ids, seed in operations:
            _apply(collection, told, kind, ids, seed)
        _compare(collection, told)
    with store_at(folder) as store:
        _compare(store.collection("two"), told)


def _apply(collection: Collection, told: dict[int, dict[str, Any]], kind: str, ids: list[int], seed: int) -> None:
    a, b = clustered(len(ids), DIM, seed), np.random.default_rng(seed).normal(size=(len(ids), 2)).astype(np.float32)
    there = [id for id in ids if id in told]
    if kind == "upsert":
        collection.upsert(ids, {"a": a, "b": b}, [{"s": seed}] * len(ids))
        told |= {id: {"a": a[i], "b": b[i], "payload": {"s": seed}} for i, id in enumerate(ids)}
    elif kind == "half":
        collection.upsert(ids, {"b": b[:1]}, None, places(b=[0]))
        told |= {id: {"b": b[0]} if i == 0 else {} for i, id in enumerate(ids)}
    elif kind == "replace" and there:
        n = len(there)
        collection.replace_vectors(there, {"b": b[:n]}, places(b=list(range(n))))
        for i, id in enumerate(there):
            told[id]["b"] = b[i]
    elif kind == "take" and there:
        collection.take_vectors(there, ["a"])
        for id in there:
            told[id].pop("a", None)
    elif kind == "set" and there:
        collection.change_payloads(there, changes.setting({"t": seed}))
        for id in there:
            told[id]["payload"] = told[id].get("payload", {}) | {"t": seed}
    elif kind == "delete":
        collection.delete(ids)
        for id in there:
            del told[id]
    elif kind == "encode":
        collection.encode_pending(100)
    elif kind == "merge":
        collection.merge()


def _compare(collection: Collection, told: dict[int, dict[str, Any]]) -> None:
    records, following = collection.scroll(100, with_vector=True)
    assert following is None
    assert [record.id for record in records] == sorted(told)
    for record in records:
        expected = told[record.id]  # type: ignore[index]
        assert (record.payload or {}) == expected.get("payload", {})
        assert record.vectors is not None and record.vectors.keys() == expected.keys() - {"payload"}
        for name, vector in record.vectors.items():
            np.testing.assert_allclose(vector, _as_kept(name, expected[name]), rtol=1e-6)
    for name in ("a", "b"):
        query = np.ones((1, DIM if name == "a" else 2), np.float32)
        found = collection.query(query, SearchPlan(100), using=name)[0]
        assert sorted(hit.id for hit in found) == sorted(id for id, one in told.items() if name in one)


def _as_kept(name: str, vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector) if name == "a" else vector


def test_a_collection_from_before_vectors_could_be_lacking_is_taken_up(tmp_path: Path) -> None:
    with store_at(tmp_path) as store:
        fill(make_collection(store, tmp_path), 5)
    (database,) = tmp_path.glob("data/collections/*/points.sqlite3")
    with closing(sqlite3.connect(database)) as db, db:
        db.execute("DROP TABLE absent")
        db.execute("ALTER TABLE segments DROP COLUMN draft")
        db.execute("UPDATE meta SET value = 3 WHERE key = 'format'")
    for seal in tmp_path.glob("data/collections/*/*.seal"):
        seal.unlink()
    with store_at(tmp_path) as store:
        store.collection("terms").take_vectors([3], ["default"])
        assert store.collection("terms").count() == 5
        lacking = Filter.parse({"must_not": [{"has_vector": ""}]})
        assert [record.id for record in store.collection("terms").scroll(9, condition=lacking)[0]] == [3]
