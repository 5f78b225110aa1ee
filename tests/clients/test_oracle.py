"""The same calls to this service and to the client's own in-memory Qdrant give the same answers."""

import uuid
from collections.abc import Callable, Iterator
from importlib.metadata import version
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qdrant_client import QdrantClient, models

NAME = "compared"
DIM = 4
IDS: list[Any] = [1, 2, 3, 5, 8, 13, *(str(uuid.UUID(int=i)) for i in (1, 2, 3))]
Both = tuple[QdrantClient, QdrantClient]

settings.load_profile("clients")
# Older clients' in-memory modes have faults that newer ones mended: there is one oracle.
pytestmark = pytest.mark.skipif(not version("qdrant-client").startswith("1.20."), reason="the oracle is 1.20's")


@pytest.fixture(scope="module")
def both(url: str) -> Iterator[Both]:
    ours, theirs = QdrantClient(url=url, timeout=60), QdrantClient(":memory:")
    yield ours, theirs
    ours.close()


# --- what is random

numbers = st.floats(-1, 1, width=16).map(lambda value: round(value, 3))
vectors = st.lists(numbers, min_size=DIM, max_size=DIM).filter(lambda v: float(np.linalg.norm(v)) > 0.1)
scalars = st.one_of(
    st.integers(-3, 3), st.sampled_from(["red", "blue", "2024-01-02", "2024-01-01T12:00:00Z"]), st.booleans(),
    st.none(), st.sampled_from([0.5, -1.5]),
)  # fmt: skip
values = st.one_of(
    scalars, st.lists(scalars, max_size=3), st.fixed_dictionaries({}, optional={"b": scalars, "c": scalars})
)
payloads = st.fixed_dictionaries({}, optional={"a": values, "n": st.integers(0, 5), "tag": values, "x y": scalars})
keys = st.sampled_from(["a", "n", "tag", "a.b", "a[]", "a[].b", '"x y"', "missing"])
ids: st.SearchStrategy[Any] = st.sampled_from(IDS)
some_ids: st.SearchStrategy[list[Any]] = st.lists(ids, min_size=1, max_size=4, unique=True)
distances = st.sampled_from(list(models.Distance))


def conditions() -> st.SearchStrategy[Any]:
    matches: st.SearchStrategy[Any] = st.one_of(
        st.sampled_from([models.MatchValue(value=value) for value in (1, 0, "red", True)]),
        st.sampled_from([models.MatchAny(any=[1, 2]), models.MatchAny(any=["red"])]),
        st.sampled_from([models.MatchExcept(**{"except": [1]}), models.MatchExcept(**{"except": ["red", "blue"]})]),
    )
    ranges = st.builds(models.Range, gte=st.sampled_from([None, -1, 0.5]), lt=st.sampled_from([None, 2, 4]))
    return st.one_of(
        st.builds(lambda key, match: models.FieldCondition(key=key, match=match), keys, matches),
        st.builds(lambda key, range: models.FieldCondition(key=key, range=range), keys, ranges),
        st.builds(lambda some: models.HasIdCondition(has_id=some), some_ids),
        st.builds(lambda key: models.IsEmptyCondition(is_empty=models.PayloadField(key=key)), keys),
        st.builds(lambda key: models.IsNullCondition(is_null=models.PayloadField(key=key)), keys),
    )


