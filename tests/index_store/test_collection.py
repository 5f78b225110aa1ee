"""What users of a collection see: points come back, change, go, and are found, by one thread or many."""

import threading
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from index_store import CodesConfig, CollectionConfig, SearchPlan, VectorConfig
from index_store.errors import InvalidConfig, InvalidPoints, PendingFull
from model.errors import DimensionMismatch, InvalidVectors
from tests.builders import clustered
from tests.index_store.making import DIM, THOROUGH, encode_all, fill, ids_of, make_collection, store_at

A_UUID = UUID("12345678-1234-5678-1234-567812345678")


def test_points_come_back_as_they_were_written(tmp_path: Path) -> None:
    with store_at(tmp_path) as store:
        collection = make_collection(store, tmp_path, lists=None)
        vectors = clustered(3, DIM)
        payloads = [{"term": 'naïve \U0001f600 \\ "', "n": [1, 2.5, None, True]}, None, {"a": {"b": "c"}}]
        assert collection.upsert([7, A_UUID, 2**64 - 1], {"default": vectors}, payloads) == 1
        found = collection.retrieve([2**64 - 1, 5, A_UUID, 7], with_vector=True)
        assert [record.id for record in found] == [2**64 - 1, A_UUID, 7]
        assert [record.payload for record in found] == [payloads[2], None, payloads[0]]
        assert_array_equal([record.vectors["default"] for record in found if record.vectors], vectors[[2, 1, 0]])
        assert {record.version for record in found} == {1}
        assert collection.count() == 3
        assert collection.largest_id() == 2**64 - 1


@pytest.mark.parametrize("encoded", [False, True])
def test_an_overwritten_point_is_found_where_it_is_now_and_nowhere_else(tmp_path: Path, encoded: bool) -> None:
    with store_at(tmp_path) as store:
        collection = make_collection(store, tmp_path)
        vectors = fill(collection, 300)
        if encoded:
            encode_all(collection)
        moved = vectors[5] + 40
        version = collection.upsert([5], {"default": moved[None]}, [{"moved": True}])
        near_old, near_new = collection.query(np.stack([vectors[5], moved]), THOROUGH, with_payload=True)
        assert 5 not in [hit.id for hit in near_old]
        assert len(near_old) == 10
        assert (near_new[0].id, near_new[0].version, near_new[0].payload) == (5, version, {"moved": True})
        assert near_new[0].score == pytest.approx(0, abs=1e-3)
        assert [hit.id for hit in near_new].count(5) == 1
        assert collection.count() == 300


@pytest.mark.parametrize("encoded", [False, True])
def test_a_deleted_point_is_gone_from_every_answer(tmp_path: Path, encoded: bool) -> None:
    with store_at(tmp_path) as store:
        collection = make_collection(store, tmp_path)
        vectors = fill(collection, 100)
        if encoded:
            encode_all(collection)
        collection.delete([3, 4, 1000])
        assert collection.retrieve([3, 4, 5]) == collection.retrieve([5])
        assert collection.count() == 98
        hits = collection.query(vectors[3:5], SearchPlan(100))
        assert [sorted(hit.id for hit in found) for found in hits] == [[i for i in range(100) if i not in (3, 4)]] * 2


def test_of_an_id_that_a_request_repeats_the_last_counts(tmp_path: Path) -> None:
    with store_at(tmp_path) as store:
        collection = make_collection(store, tmp_path, lists=None)
        vectors = clustered(3, DIM)
        collection.upsert([1, 2, 1], {"default": vectors}, [{"n": 0}, {"n": 1}, {"n": 2}])
        assert collection.count() == 2
        (record,) = collection.retrieve([1], with_vector=True)
        assert record.payload == {"n": 2}
        assert record.vectors is not None
        assert_array_equal(record.vectors["default"], vectors[2])


