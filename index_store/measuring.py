"""Measuring recall: candidates for a sample of queries, more and more of them, compared with exact search.

Where the best candidates are judged by their originals, a true neighbour is found if, and only if, it is among them. So
one scan by the most candidates tells the recall of every smaller number too.
"""

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from index_store.answers import Float32
from index_store.errors import InvalidConfig
from index_store.holdings import Holdings
from index_store.measured import OWN_POINTS, RECENT_QUERIES, Measured, OperatingPoint, frontier
from index_store.plan import Effort, SearchPlan, SearchTrace, resolve
from index_store.planned_search import nearest_rows
from index_store.search import rows_of, shortlist
from index_store.vector_index import VectorIndex
from index_store.view import View

LEAST_RECENT = 100
"""Fewer recent queries say less than the collection's own points."""

RESCORED_A_HIT = (1, 1.5, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)
BLOCK = 32
TIMED = 15

Report = Callable[[float], None]


def measure(
    held: Holdings, index: VectorIndex, limit: int, sample: int, recent: Float32, report: Report
) -> Measured | None:
    """The recall of the `limit` nearest on `sample` recent queries [q, dim], or own points where those are few.

    None where there is nothing to measure: no codes, or no more than `limit` points. `report` hears the share that is
    done; what it raises ends the work. Raises InvalidConfig without originals to compare with.
    """
    view = held.views[index.name]
    if not index.keeps_originals:
        raise InvalidConfig("This collection keeps no originals, so there is nothing to compare its answers with.")
    live = np.flatnonzero(~view.dead.between(0, view.stop))
    if view.coding is None or not view.segments or len(live) <= limit:
        return None
    queries, own = _sample(index, live, sample, recent)
    rescored = [max(limit, round(limit * share)) for share in RESCORED_A_HIT if limit * share <= len(live)]
    probes = _probes(len(view.lists) if view.lists else 1)
    default = resolve(SearchPlan(limit), probes[-1], True, points=len(live))
    found = np.zeros((len(queries), len(probes), len(rescored)))  # share of the true neighbours
    by_default = np.zeros(len(queries))
    for begin in range(0, len(queries), BLOCK):
        report(begin / len(queries))
        part = slice(begin, begin + BLOCK)
        true = _true(index, view, queries[part], own[part], limit, len(live))
        for place, nprobe in enumerate(probes):
            ranks = _ranks(index, view, queries[part], own[part], true, nprobe, rescored[-1])
            found[part, place] = [[(one < most).mean() for most in rescored] for one in ranks]
        ranks = _ranks(index, view, queries[part], own[part], true, default.nprobe, default.shortlist)
        by_default[part] = (ranks < default.shortlist).mean(axis=1)
    costs = _costs(index, view, queries, limit, probes, rescored, len(live))
    points = [
        OperatingPoint(
            nprobe, most, float(found[:, i, j].mean()), float(found[:, i, j].std() / np.sqrt(len(queries))),
            float(costs[i, j]),
        )
        for i, nprobe in enumerate(probes) for j, most in enumerate(rescored)
    ]  # fmt: skip
    asked = OWN_POINTS if own.max() >= 0 else RECENT_QUERIES
    return Measured(
        limit, len(queries), asked, codes_of(index), len(live), time.time(), float(by_default.mean()), frontier(points)
    )


def codes_of(index: VectorIndex) -> str:
    """Which codes an index has: a measurement of others says nothing of these."""
    codec = index.codec
    return "" if codec is None else f"{codec.sha256}/{codec.steps}/{len(index.lists) if index.lists else 1}"


def _sample(
    index: VectorIndex, live: NDArray[np.int64], sample: int, recent: Float32
) -> tuple[Float32, NDArray[np.int64]]:
    """Queries [q, dim], and the row that each was taken from, −1 for a user's."""
    if len(recent) >= min(sample, LEAST_RECENT):
        return recent[-sample:], np.full(min(sample, len(recent)), -1, np.int64)
    rows = live[np.unique(np.linspace(0, len(live) - 1, min(len(live), sample), dtype=np.int64))]
    return index.forms.as_searched(index.originals.read(rows)), rows


def _probes(lists: int) -> list[int]:
    """Numbers of lists to try: half an octave apart."""
    steps = [round(2 ** (half / 2)) for half in range(2 * lists.bit_length())]
    return sorted({*(one for one in steps if one < lists), lists})


def _true(
    index: VectorIndex, view: View, queries: Float32, own: NDArray[np.int64], limit: int, points: int
) -> NDArray[np.int64]:
    """The rows [q, limit] that are exactly nearest, without a query's own."""
    plan = SearchPlan(limit + 1, exact=True)
    found = nearest_rows(index.searched, view, queries, plan, None, points, SearchTrace()).rows
    return _without_own(found, own)[:, :limit]


def _ranks(
    index: VectorIndex,
    view: View,
    queries: Float32,
    own: NDArray[np.int64],
    true: NDArray[np.int64],
    nprobe: int,
    most: int,
) -> NDArray[np.int64]:
    """How many candidates the scan has nearer than each true neighbour, [q, limit]; pending ones are always found."""
    effort = Effort(most + 1, nprobe, most + 1, most + 1, most + 1)
    alone = replace(index.searched, pool=None)  # its threads are for those who wait for an answer
    candidates = shortlist(alone, view, queries, effort, view.dead, SearchTrace())
    rows = _without_own(rows_of(view, candidates), own)[:, :most]
    is_it = rows[:, :, None] == true[:, None, :]  # [q, s, limit]
    ranks = np.where(is_it.any(axis=1), is_it.argmax(axis=1), most + 1)
    return np.where(true >= view.watermark, 0, ranks)


def _without_own(rows: NDArray[np.int64], own: NDArray[np.int64]) -> NDArray[np.int64]:
    """Each query's rows in order, its own last."""
    return np.take_along_axis(rows, np.argsort(rows == own[:, None], axis=1, kind="stable"), axis=1)


def _costs(
    index: VectorIndex, view: View, queries: Float32, limit: int, probes: list[int], rescored: list[int], points: int
) -> NDArray[np.float64]:
    """Milliseconds a query for each pair: what probing takes and what rescoring takes, timed apart, are added."""
    plans = [SearchPlan(limit, nprobe=nprobe, shortlist=rescored[0], oversampling=1.0) for nprobe in probes]
    plans += [replace(plans[0], shortlist=most, oversampling=most / limit) for most in rescored]
    seconds = np.zeros((len(plans), TIMED))
    for turn in range(TIMED):  # in turn, so that what else goes on in the machine meets all alike
        query = queries[turn % len(queries)][None]
        for place, plan in enumerate(plans):
            started = time.perf_counter()
            nearest_rows(index.searched, view, query, plan, None, points, SearchTrace())
            seconds[place, turn] = time.perf_counter() - started
    typical = np.median(seconds, axis=1) * 1e3
    probing, judging = np.maximum.accumulate(typical[: len(probes)]), np.maximum.accumulate(typical[len(probes) :])
    return np.asarray(probing[:, None] + judging[None, :] - judging[0], np.float64)
