"""Candidates that are decoded in part: the compiled form is the plain one, and hardly anything near is left behind."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from index_store import cascade
from index_store.cascade import Narrowing, narrowing
from index_store.compiled_cascade import move_nearest
from model import load_codec
from model.kernels.instructions import CHUNK
from tests.builders import clustered, tiny_codec

DIM = 8


def test_more_than_is_wanted_goes_on_to_the_last_step() -> None:
    assert [part.tolist() for part in narrowing(16, 40, 10)] == [[4, 7], [30, 18]]
    assert [part.tolist() for part in narrowing(16, 40, 1)] == [[4, 7], [21, 9]]
    assert [part.tolist() for part in narrowing(8, 80, 20)] == [[2, 4], [60, 36]]
    assert [part.tolist() for part in narrowing(8, 40, 20)] == [[4], [29]]
    assert [part.tolist() for part in narrowing(16, 10, 10)] == [[], []]
    assert [part.tolist() for part in narrowing(1, 40, 1)] == [[], []]


@given(
    before=st.integers(0, 3),
    gap=st.integers(0, 3),
    found=st.lists(st.integers(0, 9), max_size=30),
    kept=st.integers(1, 30),
)
def test_the_nearest_go_on_in_their_order(before: int, gap: int, found: list[int], kept: int) -> None:
    begin, n = before + gap, before + gap + len(found)
    distances, alive = np.array([-1] * begin + found, np.float32), np.arange(n)
    held = np.arange(n, dtype=np.float32)[:, None].repeat(2, axis=1)
    moved = move_nearest(held, alive, distances, begin, n, kept, before)
    expected = begin + np.sort(np.argsort(found, kind="stable")[:kept]).astype(np.int64)
    assert moved == len(expected)
    assert_array_equal(alive[: before + moved], [*range(before), *expected])
    assert_array_equal(held[: before + moved, 0], alive[: before + moved])
    assert_array_equal(distances[before : before + moved], [found[at - begin] for at in expected])


@pytest.fixture(scope="module", params=[4, 0], ids=["with lists", "without lists"])
def codec(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    return load_codec(tiny_codec(tmp_path_factory.mktemp("codec"), dim=DIM, steps=4, lists=request.param))


@settings(max_examples=60, deadline=None)
@given(
    counts=st.lists(st.sampled_from([0, 1, 2, 5, 30, CHUNK, CHUNK + 1, 2 * CHUNK + 7]), min_size=1, max_size=4),
    after=st.sampled_from([[], [1], [2], [1, 3], [1, 2, 3]]),
    kept=st.integers(1, 40),
    by_product=st.booleans(),
    length=st.sampled_from([None, 1.0, 20.0]),
    seed=st.integers(0, 1000),
)
def test_the_compiled_form_finds_the_distances_of_the_plain_one(
    codec, counts: list[int], after: list[int], kept: int, by_product: bool, length: float | None, seed: int
) -> None:
    queries, n = clustered(len(counts), DIM, seed=seed), sum(counts)
    codes = codec.encode(clustered(max(n, 1), DIM, seed=seed + 1))[:n]
    kept_then = np.array([max(1, kept - place) for place in range(len(after))], np.int64)
    narrowed = Narrowing(np.array(after, np.int64), kept_then)
    given = codec, queries, np.array(counts, np.int64), codes, narrowed, by_product, length
    expected, found = cascade.distances_plain(*given), cascade.distances(*given)
    assert np.isfinite(expected).sum() == np.isfinite(found).sum()
    both = np.isfinite(expected) & np.isfinite(found)  # of two whom rounding alone tells apart either may go on
    assert_allclose(found[both], expected[both], rtol=1e-4, atol=1e-3)


def test_without_narrowing_distances_are_those_of_decoded_vectors(codec) -> None:  # type: ignore[no-untyped-def]
    x, queries = clustered(50, DIM, seed=2), clustered(1, DIM, seed=3)
    codes = codec.encode(x)
    found = cascade.distances(codec, queries, np.array([50]), codes, narrowing(1, 50, 50), False, None)
    assert_allclose(found, np.square(codec.decode(codes) - queries).sum(axis=1), rtol=1e-4, atol=1e-3)


def test_hardly_any_of_the_nearest_is_left_behind(codec) -> None:  # type: ignore[no-untyped-def]
    x, queries = clustered(400, DIM, seed=4), clustered(40, DIM, seed=5)
    codes = np.tile(codec.encode(x), (len(queries), 1))
    counts = np.full(len(queries), len(x))
    some = cascade.distances(codec, queries, counts, codes, narrowing(codec.steps, 400, 10), False, None)
    every = cascade.distances(codec, queries, counts, codes, narrowing(1, 400, 400), False, None)
    nearest = np.sort(every.reshape(40, 400), axis=1)[:, 9:10]
    is_among = every.reshape(40, 400) <= nearest
    assert np.isfinite(some.reshape(40, 400))[is_among].mean() > 0.98
    assert np.isfinite(some).mean() < 0.5
