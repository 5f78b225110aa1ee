"""What a service asks itself before it is ready."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from index_store import Collection, SearchPlan, Store
from service.plain_query import PlainQueries
from service.settings import Settings
from service.warm_up import warm_up
from tests.index_store.making import DIM, encode_all, fill, make_collection, store_at
from tests.service.service_in_process import running


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Queries by the collection that answered them."""
    counted: Counter[str] = Counter()
    query = Collection.query

    def counting(self: Collection, queries: Any, plan: SearchPlan, *more: Any, **named: Any) -> Any:
        counted[self.name] += len(queries)
        return query(self, queries, plan, *more, **named)

    monkeypatch.setattr(Collection, "query", counting)
    return counted


def test_each_collection_is_asked_and_remembers_nothing_of_it(tmp_path: Path, asked: Counter[str]) -> None:
    settings = Settings(data=tmp_path / "data")
    store = Store.open(settings.data, threads=1, recent_queries=100)
    try:
        for name, lists in (("coded", 8), ("exact", None), ("empty", 8)):
            collection = make_collection(store, tmp_path, name, lists=lists)
            if name != "empty":
                fill(collection, 50)
                encode_all(collection)
        plain_queries = PlainQueries(settings.max_limit)
        pace = asyncio.run(warm_up(store, settings, plain_queries))
        assert asked.keys() == {"coded", "exact", "empty"}
        held, query = store.collection("coded"), np.zeros(DIM, np.float32)
        read = plain_queries.read(held, {"query": query.tolist(), "limit": 10})
        assert read is not None
        assert pace.queries_within((id(held), read.surroundings.question), 600) > 0
        assert not any(held._recent.values())
        held.query(query[None], SearchPlan(1))
        assert len(held._recent["default"]) == 1  # of a user's query it remembers something
    finally:
        store.close()


def test_nobody_is_told_of_the_queries_that_a_service_asks_itself(tmp_path: Path, asked: Counter[str]) -> None:
    with store_at(tmp_path) as store:
        fill(make_collection(store, tmp_path), 50)
    with running(tmp_path) as client:
        assert asked["terms"] > 2  # two plans are tried while it is loaded
        lines = client.get("/metrics").text.splitlines()
    counts = [line for line in lines if line.startswith(("qinco_queries_total{", "qinco_http_requests_total{"))]
    assert all(line.endswith(" 0.0") for line in counts if "queries_total" in line or "points/query" in line)
