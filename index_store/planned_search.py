"""A search as its plan and its filter ask for it: exactly, or by codes; of few survivors all, otherwise by lists.

Where the lists that were read hold too few rows that count, all lists are read.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from index_store import few
from index_store.answers import Float32
from index_store.candidates import Found
from index_store.plan import SearchPlan, SearchTrace, resolve
from index_store.search import BLOCK_FLOATS, Searched, search, search_exactly
from index_store.survivors import Survivors
from index_store.view import View
from model.errors import UnsupportedOption


def nearest_rows(
    searched: Searched,
    view: View,
    queries: Float32,
    plan: SearchPlan,
    survivors: Survivors | None,
    points: int,
    trace: SearchTrace,
) -> Found:
    """The nearest rows to prepared queries [q, dim], `limit` + `offset` of them.

    survivors: those that pass the filter, None without one · points: how many there are. Raises UnsupportedOption.
    """
    wanted = plan.limit + plan.offset
    if view.coding is None or plan.exact:
        if not searched.keeps_originals:
            raise UnsupportedOption("This collection keeps no originals, so 'exact' is not possible: leave it out.")
        with trace.stage("exact"):
            return _exactly(searched, view, queries, wanted, survivors)
    list_count = len(view.lists) if view.lists else 1
    count = None if survivors is None else len(survivors)
    effort = resolve(plan, list_count, searched.keeps_originals, count, points)
    picked = None
    if survivors is not None and survivors.are_few():
        with trace.stage("probe"):
            picked = survivors.picked_in(view, searched.row_slots)
    skipped = view.dead
    if survivors is not None and (picked is None or view.pending):
        skipped = survivors.skipped_in(view)
    found = search(searched, view, queries, effort, skipped, trace, picked)
    if picked is not None or effort.nprobe == list_count:
        return found
    most = points if count is None else count
    if found.rows.shape[1] >= wanted and found.rows.min(initial=0) >= 0:
        return found
    short = np.flatnonzero((found.rows[:, :wanted] >= 0).sum(axis=1) < min(wanted, most))
    if not len(short):
        return found
    everywhere = replace(effort, nprobe=list_count)
    fuller = search(searched, view, queries[short], everywhere, skipped, SearchTrace())
    return _replaced(found, short, fuller)


def _exactly(searched: Searched, view: View, queries: Float32, wanted: int, survivors: Survivors | None) -> Found:
    if survivors is None:
        return search_exactly(searched, view, queries, wanted, view.dead)
    if survivors.are_few():
        rows = survivors.rows_in(view)
        if rows.size * queries.shape[1] <= BLOCK_FLOATS:
            vectors = searched.as_searched(searched.originals.read(rows))
            return few.exactly(searched.distance, queries, rows, vectors, wanted)
    return search_exactly(searched, view, queries, wanted, survivors.skipped_in(view))


def _replaced(found: Found, queries: NDArray[np.int64], fuller: Found) -> Found:
    """`found` with the rows of some queries taken from `fuller`."""
    width = max(found.rows.shape[1], fuller.rows.shape[1])
    distances = np.full((len(found.rows), width), np.inf, np.float32)
    rows = np.full((len(found.rows), width), -1, np.int64)
    distances[:, : found.rows.shape[1]], rows[:, : found.rows.shape[1]] = found.distances, found.rows
    distances[queries], rows[queries] = np.inf, -1
    distances[queries, : fuller.rows.shape[1]] = fuller.distances
    rows[queries, : fuller.rows.shape[1]] = fuller.rows
    return Found(distances, rows)
