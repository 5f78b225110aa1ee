"""Forms whose answer is an order that score alone does not tell: hit by hit as in the client's in-memory Qdrant.

Vectors are random reals, so that no two scores are the same and the order is one.
"""

from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import numpy as np
import pytest
from qdrant_client import QdrantClient, models

NAME, OTHER = "ordered", "looked-up"
N, DIM = 60, 6
Both = tuple[QdrantClient, QdrantClient]

pytestmark = pytest.mark.skipif(not version("qdrant-client").startswith("1.20."), reason="the oracle is 1.20's")


def points(seed: int) -> list[models.PointStruct]:
    rng = np.random.default_rng(seed)
    return [
        models.PointStruct(
            id=id, vector={"a": rng.normal(size=DIM).tolist(), "b": rng.normal(size=DIM).tolist()},
            payload={"n": int(rng.integers(12)), "x": float(rng.normal()), "tag": ["red", "blue", "green"][id % 3]},
        )
        for id in range(N)
    ]  # fmt: skip


@pytest.fixture(scope="module", params=["Cosine", "Euclid", "Dot"])
def both(url: str, request: pytest.FixtureRequest) -> Iterator[Both]:
    """Two collections on either side; of one, half the keys are indexed on ours."""
    clients = QdrantClient(url=url, timeout=60), QdrantClient(":memory:")
    config = {name: models.VectorParams(size=DIM, distance=models.Distance(request.param)) for name in "ab"}
    for client in clients:
        for seed, name in enumerate((NAME, OTHER)):
            client.delete_collection(name)
            client.create_collection(name, config)
            client.upsert(name, points(seed), wait=True)
    yield clients
    clients[0].close()


def query(seed: int = 9) -> list[float]:
    return list(np.random.default_rng(seed).normal(size=DIM).tolist())


def same(both: Both, form: Any = None, **given: Any) -> list[Any]:
    """The hits of both, which must be the same in the same order."""
    ours, theirs = (client.query_points(NAME, form, **given).points for client in both)
    assert [hit.id for hit in ours] == [hit.id for hit in theirs]
    np.testing.assert_allclose([hit.score for hit in ours], [hit.score for hit in theirs], atol=2e-4)
    assert ours
    return ours


@pytest.mark.parametrize("diversity", [0.0, 0.3, 0.7, 1.0])
@pytest.mark.parametrize("candidates", [8, 30, None])
def test_diverse_hits_are_chosen_alike(both: Both, diversity: float, candidates: int | None) -> None:
    form = models.NearestQuery(nearest=query(), mmr=models.Mmr(diversity=diversity, candidates_limit=candidates))
    hits = same(both, form, using="a", limit=7, with_vectors=["b"])
    if candidates == 30 and diversity == 0.7:
        plain = both[0].query_points(NAME, query(), using="a", limit=7).points
        assert [hit.id for hit in hits] != [hit.id for hit in plain], "this test would not notice plain search"


@pytest.mark.parametrize("vector", [None, "b"])
def test_ids_are_looked_up_elsewhere(both: Both, vector: str | None) -> None:
    place = models.LookupLocation(collection=OTHER, vector=vector)
    hits = same(both, 3, using="a", lookup_from=place, limit=8)
    assert [hit.id for hit in hits] != [hit.id for hit in both[0].query_points(NAME, 3, using="a", limit=8).points]
    for strategy in (None, *models.RecommendStrategy):
        recommend = models.RecommendInput(positive=[1, 2, query()], negative=[5], strategy=strategy)
        same(both, models.RecommendQuery(recommend=recommend), using="a", lookup_from=place, limit=8)
    pairs = [models.ContextPair(positive=6, negative=7), models.ContextPair(positive=query(3), negative=8)]
    discover = models.DiscoverInput(target=4, context=pairs)
    same(both, models.DiscoverQuery(discover=discover), using="a", lookup_from=place, limit=8)


