"""The additive scan: the fast forms give what the plain form gives."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit
from numpy.testing import assert_allclose, assert_array_equal

from index_store.row_set import RowSet
from index_store.scan import byte_lookups, cpu, plain, processor, torch_form
from index_store.scan.products import products, products_plain
from index_store.segment import Codes, Segment, group_by_list


def random_scan(seed: int, sizes: list[int], steps: int, codewords: int, lists: int, queries: int) -> dict[str, Any]:
    """Arguments of a scan over segments of these sizes, with rows skipped at random."""
    rng = np.random.default_rng(seed)
    segments: list[Segment] = []
    first = 0
    for size in sizes:
        kind = np.uint8 if codewords <= 256 else np.uint16
        codes: Codes = rng.integers(0, codewords, (size, steps)).astype(kind)
        rows = np.arange(first, first + size, dtype=np.uint32)
        norms = rng.gamma(3, 5, size).astype(np.float32)
        lists_of = rng.integers(0, lists, size)
        segments.append(group_by_list("s", "", (first, first + size), lists_of, codes, rows, norms, lists))
        first += size
    probed = np.stack([rng.permutation(lists) for _ in range(queries)])[:, : rng.integers(1, lists + 1)]
    probed = np.where(rng.random(probed.shape) < 0.1, -1, probed)
    return {
        "segments": segments,
        "lists": probed.astype(np.int64),
        "bases": rng.normal(size=probed.shape).astype(np.float32),
        "tables": rng.normal(size=(queries, steps, codewords)).astype(np.float32),
        "with_norms": bool(rng.integers(2)),
        "skipped": RowSet().with_rows(np.flatnonzero(rng.random(first) < rng.choice([0, 0.3, 1])).astype(np.uint32)),
        "shortlist": int(rng.integers(1, 40)),
    }


def plain_pass(**scan: Any) -> Any:
    return cpu.scan_with(cpu.plain_pass, **scan)


def bounded_pass(**scan: Any) -> Any:
    if not processor.has_byte_lookups() or scan["tables"].shape[2] > 256:
        return cpu.scan(**scan)
    return cpu.scan_with(cpu.bounded_pass, **scan)


def shared_cpu_form(**scan: Any) -> Any:
    with ThreadPoolExecutor(3) as pool, mock.patch.object(cpu, "LEAST_A_SHARE", 1):
        return cpu.scan(**scan, pool=pool, shares=3)


def torch_on_cpu(**scan: Any) -> Any:
    return torch_form.scan(**{**scan, "tables": torch.from_numpy(scan["tables"])})


@pytest.mark.parametrize("form", [plain_pass, bounded_pass, shared_cpu_form, torch_on_cpu])
@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    sizes=st.lists(st.integers(0, 170), min_size=1, max_size=4),
    steps=st.integers(1, 17),
    codewords=st.sampled_from([2, 16, 256, 300]),
    lists=st.integers(1, 9),
    queries=st.integers(1, 4),
)
def test_a_fast_scan_keeps_what_the_plain_one_keeps(
    form: Callable[..., Any], seed: int, sizes: list[int], steps: int, codewords: int, lists: int, queries: int
) -> None:
    scan = random_scan(seed, sizes, steps, codewords, lists, queries)
    expected, found = plain.scan(**scan), form(**scan)
    assert_allclose(found.distances, expected.distances, rtol=1e-4, atol=1e-4)
    assert ((found.segments >= 0) == np.isfinite(expected.distances)).all()
    for query in range(queries):
        wide = {
            **scan,
            **{name: scan[name][query : query + 1] for name in ("lists", "bases", "tables")},
            "shortlist": 700,
        }
        every = plain.scan(**wide)
        known = dict(zip(zip(every.segments[0], every.slots[0], strict=True), every.distances[0], strict=True))
        here = found.segments[query] >= 0
        keys = list(zip(found.segments[query][here], found.slots[query][here], strict=True))
        assert len(set(keys)) == len(keys)
        assert_allclose(found.distances[query][here], [known[key] for key in keys], rtol=1e-4, atol=1e-4)


def test_a_skipped_row_is_never_kept() -> None:
    scan = random_scan(3, [50, 50], 4, 16, 5, 3)
    scan["skipped"] = RowSet().with_rows(np.arange(0, 100, 2))
    found = cpu.scan(**scan)
    rows = [
        scan["segments"][s].rows[slot] for s, slot in zip(found.segments.flat, found.slots.flat, strict=True) if s >= 0
    ]
    assert len(rows) > 5
    assert all(row % 2 for row in rows)


@pytest.mark.skipif(not processor.has_byte_lookups(), reason="this processor has no vpermi2b")
@settings(deadline=None)
@given(count=st.integers(1, 64), seed=st.integers(0, 2**32 - 1))
def test_64_lookups_at_a_time_add_what_one_at_a_time_adds(count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    column, table = rng.integers(0, 256, count, np.uint8), rng.integers(0, 256, 256, np.uint8)
    sums = rng.integers(0, 1000, 64).astype(np.uint16)
    expected = sums.copy()
    byte_lookups.add_lookups_plain(column, table, expected)
    _add_lookups(column, table, sums)
    assert_array_equal(sums[:count], expected[:count])


@njit
def _add_lookups(column: Any, table: Any, sums: Any) -> None:
    byte_lookups.add_lookups(column.ctypes.data, column.shape[0], table.ctypes.data, sums.ctypes.data)


def test_equal_distances_of_whole_blocks_are_kept_like_any_others() -> None:
    scan = random_scan(5, [400], 3, 16, 2, 2)
    scan["tables"][:] = 0
    scan["bases"][:] = 1
    scan["with_norms"] = False
    assert (cpu.scan(**scan).distances == plain.scan(**scan).distances).all()


@settings(max_examples=30, deadline=None)
@given(rows=st.integers(0, 70), dim=st.integers(1, 70), q=st.integers(1, 9), seed=st.integers(0, 2**32 - 1))
def test_products_of_one_thread_are_those_of_many(rows: int, dim: int, q: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    matrix, queries = rng.normal(size=(rows, dim)).astype(np.float32), rng.normal(size=(q, dim)).astype(np.float32)
    assert_allclose(products(matrix, queries), products_plain(matrix, queries), rtol=1e-4, atol=1e-4)
