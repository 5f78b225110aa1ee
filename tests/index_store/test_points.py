"""The database of points: the fast way of storing many gives what the plain one gives."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index_store.errors import InvalidPoints
from index_store.points import Points
from index_store.stored_forms import LARGEST_INTEGER, SMALLEST_INTEGER, StoredId, stored_ids

runs = st.lists(st.tuples(st.integers(0, 20), st.integers(1, 12)), min_size=1, max_size=5)


@settings(max_examples=15, deadline=None)
@given(runs=runs, base=st.sampled_from([SMALLEST_INTEGER, -3, 0, LARGEST_INTEGER - 40]))
def test_ids_in_a_row_are_stored_as_any_others(
    tmp_path_factory: pytest.TempPathFactory, runs: list[tuple[int, int]], base: int
) -> None:
    folder = tmp_path_factory.mktemp("points")
    fast, plain = Points(folder / "fast.sqlite3"), Points(folder / "plain.sqlite3")
    try:
        for points in (fast, plain):
            with points.transaction():
                points.insert(0, [b"0123456789abcdef", base + 5], ["{}", None], 1)
        row = 2
        for version, (first, n) in enumerate(runs, start=2):
            ids: list[StoredId] = list(range(base + first, base + first + n))
            gone = []
            for points, payloads in ((fast, None), (plain, [None] * n)):
                with points.transaction():
                    gone.append(np.sort(points.insert(row, ids, payloads, version)).tolist())
                    assert list(points.touched.added) == list(range(row, row + n))
                    assert list(points.touched.gone) == gone[-1]
            assert gone[0] == gone[1]
            row += n
        every = [one.db.execute("SELECT * FROM points ORDER BY row").fetchall() for one in (fast, plain)]
        assert every[0] == every[1]
        assert sorted(fast.tombstones()) == sorted(plain.tombstones())
    finally:
        fast.close()
        plain.close()


@given(first=st.integers(-2, 2**64), step=st.sampled_from([-3, -1, 1, 2]), n=st.integers(0, 6))
def test_a_range_of_ids_is_kept_as_a_list_of_them(first: int, step: int, n: int) -> None:
    ids = range(first, first + step * n, step)
    try:
        kept = stored_ids(list(ids))
    except InvalidPoints:
        with pytest.raises(InvalidPoints):
            stored_ids(ids)
    else:
        assert stored_ids(ids) == kept
