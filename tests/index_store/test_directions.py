"""What codes of unit vectors decode to is ranked by direction, also by a scan that cannot divide."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from numpy.typing import NDArray

from index_store import SearchPlan, directions, metric
from index_store.lists import Lists
from index_store.many_lists import OccupiedLists
from model import coarse
from tests.builders import clustered
from tests.index_store.making import DIM, encode_all, fill, ids_of, make_collection, store_at

Float32 = NDArray[np.float32]


def unit(vectors: NDArray[Any]) -> Float32:
    return metric.normalised(vectors.astype(np.float32))


def decoded_near(query: Float32, seed: int, cosine: float) -> Float32:
    """300 vectors of lengths 0.85 to 1.1, each a little farther from the query by direction than the one before."""
    rng = np.random.default_rng(seed)
    across = rng.normal(size=(300, len(query)))
    across -= (across @ query)[:, None] * query
    cosines = cosine - 0.3 * np.arange(300) / 300
    directed = cosines[:, None] * query + np.sqrt(1 - cosines**2)[:, None] * unit(across)
    return np.asarray(rng.uniform(0.85, 1.1, 300)[:, None] * directed, np.float32)


@pytest.mark.parametrize("cosine", [0.4, 0.6, 0.9])
def test_a_lengthened_query_finds_more_of_the_nearest_directions(cosine: float) -> None:
    found = {"as it is": 0, "lengthened": 0}
    for seed in range(40):
        query = unit(np.random.default_rng(seed).normal(size=(1, 32)))
        decoded = decoded_near(query[0], seed, cosine)
        lists = Lists(np.concatenate([0.6 * decoded[:1], -decoded[:1]]), False)  # one of the nearest direction
        for name, asked in (("as it is", query), ("lengthened", directions.lengthened(query, 1, lists))):
            ranked = np.argsort(metric.distances("Euclid", asked, decoded)[0])
            found[name] += int((ranked[:30] < 30).sum())  # of the 30 nearest by direction
    assert found["lengthened"] >= 0.7 * 40 * 30
    assert found["lengthened"] > 1.05 * found["as it is"]


def test_decoded_vectors_come_back_to_a_length() -> None:
    decoded = clustered(20, DIM)
    assert_allclose(directions.at_length(1, decoded), unit(decoded), rtol=1e-6)
    assert_allclose(np.linalg.norm(directions.at_length(512, decoded), axis=1), 512, rtol=1e-6)
    assert not directions.at_length(2, np.zeros((1, DIM), np.float32)).any()  # a code may stand for no direction


@pytest.mark.parametrize("distance", ["Cosine", "Dot", "Euclid"])
def test_vectors_of_one_length_are_ranked_alike_by_any_distance(tmp_path: Path, distance: str) -> None:
    vectors, queries = 3 * unit(clustered(400, DIM)), clustered(20, DIM, seed=9)
    with store_at(tmp_path) as store:
        collection = make_collection(store, tmp_path, distance=distance)
        collection.upsert(np.arange(400, dtype=np.uint64), {"default": vectors})
        encode_all(collection, 100)
        collection.merge()
        assert collection.view().length == (1 if distance == "Cosine" else pytest.approx(3))
        codec = collection.view().coding
        assert codec is not None
        found = ids_of(collection.query(queries, SearchPlan(10, nprobe=1000, shortlist=400, rerank=400, rescore=False)))
        # A codec encodes what it is given: Cosine gives it vectors of length 1.
        given = unit(vectors) if distance == "Cosine" else vectors
        cosines = unit(queries) @ unit(codec.codec.decode(codec.codec.encode(given))).T
        for row, own in zip(cosines, found, strict=True):
            assert_allclose(row[own], -np.sort(-row)[:10], atol=1e-5)


def test_a_vector_of_another_length_ends_it(tmp_path: Path) -> None:
    with store_at(tmp_path) as store:
        collection = make_collection(store, tmp_path, distance="Dot")
        vectors = unit(clustered(400, DIM))
        collection.upsert(np.arange(400, dtype=np.uint64), {"default": vectors})
        encode_all(collection)
        assert collection.view().length == pytest.approx(1)
        collection.upsert(np.arange(400, 401, dtype=np.uint64), {"default": 2 * vectors[:1]})
        assert collection.view().length == pytest.approx(1)  # it is pending, and found exactly
        encode_all(collection)
        assert collection.view().length is None
    with store_at(tmp_path) as store:
        assert store.collection("terms").view().length is None


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31), first=st.integers(1, 8))
def test_it_does_not_matter_whether_lists_come_in_order(seed: int, first: int) -> None:
    rng = np.random.default_rng(seed)
    lists = Lists(rng.normal(size=(8, DIM)).astype(np.float32), False)
    queries = unit(rng.normal(size=(4, DIM)))
    expected = directions.lengthened(queries, 1, lists)
    assert_allclose(directions.lengthened(queries, 1, lists, lists.probe(queries, first)), expected, rtol=1e-6)
    # Of a query only the direction counts, and to longer vectors a longer one is compared.
    assert_allclose(directions.lengthened(7 * queries, 3, lists, lists.probe(queries, 1)), 3 * expected, rtol=1e-5)
    lengths = np.linalg.norm(expected, axis=1)
    assert ((lengths >= 1 - 1e-6) & (lengths <= 1 / directions.LEAST_COSINE + 1e-6)).all()


def test_cosines_to_centroids_are_those_of_a_plain_product(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coarse, "MANY_LISTS", 64)
    with store_at(tmp_path) as store:
        collection = make_collection(store, tmp_path, distance="Cosine", lists=64)
        queries = unit(fill(collection, 300)[:20])
        encode_all(collection)
        view = collection.view()
        assert isinstance(view.lists, OccupiedLists)
        assert view.coding is not None
        centroids = view.coding.codec.centroids
        assert centroids is not None
        nearest = view.lists.probe(queries, 1)[:, 0]
        expected = (queries * unit(np.asarray(centroids)[nearest])).sum(axis=1)
        assert_allclose(view.lists.cosines(queries, nearest), expected, rtol=1e-4, atol=1e-5)
        assert_allclose(Lists(np.asarray(centroids), False).cosines(queries, nearest), expected, rtol=1e-4, atol=1e-5)
