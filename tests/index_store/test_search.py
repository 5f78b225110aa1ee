"""The pipeline finds what a plain ranking finds, for each distance, with and without IVF, by codes and by originals."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray

from index_store import Collection, Filter, SearchPlan, SearchTrace
from index_store.errors import InvalidPoints
from index_store.plan import resolve
from index_store.search import codes_of
from model.errors import DimensionMismatch, InvalidVectors, UnsupportedOption
from tests.builders import clustered
from tests.index_store.making import DIM, THOROUGH, encode_all, fill, ids_of, make_collection, nearest_ids, store_at

DISTANCES = ["Cosine", "Dot", "Euclid"]


def plain_scores(distance: str, queries: NDArray[np.float32], vectors: NDArray[np.float32]) -> NDArray[Any]:
    """The scores that users should see, [q, n], larger is nearer (negated for distances)."""
    queries, vectors = queries.astype(float), vectors.astype(float)
    if distance == "Cosine":  # of directions: decoded vectors are shorter than what was stored
        queries = queries / np.linalg.norm(queries, axis=1, keepdims=True)
        vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    if distance == "Dot":
        return queries @ vectors.T
    if distance == "Manhattan":
        return -np.abs(queries[:, None] - vectors[None]).sum(axis=2)
    squared = ((queries[:, None] - vectors[None]) ** 2).sum(axis=2)
    return 1 - squared / 2 if distance == "Cosine" else -np.sqrt(squared)


def decoded_by_id(collection: Collection) -> NDArray[np.float32]:
    """What each point's code stands for, in order of ids (which are rows here)."""
    view, codec = collection.view(), collection._held.indexes["default"].codec
    assert codec is not None
    vectors = np.empty((view.stop, DIM), np.float32)
    for number, segment in enumerate(view.segments):
        slots = np.arange(len(segment))
        vectors[segment.rows] = codec.decode(codes_of(view, codec, np.full(len(slots), number, np.int32), slots))
    return vectors


def assert_ranked(
    collection: Collection, queries: NDArray[np.float32], plan: SearchPlan, scores: NDArray[np.float64]
) -> None:
    """The answers are the best by `scores` [q, n]; equal scores may swap places."""
    distance = collection.config.vectors["default"].distance
    sign = -1 if distance in ("Euclid", "Manhattan") else 1
    answers = collection.query(queries, plan)
    best = -np.sort(-scores, axis=1)[:, : plan.limit]
    told = np.array([[sign * hit.score for hit in hits] for hits in answers])
    assert_allclose(told, best, rtol=1e-4, atol=2e-4)
    for hits, own in zip(answers, scores, strict=True):
        assert_allclose([sign * hit.score for hit in hits], own[[hit.id for hit in hits]], rtol=1e-4, atol=2e-4)


@pytest.mark.parametrize("lists", [8, 0])
@pytest.mark.parametrize("distance", DISTANCES)
def test_a_thorough_plan_ranks_all_decoded_vectors(tmp_path: Path, distance: str, lists: int) -> None:
    with store_at(tmp_path) as store:
        collection = make_collection(store, tmp_path, distance=distance, lists=lists)
        fill(collection, 900)
        encode_all(collection, 400)
        assert collection.info().segments == 3
        queries = clustered(20, DIM, seed=9)
        plan = SearchPlan(10, nprobe=10_000, shortlist=900, rerank=900, rescore=False)
        assert_ranked(collection, queries, plan, plain_scores(distance, queries, decoded_by_id(collection)))


@pytest.mark.parametrize("lists", [8, 0])
@pytest.mark.parametrize("distance", DISTANCES)
def test_a_thorough_plan_with_rescoring_is_exact(tmp_path: Path, distance: str, lists: int) -> None:
    with store_at(tmp_path) as store:
        collection = make_collection(store, tmp_path, distance=distance, lists=lists)
        vectors = fill(collection, 900)
        encode_all(collection, 600)
        vectors = np.concatenate([vectors, fill(collection, 100, first=900, seed=2)])  # pending
        stored = vectors / np.linalg.norm(vectors, axis=1, keepdims=True) if distance == "Cosine" else vectors
        queries = clustered(20, DIM, seed=9)
        plan = SearchPlan(10, nprobe=10_000, shortlist=1000, rerank=1000, oversampling=100.0)
        assert_ranked(collection, queries, plan, plain_scores(distance, queries, stored))
        assert_ranked(collection, queries, SearchPlan(10, exact=True), plain_scores(distance, queries, stored))