def clauses(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[models.Filter]:
    some = st.none() | st.lists(inner, min_size=1, max_size=2)
    return st.builds(models.Filter, must=some, should=some, must_not=some)


# An empty filter inside another is refused here, and matches everything in Qdrant.
inner = clauses(conditions()).filter(lambda one: any((one.must, one.should, one.must_not)))
filters = clauses(st.one_of(conditions(), conditions(), inner))
selectors = st.one_of(
    st.booleans(), st.lists(keys.filter(lambda key: key != "missing"), min_size=1, max_size=2),
    st.lists(keys, min_size=1, max_size=2).map(lambda some: models.PayloadSelectorExclude(exclude=some)),
)  # fmt: skip


@st.composite
def named_points(draw: st.DrawFn, least: int = 0) -> list[models.PointStruct]:
    """Points of the vectors `a` and `b`, which may lack either, under ids that differ."""
    chosen = draw(st.lists(ids, min_size=least, max_size=len(IDS), unique=True))
    optional: st.SearchStrategy[Any] = st.fixed_dictionaries({}, optional={"a": vectors, "b": vectors})
    return [models.PointStruct(id=id, vector=draw(optional), payload=draw(payloads)) for id in chosen]


# --- what is done to both


def make(both: Both, data: st.DataObject, least: int = 3) -> None:
    """An empty collection of two vectors on either side, then the same points."""
    distance = data.draw(st.tuples(distances, distances))
    for client in both:
        client.delete_collection(NAME)
        client.create_collection(
            NAME,
            {name: models.VectorParams(size=DIM, distance=d) for name, d in zip("ab", distance, strict=True)},
        )
    points = data.draw(named_points(least))
    if points:
        for client in both:
            client.upsert(NAME, [point.model_copy(deep=True) for point in points])


def assert_same(both: Both, call: Callable[[QdrantClient], Any], shown: Callable[[Any], Any]) -> Any:
    ours, theirs = (outcome(client, call) for client in both)
    if isinstance(theirs, Exception) or isinstance(ours, Exception):
        assert isinstance(ours, Exception) and isinstance(theirs, Exception), told(ours, theirs)
        return None
    assert shown(ours) == shown(theirs)
    return ours


def outcome(client: QdrantClient, call: Callable[[QdrantClient], Any]) -> Any:
    try:
        return call(client)
    except Exception as error:  # whatever it is, the other side must fail too
        return error


def told(ours: Any, theirs: Any) -> str:
    return f"ours: {getattr(ours, 'content', ours)!r}\ntheirs: {theirs!r}"


def plain(records: Any) -> list[Any]:
    """Points as values that can be compared; the version and the last digits are each side's own."""
    return [
        (record.id, record.payload, rounded(record.vector), getattr(record, "order_value", None)) for record in records
    ]


def rounded(vector: Any) -> Any:
    if isinstance(vector, dict):
        return {name: rounded(one) for name, one in vector.items()}
    return None if vector is None else np.round(np.array(vector, np.float64), 4).tolist()


def everything(client: QdrantClient) -> Any:
    return client.scroll(NAME, limit=100, with_payload=True, with_vectors=True)[0]


def same_hits(both: Both, call: Callable[[QdrantClient], Any]) -> None:
    """The same scores in the same order; points of nearly the same score may change places."""
    ours, theirs = (outcome(client, call) for client in both)
    if isinstance(theirs, Exception) or isinstance(ours, Exception):
        assert isinstance(ours, Exception) and isinstance(theirs, Exception), told(ours, theirs)
        return
    assert_hits(ours, theirs)


def assert_hits(ours: list[Any], theirs: list[Any]) -> None:
    np.testing.assert_allclose([hit.score for hit in ours], [hit.score for hit in theirs], atol=2e-4)
    if not ours:
        return
    last = ours[-1].score
    sure = {hit.id: plain([hit]) for hit in theirs if abs(hit.score - last) > 1e-3}
    assert {hit.id: plain([hit]) for hit in ours if abs(hit.score - last) > 1e-3} == sure


# --- the comparison


@given(data=st.data())
def test_changes_leave_the_same_points(both: Both, data: st.DataObject) -> None:
    make(both, data, least=1)
    for _ in range(data.draw(st.integers(1, 5))):
        change = data.draw(changes())
        ours = outcome(both[0], change)
        # Of a change that names an unknown point we make nothing, Qdrant makes the rest of it: then both start anew.
        theirs = outcome(both[1], change)
        if isinstance(ours, Exception) or isinstance(theirs, Exception):
            assert isinstance(ours, Exception) and isinstance(theirs, Exception), told(ours, theirs)
            return
    assert_same(both, everything, plain)
    assert_same(both, lambda client: client.count(NAME), lambda found: found.count)


def changes() -> st.SearchStrategy[Callable[[QdrantClient], Any]]:
    chosen = st.one_of(some_ids, filters.map(lambda one: models.FilterSelector(filter=one)))
    paths = st.sampled_from([None, "a", "a.b", "n.m", "a[]", "a[0].b"])
    names = st.lists(st.sampled_from(["a", "b"]), min_size=1, max_size=2, unique=True)
    modes = st.sampled_from([None, *models.UpdateMode])
    vectors_of = st.lists(
        st.builds(
            models.PointVectors, id=ids,
            vector=st.dictionaries(st.sampled_from(["a", "b"]), vectors, min_size=1),
        ), min_size=1, max_size=3,
    )  # fmt: skip
    return st.one_of(
        st.builds(
            lambda points, mode, only: lambda client: client.upsert(
                NAME, [point.model_copy(deep=True) for point in points], update_mode=mode, update_filter=only
            ),
            named_points(1), modes, st.none() | filters,
        ),
        st.builds(lambda some: lambda client: client.delete(NAME, some), chosen),
        st.builds(
            lambda some, what, key: lambda client: client.set_payload(NAME, what, some, key=key),
            chosen, payloads, paths,
        ),
        st.builds(lambda some, what: lambda client: client.overwrite_payload(NAME, what, some), chosen, payloads),
        st.builds(
            lambda some, what: lambda client: client.delete_payload(NAME, what, some),
            chosen, st.lists(keys, min_size=1, max_size=2),
        ),
        st.builds(lambda some: lambda client: client.clear_payload(NAME, some), chosen),
        st.builds(lambda some: lambda client: client.update_vectors(NAME, some), vectors_of),
        st.builds(lambda some, which: lambda client: client.delete_vectors(NAME, which, some), chosen, names),
    )  # fmt: skip


@given(data=st.data())
def test_points_are_read_alike(both: Both, data: st.DataObject) -> None:
    make(both, data)
    condition, selection = data.draw(st.none() | filters), data.draw(selectors)
    which = data.draw(st.one_of(st.booleans(), st.just(["a"]), st.just(["b", "a"])))
    chosen, limit = data.draw(some_ids), data.draw(st.integers(1, 12))
    start = data.draw(st.none() | ids)
    assert_same(both, lambda client: client.retrieve(NAME, chosen, selection, which), plain)
    assert_same(
        both,
        lambda client: client.scroll(NAME, condition, limit, offset=start, with_payload=selection, with_vectors=which),
        lambda page: (plain(page[0]), page[1]),
    )
    assert_same(both, lambda client: client.count(NAME, condition), lambda found: found.count)
    key = data.draw(keys)
    assert_same(
        both,
        lambda client: client.facet(NAME, key, condition, limit),
        lambda found: [(type(hit.value), hit.value, hit.count) for hit in found.hits],
    )
    order = models.OrderBy(key=key, direction=data.draw(st.sampled_from(list(models.Direction))))
    assert_same(
        both,
        lambda client: client.scroll(NAME, condition, 100, order, with_payload=True)[0],
        lambda records: sorted((record.order_value, str(record.id)) for record in records),
    )


@given(data=st.data())
def test_queries_find_the_same(both: Both, data: st.DataObject) -> None:
    make(both, data, least=4)
    query, using = data.draw(queries()), data.draw(st.sampled_from(["a", "b"]))
    given: dict[str, Any] = {
        "using": using, "query_filter": data.draw(st.none() | filters), "limit": data.draw(st.integers(1, 12)),
        "offset": data.draw(st.integers(0, 3)), "with_payload": data.draw(selectors),
        "with_vectors": data.draw(st.booleans()),
    }  # fmt: skip
    same_hits(both, lambda client: client.query_points(NAME, query, **given).points)


def examples() -> st.SearchStrategy[Any]:
    return st.one_of(vectors, ids)


def pairs() -> st.SearchStrategy[Any]:
    one = st.builds(lambda good, bad: models.ContextPair(positive=good, negative=bad), vectors, vectors)
    return st.lists(one, min_size=1, max_size=3)


def queries() -> st.SearchStrategy[Any]:
    lists = st.lists(examples(), max_size=3)
    return st.one_of(
        vectors, ids,
        st.builds(
            lambda good, bad, how: models.RecommendQuery(
                recommend=models.RecommendInput(positive=good, negative=bad, strategy=how)
            ),
            lists, lists, st.sampled_from([None, *models.RecommendStrategy]),
        ),
        st.builds(
            lambda target, context: models.DiscoverQuery(discover=models.DiscoverInput(target=target, context=context)),
            vectors, pairs(),
        ),
        st.builds(lambda context: models.ContextQuery(context=context), pairs()),
    )  # fmt: skip


@given(data=st.data())
def test_prefetched_points_are_fused_and_ranked_again_alike(both: Both, data: st.DataObject) -> None:
    make(both, data, least=5)
    prefetch = data.draw(st.lists(prefetches(), min_size=1, max_size=3))
    query = data.draw(
        st.one_of(
            vectors, st.sampled_from([models.FusionQuery(fusion=one) for one in models.Fusion]),
            st.builds(lambda k: models.RrfQuery(rrf=models.Rrf(k=k)), st.sampled_from([1, 2, 60])),
        )
    )  # fmt: skip
    using = None if isinstance(query, models.FusionQuery | models.RrfQuery) else "a"
    ours, theirs = (
        client.query_points(NAME, query, using=using, prefetch=prefetch, limit=20).points for client in both
    )
    assert {hit.id for hit in ours} == {hit.id for hit in theirs}
    if not isinstance(query, models.FusionQuery | models.RrfQuery):
        assert_hits(ours, theirs)


def prefetches() -> st.SearchStrategy[models.Prefetch]:
    def one(query: Any, using: str, condition: Any) -> models.Prefetch:
        return models.Prefetch(query=query, using=using, filter=condition, limit=20)

    inner = st.builds(one, vectors, st.sampled_from(["a", "b"]), st.none() | filters)
    nested = st.builds(
        lambda some, query: models.Prefetch(prefetch=some, query=query, using="b", limit=20),
        st.lists(inner, min_size=1, max_size=2), vectors,
    )  # fmt: skip
    return st.one_of(inner, inner, nested)


@given(data=st.data())
def test_groups_are_the_same(both: Both, data: st.DataObject) -> None:
    make(both, data, least=5)
    query, key = data.draw(vectors), data.draw(st.sampled_from(["n", "tag"]))
    condition, limit, size = data.draw(st.none() | filters), data.draw(st.integers(1, 4)), data.draw(st.integers(1, 3))

    def call(client: QdrantClient) -> Any:
        found = client.query_points_groups(
            NAME, key, query, using="a", query_filter=condition, limit=limit, group_size=size
        )
        return found.groups

    ours, theirs = call(both[0]), call(both[1])
    scores = [[[hit.score for hit in group.hits] for group in side] for side in (ours, theirs)]
    assert [len(group) for group in scores[0]] == [len(group) for group in scores[1]]
    for mine, other in zip(*scores, strict=True):
        np.testing.assert_allclose(mine, other, atol=2e-4)
