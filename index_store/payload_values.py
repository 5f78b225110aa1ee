"""Points by what their payloads hold: in the order of a value, and how many there are of each value.

Every payload is read; numbers are compared as numbers, dates as microseconds since 1970.
"""

import heapq
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson

from index_store.answers import Record
from index_store.filters import Filter
from index_store.filters.dates import microseconds
from index_store.holdings import Holdings
from index_store.json_path import Path, values_at
from index_store.reading import Shown, records
from index_store.selection import rows_matching

Value = int | float
FacetValue = bool | int | str
# Of equally many points, the values in this order of their types, then by themselves.
FACET_TYPES = (bool, int, str)


@dataclass(frozen=True)
class Order:
    """By the values at a path, from the smallest on or from the largest; `start` is where to begin."""

    path: Path
    is_descending: bool = False
    start: Value | None = None


def ordered(
    held: Holdings, order: Order, limit: int, condition: Filter | None, shown: Shown
) -> list[tuple[Record, Value]]:
    """The first `limit` points in an order, each with its value; one of several values comes once with each."""
    sign = -1 if order.is_descending else 1
    start = None if order.start is None else sign * order.start
    with held.lock if shown.vectors else nullcontext(), held.points.snapshot() as reader:
        pairs = (
            (sign * value, row)
            for row, payload in _payloads(held, condition, reader)
            for value in set(map(order_value, values_at(payload, order.path)))
            if value is not None
        )
        first = heapq.nsmallest(limit, (pair for pair in pairs if start is None or pair[0] >= start))
        found = records(held, sorted({row for _, row in first}), shown, reader)
        return [(found[row], sign * value) for value, row in first]


def facet(held: Holdings, path: Path, limit: int, condition: Filter | None) -> list[tuple[FacetValue, int]]:
    """The `limit` values at a path that most points have, and how many do; strings, integers and booleans count."""
    counts: Counter[tuple[int, FacetValue]] = Counter()
    with held.points.snapshot() as reader:
        for _, payload in _payloads(held, condition, reader):
            counts.update({_facet_value(value) for value in values_at(payload, path) if type(value) in FACET_TYPES})
    most = heapq.nsmallest(limit, counts.items(), key=lambda one: (-one[1], one[0]))
    return [(value, count) for (_, value), count in most]


def order_value(value: Any) -> Value | None:
    """What a value is ordered by; None for what has no order."""
    if isinstance(value, str):
        return microseconds(value)
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _facet_value(value: FacetValue) -> tuple[int, FacetValue]:
    """The value, after its type's place: true is not 1. UUIDs are written one way."""
    if isinstance(value, str):
        with suppress(ValueError):
            value = str(UUID(value))
    return FACET_TYPES.index(type(value)), value


def _payloads(
    held: Holdings, condition: Filter | None, reader: sqlite3.Connection
) -> Iterator[tuple[int, dict[str, Any]]]:
    """(row, payload) of all points that have one, and match."""
    rows = None if condition is None else rows_matching(condition, held.moment(reader))
    for row, text in held.points.payload_texts(rows, reader):
        yield row, orjson.loads(text)
