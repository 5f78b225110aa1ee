"""Recall is measured against exact search, remembered with what it takes, and chosen by."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from index_store import Collection, SearchPlan, Store
from index_store.errors import InvalidConfig
from index_store.measured import Measured, OperatingPoint, frontier
from tests.builders import clustered
from tests.index_store.making import DIM, encode_all, fill, make_collection, store_at

LIMIT = 5


def made(store: Store, folder: Path, n: int = 600) -> Collection:
    collection = make_collection(store, folder)
    fill(collection, n)
    encode_all(collection)
    return collection


def recall_of(collection: Collection, queries: NDArray[np.float32], plan: SearchPlan) -> float:
    found = collection.query(queries, plan)
    true = collection.query(queries, SearchPlan(LIMIT, exact=True))
    return float(
        np.mean([len({a.id for a in x} & {b.id for b in y}) / LIMIT for x, y in zip(found, true, strict=True)])
    )


@pytest.fixture
def all_points(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measurements hold what was dearer and no better, too: what is left out else depends on how long queries took."""
    monkeypatch.setattr("index_store.measuring.frontier", tuple)


@pytest.mark.usefixtures("all_points")
def test_an_operating_point_gives_the_recall_that_was_measured_of_it(tmp_path: Path) -> None:
    queries = clustered(120, DIM, seed=5)
    store = Store.open(tmp_path / "data", threads=1, recent_queries=200)
    try:
        collection = made(store, tmp_path)
        for query in queries:
            collection.query(query[None], SearchPlan(1))
        shares: list[float] = []
        measured = collection.codes.measure_recall("default", LIMIT, 200, shares.append)
        assert measured is not None and shares == sorted(shares) and max(shares) < 1
        assert (measured.queries, measured.sample, measured.points) == ("recent queries", 120, 600)
        assert measured.default == pytest.approx(recall_of(collection, queries, SearchPlan(LIMIT)), abs=1e-9)
        for one in measured.operating_points:
            plan = SearchPlan(LIMIT, nprobe=one.nprobe, shortlist=one.rescored, oversampling=one.rescored / LIMIT)
            # Equal codes tie at the end of a short shortlist; where one list holds too few, a query reads all of them.
            tolerance = 0.05 if one.nprobe <= 2 else 0.03 if one.rescored < 4 * LIMIT else 0.005
            assert one.recall == pytest.approx(recall_of(collection, queries, plan), abs=tolerance), one
        assert {one.nprobe for one in measured.operating_points} == {1, 2, 3, 4, 6, 8}
        assert frontier(list(measured.operating_points))[-1].recall == 1
    finally:
        store.close()


@pytest.mark.usefixtures("all_points")
def test_own_points_are_asked_without_themselves_where_there_are_no_recent_queries(tmp_path: Path) -> None:
    with store_at(tmp_path) as store:
        collection = made(store, tmp_path)
        measured = collection.codes.measure_recall("default", LIMIT, 50)
        assert measured is not None
        assert (measured.queries, measured.sample) == ("own points", 50)
        recalls = {(one.nprobe, one.rescored): one.recall for one in measured.operating_points}
        assert recalls[8, LIMIT] < 1  # each finds itself nearest of all, and would take one place of the five
        assert recalls[8, 96 * LIMIT] == 1


def test_what_was_measured_lasts_and_is_due_again_after_growth_by_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("index_store.targets.LEAST_MEASURED", 100)
    with store_at(tmp_path) as store:
        collection = made(store, tmp_path)
        assert collection.codes.recall_is_due("default")
        assert collection.codes.operating_point("default", 0.9, LIMIT) is None
        measured = collection.codes.measure_recall("default", LIMIT, 50)
        assert not collection.codes.recall_is_due("default")
    with store_at(tmp_path) as store:
        collection = store.collection("terms")
        assert collection.info().recall == measured
        found = collection.codes.operating_point("default", 0.5, 3)
        assert found is not None and found[0] == measured
        fill(collection, 299, first=1000)
        assert not collection.codes.recall_is_due("default")
        fill(collection, 1, first=2000)
        assert collection.codes.recall_is_due("default")
        collection.codes.keep_steps(2, "default", lambda share: None)
        assert collection.codes.operating_point("default", 0.5, 3) is None  # that was measured on other codes


def test_without_originals_or_codes_there_is_nothing_to_measure(tmp_path: Path) -> None:
    with store_at(tmp_path) as store:
        bare = make_collection(store, tmp_path, name="bare", originals="none")
        fill(bare, 50)
        encode_all(bare)
        with pytest.raises(InvalidConfig, match="originals"):
            bare.codes.measure_recall("default", LIMIT, 10)
        exact = make_collection(store, tmp_path, name="exact", lists=None)
        fill(exact, 50)
        assert exact.codes.measure_recall("default", LIMIT, 10) is None
        assert not bare.codes.recall_is_due("default") and not exact.codes.recall_is_due("default")


def test_the_cheapest_point_is_one_that_reached_the_target_beyond_chance() -> None:
    points = [
        OperatingPoint(8, 10, 0.80, 0.01, 1.0),
        OperatingPoint(16, 10, 0.79, 0.01, 1.5),  # dearer, and no better
        OperatingPoint(16, 20, 0.905, 0.01, 2.0),
        OperatingPoint(32, 20, 0.95, 0.01, 3.0),
    ]
    kept = frontier(points[::-1])
    assert kept == (points[0], points[2], points[3])
    measured = Measured(10, 100, "own points", "", 100, 0.0, 0.9, kept)
    assert measured.cheapest(0.79) == points[0]
    assert measured.cheapest(0.90) == points[3]
    assert measured.cheapest(0.95) is None
