"""Models of very many lists: found through a graph that lies beside the model, and compared until it does."""

import numpy as np
import pytest

from index_store import SearchPlan
from index_store.list_graphs import GraphState
from model import coarse
from tests.index_store.making import THOROUGH, encode_all, fill, ids_of, make_collection, store_at

LISTS = 64
READY = GraphState("ready", 1.0)
PLAN = SearchPlan(10, nprobe=16, shortlist=400, rerank=400)


@pytest.fixture
def few_are_many(monkeypatch):
    monkeypatch.setattr(coarse, "MANY_LISTS", LISTS)


def until_made(store):
    """Wait for the graphs that are to be made."""
    store._models._graphs._worker.submit(lambda: None).result()


def graph_file(folder):
    return folder / "data" / "models" / f"tiny{LISTS}.graph"


def answers(collection, queries, plan=PLAN):
    return ids_of(collection.query(queries, plan))


@pytest.mark.parametrize(("distance", "points"), [("Euclid", 1500), ("Dot", 1500), ("Cosine", 20)])
def test_points_are_found_as_with_few_lists(tmp_path, monkeypatch, distance, points):
    with store_at(tmp_path / "few") as store:
        collection = make_collection(store, tmp_path, distance=distance, lists=LISTS)
        queries = fill(collection, points)[:20]
        encode_all(collection)
        expected = [answers(collection, queries, plan) for plan in (PLAN, THOROUGH)]
    monkeypatch.setattr(coarse, "MANY_LISTS", LISTS)
    with store_at(tmp_path / "many") as store:
        collection = make_collection(store, tmp_path, distance=distance, lists=LISTS)
        fill(collection, points)
        encode_all(collection)
        compared = [answers(collection, queries, plan) for plan in (PLAN, THOROUGH)]
        until_made(store)
        by_graph = [answers(collection, queries, plan) for plan in (PLAN, THOROUGH)]
    for found in (compared, by_graph):
        assert shared(found[0], expected[0]) >= 0.97
        assert shared(found[1], expected[1]) == 1.0  # all lists: no choice that a graph could make


def shared(found, expected):
    return np.mean([len({*a} & {*b}) / len(b) for a, b in zip(found, expected, strict=True)])


def test_a_graph_is_made_once_and_lies_beside_the_model(tmp_path, few_are_many):
    with store_at(tmp_path) as store:
        collection = make_collection(store, tmp_path, lists=LISTS)
        assert store.list_graph(f"tiny{LISTS}").state in ("waiting", "making", "ready")
        until_made(store)
        assert store.list_graph(f"tiny{LISTS}") == READY
        assert collection._held.indexes["default"].codec.coarse.graph is not None  # and is used at once
    made = graph_file(tmp_path).stat().st_mtime_ns
    with store_at(tmp_path) as store:
        assert store.list_graph(f"tiny{LISTS}") == READY
        assert store.collection("terms")._held.indexes["default"].codec.coarse.graph is not None
    assert graph_file(tmp_path).stat().st_mtime_ns == made


def test_a_damaged_graph_is_made_anew(tmp_path, few_are_many):
    with store_at(tmp_path) as store:
        make_collection(store, tmp_path, lists=LISTS)
        until_made(store)
    whole = graph_file(tmp_path).read_bytes()
    graph_file(tmp_path).write_bytes(whole[:200] + b"?" + whole[201:])
    with store_at(tmp_path) as store:
        fill(store.collection("terms"), 100)
        encode_all(store.collection("terms"))
        until_made(store)
        assert store.list_graph(f"tiny{LISTS}") == READY
    assert len(graph_file(tmp_path).read_bytes()) == len(whole)


def test_a_deleted_model_leaves_no_graph(tmp_path, few_are_many):
    with store_at(tmp_path) as store:
        make_collection(store, tmp_path, lists=LISTS)
        until_made(store)
        store.delete_collection("terms")
        store.delete_model(f"tiny{LISTS}")
        assert store.list_graph(f"tiny{LISTS}") is None
        assert list((tmp_path / "data" / "models").iterdir()) == []


def test_a_graph_that_was_not_finished_is_made_at_the_next_start(tmp_path, few_are_many):
    with store_at(tmp_path) as store:
        make_collection(store, tmp_path, lists=LISTS)
    assert not graph_file(tmp_path).exists()
    with store_at(tmp_path) as store:
        until_made(store)
        assert store.list_graph(f"tiny{LISTS}") == READY


def test_a_model_of_few_lists_needs_no_graph(tmp_path):
    with store_at(tmp_path) as store:
        make_collection(store, tmp_path, lists=LISTS)
        assert store.list_graph(f"tiny{LISTS}") is None


def test_the_products_with_probed_centroids_are_in_the_vectors_units(tmp_path, few_are_many):
    with store_at(tmp_path) as store:
        collection = make_collection(store, tmp_path, lists=LISTS)
        queries = fill(collection, 300)
        encode_all(collection)
        lists = collection._held.views["default"].lists
        assert len(lists) <= LISTS
        probed = lists.probe(queries[:5], 10_000)
        assert probed.shape == (5, len(lists))
        products = lists.products(queries[:5], probed)
        centroids = collection._held.indexes["default"].codec.centroids
        np.testing.assert_allclose(products, queries[:5] @ centroids[probed[0]].T, rtol=1e-3, atol=1e-3)