def test_many_threads_write_at_once_and_each_finds_its_points_at_once(tmp_path: Path) -> None:
    with store_at(tmp_path) as store:
        collection = make_collection(store, tmp_path)
        failures: list[object] = []
        operations: list[int] = []

        def write(worker: int) -> None:
            for turn in range(8):
                first = worker * 1000 + turn * 10
                vectors = clustered(10, DIM, seed=first) + worker * 100
                operations.append(
                    collection.upsert(np.arange(first, first + 10, dtype=np.uint64), {"default": vectors})
                )
                answers = collection.query(vectors, SearchPlan(1))
                if ids_of(answers) != [[first + i] for i in range(10)]:
                    failures.append((worker, turn, answers))
                collection.encode_pending(25)

        workers = [threading.Thread(target=write, args=(worker,)) for worker in range(6)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert not failures
        assert sorted(operations) == list(range(1, 49))
        assert collection.count() == 480
        encode_all(collection)
        assert sum(map(len, collection.view().segments)) == 480


def test_queries_never_answer_fewer_hits_while_points_are_overwritten(tmp_path: Path) -> None:
    with store_at(tmp_path) as store:
        collection = make_collection(store, tmp_path)
        vectors = fill(collection, 60)
        done = threading.Event()

        def overwrite() -> None:
            while not done.is_set():
                collection.upsert(np.arange(60, dtype=np.uint64), {"default": vectors})
                collection.encode_pending(40)
                collection.merge()

        writer = threading.Thread(target=overwrite)
        writer.start()
        try:
            for _ in range(40):
                for hits in collection.query(vectors[:5], SearchPlan(60, nprobe=8)):
                    assert sorted(hit.id for hit in hits) == list(range(60))
        finally:
            done.set()
            writer.join()


def test_too_many_pending_vectors_are_refused_until_they_are_encoded(tmp_path: Path) -> None:
    with store_at(tmp_path, max_pending=100) as store:
        collection = make_collection(store, tmp_path)
        fill(collection, 90)
        with pytest.raises(PendingFull, match="90 vectors wait"):
            fill(collection, 11, first=90)
        with pytest.raises(PendingFull):  # before they are looked at: uploads ask again and again
            collection.upsert(range(90, 101), {"default": np.zeros((1, 1), np.float32)})
        assert collection.count() == 90
        encode_all(collection)
        fill(collection, 11, first=90)
        assert collection.count() == 101


def test_a_collection_without_a_model_has_no_cap_and_nothing_to_encode(tmp_path: Path) -> None:
    with store_at(tmp_path, max_pending=10) as store:
        collection = make_collection(store, tmp_path, lists=None)
        fill(collection, 50)
        fill(collection, 50, first=50)
        assert collection.encode_pending(100) == 0
        info = collection.info()
        assert (info.state, info.pending, info.points, info.code_bytes) == ("exact", 0, 100, 0)


def test_what_cannot_be_stored_is_refused_by_name_and_changes_nothing(tmp_path: Path) -> None:
    with store_at(tmp_path) as store:
        collection = make_collection(store, tmp_path, distance="Cosine")
        good = clustered(2, DIM)
        with pytest.raises(DimensionMismatch, match="16 numbers; this request sent 15"):
            collection.upsert([1, 2], {"default": good[:, :15]})
        with pytest.raises(InvalidVectors, match="Vector 1 "):
            collection.upsert([1, 2], {"default": np.where([[False], [True]], np.nan, good)})
        with pytest.raises(InvalidPoints, match=r"Vector 1 .* is zero"):
            collection.upsert([1, 2], {"default": good * np.array([[1], [0]], np.float32)})
        with pytest.raises(InvalidPoints, match="3 ids and 2 vectors"):
            collection.upsert([1, 2, 3], {"default": good})
        with pytest.raises(InvalidPoints, match="2 ids and 1 payloads"):
            collection.upsert([1, 2], {"default": good}, [{}])
        with pytest.raises(InvalidPoints, match=r"Point 1 .* not JSON"):
            collection.upsert([1, 2], {"default": good}, [None, {"x": float("nan")}])
        with pytest.raises(InvalidPoints, match="-1"):
            collection.upsert([-1, 2], {"default": good})
        with pytest.raises(InvalidPoints, match="True"):
            collection.upsert([True, 2], {"default": good})
        with pytest.raises(InvalidPoints, match="title"):
            collection.upsert([1, 2], {"title": good})
        with pytest.raises(InvalidConfig, match="no vector 'title'"):
            collection.query(good, SearchPlan(1), using="title")
        assert collection.count() == 0
        assert collection.upsert([1, 2], {"default": good}) == 1


def test_cosine_vectors_come_back_at_length_one(tmp_path: Path) -> None:
    with store_at(tmp_path) as store:
        collection = make_collection(store, tmp_path, distance="Cosine", lists=None)
        vectors = fill(collection, 20)
        expected = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        records = collection.retrieve(range(20), with_vector=True)
        assert_allclose([record.vectors["default"] for record in records if record.vectors], expected, rtol=1e-5)


def test_a_point_may_have_several_vectors_each_with_codes_of_its_own(tmp_path: Path) -> None:
    with store_at(tmp_path) as store:
        make_collection(store, tmp_path, name="other")  # puts the model
        vectors = {"title": VectorConfig(DIM, "Euclid"), "body": VectorConfig(4, "Dot")}
        collection = store.create_collection("both", CollectionConfig(vectors, {"title": CodesConfig("tiny8")}))
        titles, bodies = clustered(40, DIM), clustered(40, 4)
        collection.upsert(range(40), {"title": titles, "body": bodies})
        encode_all(collection)
        assert collection.info("title").segments == 1
        assert collection.info("body").segments == 0
        assert ids_of(collection.query(titles, SearchPlan(1), using="title")) == [[i] for i in range(40)]
        best = (bodies @ bodies.T).argmax(axis=1)
        assert ids_of(collection.query(bodies, SearchPlan(1), using="body")) == [[i] for i in best]
        (record,) = collection.retrieve([3], with_vector=True)
        assert record.vectors is not None
        assert_array_equal(record.vectors["body"], bodies[3])