@pytest.mark.parametrize(
    "form",
    [
        models.FusionQuery(fusion=models.Fusion.RRF),
        models.FusionQuery(fusion=models.Fusion.DBSF),
        models.RrfQuery(rrf=models.Rrf(k=1)),
        models.RrfQuery(rrf=models.Rrf(k=60)),
        models.RrfQuery(rrf=models.Rrf(k=2, weights=[3.0, 0.7, 1.1])),
    ],
    ids=["rrf", "dbsf", "rrf-1", "rrf-60", "rrf-weighted"],
)
def test_fused_rankings_have_the_same_order_and_scores(both: Both, form: Any) -> None:
    few = models.Filter(must=[models.FieldCondition(key="n", range=models.Range(lt=9))])
    prefetch = [
        models.Prefetch(query=query(1), using="a", limit=20),
        models.Prefetch(query=query(2), using="b", limit=15, filter=few),
        models.Prefetch(
            prefetch=[models.Prefetch(query=query(3), using="a", limit=30)], query=query(4), using="b", limit=9
        ),
    ]
    ours, theirs = (client.query_points(NAME, form, prefetch=prefetch, limit=40).points for client in both)
    np.testing.assert_allclose([hit.score for hit in ours], [hit.score for hit in theirs], atol=2e-4)
    if getattr(form, "fusion", None) == models.Fusion.DBSF:
        assert [hit.id for hit in ours] == [hit.id for hit in theirs]
        return
    by_score: list[dict[float, set[Any]]] = [{}, {}]  # points of the same ranks in two lists may change places
    for side, hits in zip(by_score, (ours, theirs), strict=True):
        for hit in hits[:-5]:
            side.setdefault(round(hit.score, 6), set()).add(hit.id)
    assert by_score[0] == by_score[1]
    assert len(by_score[0]) > 10, "most scores differ, so that the order was compared"


@pytest.mark.parametrize("is_indexed", [False, True])
def test_values_order_and_count_points_alike_with_and_without_an_index(both: Both, is_indexed: bool) -> None:
    ours, _ = both
    kinds = dict(zip(("x", "n", "tag"), map(models.PayloadSchemaType, ("float", "integer", "keyword")), strict=True))
    for key, kind in kinds.items():
        if is_indexed:
            ours.create_payload_index(NAME, key, kind, wait=True)
    assert set(ours.get_collection(NAME).payload_schema) == (set(kinds) if is_indexed else set())
    few = models.Filter(must=[models.FieldCondition(key="tag", match=models.MatchAny(any=["red", "blue"]))])
    for direction in models.Direction:
        order = models.OrderBy(key="x", direction=direction)
        pages = [client.scroll(NAME, few, 100, order)[0] for client in both]
        assert [one.id for one in pages[0]] == [one.id for one in pages[1]]
        assert [one.order_value for one in pages[0]] == sorted(
            ((one.payload or {})["x"] for one in pages[1]), reverse=direction == models.Direction.DESC
        )
        same(both, models.OrderByQuery(order_by=order), query_filter=few, limit=25)
        start = models.OrderBy(key="n", direction=direction, start_from=6)
        values = [[one.order_value for one in client.scroll(NAME, None, 100, start)[0]] for client in both]
        assert values[0] == values[1]
    for key in ("tag", "n"):
        for condition in (None, few):
            counted = [
                {hit.value: hit.count for hit in client.facet(NAME, key, condition, limit=50, exact=True).hits}
                for client in both
            ]
            assert counted[0] == counted[1] != {}
    if is_indexed:
        for key in kinds:
            ours.delete_payload_index(NAME, key, wait=True)


def test_a_batch_answers_as_its_queries_do_alone(both: Both) -> None:
    requests = [
        models.QueryRequest(query=query(1), using="a", limit=5, with_payload=True),
        models.QueryRequest(query=3, using="b", limit=4, offset=2),
        models.QueryRequest(
            prefetch=[models.Prefetch(query=query(seed), using="a", limit=10) for seed in (1, 2)],
            query=models.FusionQuery(fusion=models.Fusion.DBSF), limit=6,
        ),
        models.QueryRequest(
            query=models.NearestQuery(nearest=query(5), mmr=models.Mmr(diversity=0.5, candidates_limit=20)),
            using="b", limit=5,
        ),
    ]  # fmt: skip
    ours, theirs = (client.query_batch_points(NAME, requests) for client in both)
    for mine, other in zip(ours, theirs, strict=True):
        assert [(hit.id, hit.payload) for hit in mine.points] == [(hit.id, hit.payload) for hit in other.points]
        np.testing.assert_allclose([hit.score for hit in mine.points], [hit.score for hit in other.points], atol=2e-4)


def test_groups_are_the_same_hit_by_hit_with_what_is_looked_up(both: Both) -> None:
    given: dict[str, Any] = {
        "group_by": "n", "query": query(), "using": "a", "limit": 6, "group_size": 3,
        "with_lookup": models.WithLookup(collection=OTHER, with_payload=["tag"]),
    }  # fmt: skip
    ours, theirs = (client.query_points_groups(NAME, **given).groups for client in both)
    assert [(group.id, [hit.id for hit in group.hits]) for group in ours] == [
        (group.id, [hit.id for hit in group.hits]) for group in theirs
    ]
    lookups = [[group.lookup and group.lookup.payload for group in side] for side in (ours, theirs)]
    assert lookups[0] == lookups[1]
    assert all(lookups[0])