@pytest.mark.parametrize("distance", [*DISTANCES, "Manhattan"])
def test_a_collection_without_a_model_answers_exactly(tmp_path: Path, distance: str) -> None:
    with store_at(tmp_path) as store:
        collection = make_collection(store, tmp_path, distance=distance, lists=None)
        vectors = fill(collection, 500)
        stored = vectors / np.linalg.norm(vectors, axis=1, keepdims=True) if distance == "Cosine" else vectors
        queries = clustered(20, DIM, seed=9)
        assert_ranked(collection, queries, SearchPlan(12), plain_scores(distance, queries, stored))


@pytest.mark.parametrize("originals", ["float16", "uint8", "int8"])
@pytest.mark.parametrize("distance", ["Cosine", "Euclid"])
def test_small_originals_are_compared_as_what_they_hold(tmp_path: Path, originals: str, distance: str) -> None:
    with store_at(tmp_path) as store:
        collection = make_collection(store, tmp_path, distance=distance, lists=None, originals=originals)
        vectors = np.random.default_rng(1).integers(1, 120, (200, DIM)).astype(np.float32)
        collection.upsert(range(200), {"default": vectors})
        stored = vectors / np.linalg.norm(vectors, axis=1, keepdims=True) if distance == "Cosine" else vectors
        assert ids_of(collection.query(vectors, SearchPlan(1))) == [[i] for i in range(200)]
        expected = plain_scores(distance, vectors, stored)
        for i, hits in enumerate(collection.query(vectors, SearchPlan(3))):
            sign = -1 if distance == "Euclid" else 1
            assert_allclose([sign * hit.score for hit in hits], -np.sort(-expected[i])[:3], rtol=2e-3, atol=2e-3)


def test_exact_search_tells_near_equal_vectors_apart_far_from_the_origin(tmp_path: Path) -> None:
    with store_at(tmp_path) as store:
        collection = make_collection(store, tmp_path, lists=None)
        vectors = (np.float32(1000) + np.arange(30)[:, None] / 64 * np.ones((1, DIM))).astype(np.float32)
        collection.upsert(range(30), {"default": vectors})
        answers = collection.query(vectors, SearchPlan(2))
        assert [hits[0].id for hits in answers] == list(range(30))
        assert [hits[0].score for hits in answers] == [0] * 30


def test_the_default_plan_finds_most_neighbours(tmp_path: Path) -> None:
    with store_at(tmp_path) as store:
        collection = make_collection(store, tmp_path)
        vectors = fill(collection, 3000)
        encode_all(collection, 1000)
        queries = clustered(100, DIM, seed=9)
        expected = nearest_ids(vectors, queries, 10)
        found = ids_of(collection.query(queries, SearchPlan(10, shortlist=400, oversampling=10.0)))
        recall = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(found, expected, strict=True)])
        assert recall > 0.8


@pytest.mark.parametrize("lists", [8, None])
def test_queries_may_lie_in_memory_that_cannot_be_written(tmp_path: Path, lists: int | None) -> None:
    with store_at(tmp_path) as store:
        collection = make_collection(store, tmp_path, lists=lists)
        vectors = np.frombuffer(clustered(20, DIM).tobytes(), np.float32).reshape(20, DIM)
        collection.upsert(range(20), {"default": vectors})
        encode_all(collection)
        assert ids_of(collection.query(vectors, SearchPlan(1))) == [[i] for i in range(20)]


def test_offset_leaves_out_the_nearest_and_a_threshold_the_far(tmp_path: Path) -> None:
    with store_at(tmp_path) as store:
        collection = make_collection(store, tmp_path, lists=None)
        vectors = fill(collection, 100)
        every = collection.query(vectors[:1], SearchPlan(30))[0]
        assert collection.query(vectors[:1], SearchPlan(5, offset=7))[0] == every[7:12]
        limit = every[4].score
        assert collection.query(vectors[:1], SearchPlan(30, score_threshold=limit))[0] == every[:5]


