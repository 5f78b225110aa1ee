"""Merging keeps every answer, drops what is dead, and leaves large segments alone."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from index_store.merge import choose, merged
from index_store.row_set import RowSet
from index_store.segment import Segment, group_by_list
from tests.builders import clustered
from tests.index_store.making import DIM, THOROUGH, encode_all, fill, make_collection, store_at


def segments_of(sizes: list[int], seed: int = 0, lists: int = 5) -> tuple[Segment, ...]:
    """Neighbouring segments of these sizes."""
    rng = np.random.default_rng(seed)
    made, first = [], 0
    for size in sizes:
        rows = np.arange(first, first + size, dtype=np.uint32)
        codes = rng.integers(0, 256, (size, 3)).astype(np.uint8)
        norms = (rng.gamma(2, 2, size) * rng.choice([1, 100])).astype(np.float32)
        of = rng.integers(0, lists, size)
        made.append(group_by_list("s", "m", (first, first + size), of, codes, rows, norms, lists))
        first += size
    return tuple(made)


def contents(segments: tuple[Segment, ...]) -> dict[int, tuple[int, bytes, float]]:
    """row → (list, code, norm)."""
    return {
        int(one.rows[slot]): (int(of), one.codes[slot].tobytes(), one.norm_low + one.norm_step * int(one.norms[slot]))
        for one in segments
        for slot, of in enumerate(one.lists_of(np.arange(len(one))))
    }


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 40), min_size=1, max_size=5),
    seed=st.integers(0, 999),
    share=st.sampled_from([0, 0.4, 1]),
)
def test_a_merged_segment_holds_the_live_codes_of_all(sizes: list[int], seed: int, share: float) -> None:
    segments = segments_of(sizes, seed)
    rows = np.arange(sum(sizes))
    gone = rows[np.random.default_rng(seed).random(len(rows)) < share]
    made = merged("new", segments, RowSet().with_rows(gone))
    expected = {row: entry for row, entry in contents(segments).items() if row not in set(gone.tolist())}
    if not expected:
        assert made is None
        return
    assert made is not None
    found = contents((made,))
    assert {row: entry[:2] for row, entry in found.items()} == {row: entry[:2] for row, entry in expected.items()}
    assert_allclose([found[row][2] for row in expected], [entry[2] for entry in expected.values()], atol=made.norm_step)
    assert (made.first_row, made.stop_row, made.offsets[-1]) == (0, len(rows), len(expected))
    for one in range(5):
        assert (np.diff(made.rows[made.offsets[one] : made.offsets[one + 1]].astype(int)) > 0).all()


@pytest.mark.parametrize(
    ("sizes", "chosen"),
    [
        ([500] * 3, None),
        ([500] * 4, (0, 4)),
        ([60_000, *[500] * 3], None),
        ([60_000, *[500] * 5], (1, 6)),
        ([10_000] * 4 + [500] * 3, (0, 7)),
        ([500] * 2 + [10_000] + [500] * 2, None),
        ([], None),
    ],
)
def test_four_neighbours_of_a_tier_are_merged(sizes: list[int], chosen: tuple[int, int] | None) -> None:
    assert choose(segments_of(sizes), RowSet()) == chosen


def test_a_segment_of_which_much_is_dead_is_written_again() -> None:
    segments = segments_of([100, 100, 100])
    assert choose(segments, RowSet().with_rows(np.arange(100, 130))) is None
    assert choose(segments, RowSet().with_rows(np.arange(100, 131))) == (1, 2)


@pytest.mark.parametrize("distance", ["Euclid", "Dot"])
def test_merging_keeps_every_answer_also_after_a_restart(tmp_path: Path, distance: str) -> None:
    queries = clustered(20, DIM, seed=9)
    with store_at(tmp_path) as store:
        collection = make_collection(store, tmp_path, distance=distance)
        fill(collection, 800)
        encode_all(collection, 100)
        collection.delete(range(0, 800, 3))
        before = collection.query(queries, THOROUGH)
        view = collection.view()
        assert collection.merge() == 8
        assert collection.merge() == 0
        assert collection.query(queries, THOROUGH) == before
        assert [len(one) for one in collection.view().segments] == [533]
        assert len(view.segments) == 8  # an older view keeps what it had
        assert len(list(tmp_path.glob("data/collections/*/vectors/default/segments/*"))) == 1
    with store_at(tmp_path) as store:
        assert store.collection("terms").query(queries, THOROUGH) == before


def test_encoding_in_small_batches_alone_does_not_pile_up_segments(tmp_path: Path) -> None:
    with store_at(tmp_path) as store:
        collection = make_collection(store, tmp_path)
        fill(collection, 140)
        encode_all(collection, 2)
        assert len(collection.view().segments) == 6  # 65 merged into one, then 5 more
        assert sum(map(len, collection.view().segments)) == 140


def test_a_segment_of_dead_rows_alone_goes(tmp_path: Path) -> None:
    with store_at(tmp_path) as store:
        collection = make_collection(store, tmp_path)
        fill(collection, 200)
        encode_all(collection, 100)
        collection.delete(range(100))
        assert collection.merge() == 1
        assert [(one.first_row, len(one)) for one in collection.view().segments] == [(100, 100)]
        assert not list(tmp_path.glob("data/collections/*/vectors/default/segments/*.tmp"))
