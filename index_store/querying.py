"""Queries against what a collection holds now: the search, and the points of its rows.

Writes go on meanwhile. A row may be no point any more once its id is looked up, and a stripe of originals that a view
still had may be gone: such a query runs again, on a newer view.
"""

import math
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import TypeVar

import numpy as np

from index_store import metric, reading
from index_store.answers import Float32, Hit, Record
from index_store.candidates import Found
from index_store.errors import DamagedData
from index_store.examples import Examples, best_rows
from index_store.filters import Filter
from index_store.holdings import Holdings
from index_store.plan import SearchPlan, SearchTrace
from index_store.planned_search import nearest_rows
from index_store.reading import Shown
from index_store.vector_index import VectorIndex

TRIES = 5
T = TypeVar("T")


def nearest(
    held: Holdings,
    using: str,
    prepared: Float32,
    plan: SearchPlan,
    condition: Filter | None,
    shown: Shown,
    trace: SearchTrace,
) -> list[list[Hit]]:
    """The nearest points to each of the prepared queries float32 [q, dim], nearest first.

    Raises InvalidConfig, UnsupportedOption, DamagedData.
    """
    hits: list[list[Hit]] = [[] for _ in range(len(prepared))]
    left = np.arange(len(prepared))
    for attempt in range(TRIES if len(prepared) else 0):
        asked = prepared if attempt == 0 else prepared[left]
        look = partial(_nearest_once, held, using, asked, plan, condition, shown, trace)
        answers = while_stripes_go(held, look)
        for place, answer in zip(left, answers, strict=True):
            hits[place] = [hit for hit in answer if hit is not None]
        left = np.array(
            [place for place, answer in zip(left, answers, strict=True) if len(hits[place]) < len(answer)], np.int64
        )
        if not len(left):
            break
        if attempt < TRIES - 1:
            held.wait_for_commit()
    distance = held.indexes[using].config.distance
    return [_within(distance, some[plan.offset :], plan.score_threshold) for some in hits]


def by_examples(
    held: Holdings, using: str, examples: Examples, plan: SearchPlan, condition: Filter | None, shown: Shown
) -> list[Hit]:
    """The points that several examples judge best, best first; raises what `nearest` does."""
    rows, scores = while_stripes_go(held, lambda: best_rows(held, held.indexes[using], examples, plan, condition))
    with held.lock if shown.vectors else nullcontext(), held.points.snapshot() as reader:
        records = reading.records(held, rows.tolist(), shown, reader)
    pairs = zip(rows.tolist(), scores.tolist(), strict=True)
    hits = [hit for row, score in pairs if (hit := _hit(records.get(row), score)) is not None]
    least = -math.inf if plan.score_threshold is None else plan.score_threshold
    return [hit for hit in hits[plan.offset :] if hit.score >= least]


def while_stripes_go(held: Holdings, look: Callable[[], T]) -> T:
    """What a look at the originals gives, tried again where a stripe that its view had was deleted meanwhile.

    Raises DamagedData where stripes go on being missing.
    """
    for _ in range(TRIES - 1):
        try:
            return look()
        except FileNotFoundError:
            held.wait_for_commit()
    try:
        return look()
    except FileNotFoundError as error:
        raise DamagedData("A file of the collection is gone.") from error


def _nearest_once(
    held: Holdings,
    using: str,
    prepared: Float32,
    plan: SearchPlan,
    condition: Filter | None,
    shown: Shown,
    trace: SearchTrace,
) -> list[list[Hit | None]]:
    index = held.indexes[using]
    view, survivors = held.look(using, condition)
    found = nearest_rows(index.searched, view, prepared, plan, survivors, held.count, trace)
    with trace.stage("payload"):
        return _answers(held, index, found, shown)


def _answers(held: Holdings, index: VectorIndex, found: Found, shown: Shown) -> list[list[Hit | None]]:
    """For each query its hits, None in the place of a row that is no point any more."""
    every = found.rows.tolist()
    wanted = sorted({row for rows in every for row in rows if row >= 0})
    scores = metric.scores(index.config.distance, found.distances).tolist()
    if not shown.vectors:
        points = held.points.entries_now(wanted, shown.payload)
        return [
            [
                None if (point := points.get(row)) is None else Hit(point[1], point[2], score, point[3])
                for row, score in zip(rows, own, strict=True)
                if row >= 0
            ]  # by name takes twice as long
            for rows, own in zip(every, scores, strict=True)
        ]
    with held.lock, held.points.snapshot() as reader:
        records = reading.records(held, wanted, shown, reader)
    return [
        [_hit(records.get(row), score) for row, score in zip(rows, own, strict=True) if row >= 0]
        for rows, own in zip(every, scores, strict=True)
    ]


def _hit(record: Record | None, score: float) -> Hit | None:
    return None if record is None else Hit(record.id, record.version, score, record.payload, record.vectors)


def _within(distance: str, hits: list[Hit], threshold: float | None) -> list[Hit]:
    return hits if threshold is None else [hit for hit in hits if metric.reaches(distance, hit.score, threshold)]