def test_limit_hits_come_back_even_where_the_probed_lists_hold_fewer(tmp_path: Path) -> None:
    with store_at(tmp_path) as store:
        collection = make_collection(store, tmp_path)
        vectors = fill(collection, 60)
        encode_all(collection)
        for hits in collection.query(vectors, SearchPlan(60, nprobe=1)):
            assert sorted(hit.id for hit in hits) == list(range(60))


def test_a_query_of_another_dimension_or_without_direction_is_refused(tmp_path: Path) -> None:
    with store_at(tmp_path) as store:
        collection = make_collection(store, tmp_path, distance="Cosine", originals="none")
        with pytest.raises(DimensionMismatch, match="16 numbers; this request sent 3"):
            collection.query(np.ones((1, 3), np.float32), SearchPlan(1))
        with pytest.raises(InvalidVectors):
            collection.query(np.full((1, DIM), np.inf, np.float32), SearchPlan(1))
        with pytest.raises(UnsupportedOption, match="no originals"):
            collection.query(np.ones((1, DIM), np.float32), SearchPlan(1, exact=True))


@pytest.mark.parametrize("distance", ["Euclid", "Dot", "Cosine"])
def test_vectors_too_long_to_compare_are_refused_and_the_longest_have_scores(tmp_path: Path, distance: str) -> None:
    far = np.zeros((2, DIM), np.float32)
    far[0, 0], far[1, 0] = 9e18, -9e18
    with store_at(tmp_path) as store:
        collection = make_collection(store, tmp_path, distance=distance)
        collection.upsert(np.array([1, 2], np.uint64), {"default": far})
        assert all(np.isfinite(hit.score) for hits in collection.query(far, SearchPlan(2)) for hit in hits)
        if distance == "Cosine":
            return
        with pytest.raises(InvalidPoints, match=r"Vector 1 of the request has a length of 3e[+]38"):
            collection.upsert(
                np.array([3, 4], np.uint64), {"default": np.diag([1, 3e38] + [0] * 14)[:2].astype(np.float32)}
            )
        with pytest.raises(InvalidPoints, match="Scale all vectors down"):
            collection.query(np.full((1, DIM), 3e38, np.float32), SearchPlan(1))
        assert collection.count() == 2


@pytest.mark.parametrize("lists", [8, 0, None])
def test_an_empty_collection_answers_nothing(tmp_path: Path, lists: int | None) -> None:
    with store_at(tmp_path) as store:
        collection = make_collection(store, tmp_path, lists=lists)
        assert collection.query(clustered(3, DIM), SearchPlan(5)) == [[], [], []]
        assert collection.query(clustered(0, DIM), SearchPlan(5)) == []
        fill(collection, 1)
        assert ids_of(collection.query(clustered(2, DIM), SearchPlan(5))) == [[0], [0]]
        encode_all(collection)
        assert ids_of(collection.query(clustered(2, DIM), SearchPlan(5))) == [[0], [0]]
        collection.delete([0])
        assert collection.query(clustered(2, DIM), SearchPlan(5)) == [[], []]


def test_every_stage_says_on_which_device_it_ran_and_for_how_long(tmp_path: Path) -> None:
    with store_at(tmp_path) as store:
        collection = make_collection(store, tmp_path)
        fill(collection, 300)
        encode_all(collection)
        fill(collection, 10, first=300)
        trace = SearchTrace()
        collection.query(clustered(2, DIM), SearchPlan(5, rerank=40, oversampling=4), trace=trace)
        stages = {"probe", "scan", "pairwise", "neural", "exact", "pending", "payload"}
        assert trace.devices == dict.fromkeys(stages, "cpu")
        assert set(trace.seconds) == stages
        assert min(trace.seconds.values()) > 0
        assert collection.info().devices == {**dict.fromkeys(stages, "cpu"), "encode": "cpu"}


def test_the_neural_decoder_is_left_out_where_all_of_its_candidates_are_rescored(tmp_path: Path) -> None:
    with store_at(tmp_path) as store:
        collection = make_collection(store, tmp_path)
        fill(collection, 300)
        encode_all(collection)
        stages = {}
        for oversampling in (4.0, 8.0):
            trace = SearchTrace()
            collection.query(clustered(2, DIM), SearchPlan(5, rerank=40, oversampling=oversampling), trace=trace)
            stages[oversampling] = set(trace.seconds)
        assert stages[4.0] - stages[8.0] == {"neural"}


def test_no_code_is_decoded_where_the_best_of_the_scan_are_all_rescored(tmp_path: Path) -> None:
    with store_at(tmp_path) as store:
        collection = make_collection(store, tmp_path)
        fill(collection, 300)
        encode_all(collection)
        trace = SearchTrace()
        collection.query(clustered(2, DIM), SearchPlan(5), trace=trace)
        assert set(trace.seconds) == {"probe", "scan", "exact", "payload"}


def test_a_small_collection_is_read_widely_without_being_asked() -> None:
    nprobes = [resolve(SearchPlan(10), 1024, True, points=n).nprobe for n in (1000, 20_000, 100_000, 10**6, 10**8)]
    assert nprobes == [1024, 210, 64, 64, 64]


def test_codes_alone_answer_where_no_originals_are_kept(tmp_path: Path) -> None:
    with store_at(tmp_path) as store:
        collection = make_collection(store, tmp_path, originals="none")
        fill(collection, 400)
        encode_all(collection)
        queries = clustered(5, DIM, seed=9)
        plan = SearchPlan(10, nprobe=8, shortlist=400, rerank=400)
        decoded = decoded_by_id(collection)
        assert_ranked(collection, queries, plan, plain_scores("Euclid", queries, decoded))
        hits = collection.query(queries, plan, with_vector=True)[0]
        told = np.array([hit.vectors["default"] for hit in hits if hit.vectors])
        assert_allclose(told, decoded[np.array([hit.id for hit in hits], int)], rtol=1e-5, atol=1e-5)


def test_a_filtered_query_ranks_what_the_filter_leaves(tmp_path: Path) -> None:
    with store_at(tmp_path) as store:
        collection = make_collection(store, tmp_path)
        vectors = clustered(900, DIM, seed=1)
        collection.upsert(range(900), {"default": vectors}, [{"n": i % 50} for i in range(900)])
        encode_all(collection, 300)
        condition = Filter.parse({"must": [{"key": "n", "match": {"value": 7}}]})
        queries = clustered(10, DIM, seed=9)
        chosen = np.arange(7, 900, 50)
        expected = [[int(chosen[i]) for i in some] for some in nearest_ids(vectors[chosen], queries, 10)]
        assert ids_of(collection.query(queries, SearchPlan(10, nprobe=1), filter=condition)) == expected
        assert ids_of(collection.query(queries, SearchPlan(10, exact=True), filter=condition)) == expected


def test_a_filter_widens_probing_by_its_selectivity() -> None:
    plan = SearchPlan(10, nprobe=10)
    assert resolve(plan, lists=1000, has_originals=True).nprobe == 10
    assert resolve(plan, 1000, True, survivors=500_000, points=1_000_000).nprobe == 20
    assert resolve(plan, 1000, True, survivors=20_000, points=1_000_000).nprobe == 500
    assert resolve(plan, 1000, True, survivors=10_000, points=1_000_000).nprobe == 1000


def test_no_stage_keeps_fewer_candidates_than_hits_are_wanted() -> None:
    effort = resolve(SearchPlan(50, offset=10, shortlist=5, rerank=5), lists=4, has_originals=True)
    assert (effort.wanted, effort.nprobe, effort.shortlist, effort.rerank, effort.rescored) == (60, 4, 60, 60, 60)
    assert resolve(SearchPlan(10, rescore=False), 4, True).rescored == 0
    assert resolve(SearchPlan(10, rescore=True), 4, False).rescored == 0
    assert resolve(SearchPlan(10, oversampling=7.5), 4, True).rescored == 75


def test_thorough_is_thorough() -> None:
    assert resolve(THOROUGH, lists=8, has_originals=False).nprobe == 8


def test_lists_are_made_for_all_that_is_pending_however_small_the_first_batch(tmp_path: Path) -> None:
    with store_at(tmp_path) as store:
        collection = make_collection(store, tmp_path, lists=0)
        fill(collection, 900)
        encode_all(collection, 50)
        view = collection.view()
        assert view.lists is not None
        assert len(view.lists) == 4 * 30
