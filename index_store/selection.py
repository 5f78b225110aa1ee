"""From a filter to the rows that it matches: what ids and indexes decide, and payloads for the rest.

Every condition gives two sets of rows: those that surely match, and those that possibly do. They go up through `must`,
`should`, `must_not` and `min_should`; only rows in between are judged by their payloads, with the plain form.
"""

import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

import orjson
from pyroaring import BitMap

from index_store.filters import Condition, Filter, Nested, Point
from index_store.filters.filter import FieldCondition
from index_store.filters.identity import HasId, HasVector, Slice
from index_store.filters.words import MatchPhrase, MatchText
from index_store.narrowing import narrowed
from index_store.points import IDS_A_STATEMENT

FEW_ROWS = 1 << 14

T = TypeVar("T")


@dataclass(frozen=True)
class Bounds:
    """sure ⊆ the rows that match ⊆ possible; one object where both are the same, so that it is worked out once."""

    sure: BitMap
    possible: BitMap

    @property
    def are_exact(self) -> bool:
        """Whether both are known to be the same."""
        return self.sure is self.possible


@dataclass(frozen=True)
class Moment:
    """What a filter is asked about.

    opened     gives a reader, always the same, in a transaction, so that all conditions see one moment; what indexes
               have in memory does not ask for it
    live       the rows that are points
    vectors    the names of the vectors that points may have
    indexed    what a payload index says of a condition; None: nothing
    prepared   what becomes of conditions on keys before anything else, where something does
    unindexed  keys that were asked about without an index that could answer (filled in)
    """

    opened: Callable[[], sqlite3.Connection]
    live: BitMap
    vectors: frozenset[str] = frozenset()
    indexed: Callable[[FieldCondition], Bounds | None] = lambda condition: None
    prepared: Callable[[FieldCondition], FieldCondition] | None = None
    unindexed: set[str] = field(default_factory=set)

    @property
    def reader(self) -> sqlite3.Connection:
        """What tells of what is not in memory."""
        return self.opened()

    def lacking(self, vector: str) -> BitMap:
        """The rows whose points lack a named vector."""
        return BitMap(row for (row,) in self.reader.execute("SELECT row FROM absent WHERE vector = ?", (vector,)))


def rows_matching(condition: Filter, moment: Moment) -> BitMap:
    """The rows that a filter matches."""
    if moment.prepared is not None:
        condition = condition.with_fields(moment.prepared)
    found = _bounds(condition, moment)
    if found.are_exact or not (undecided := found.possible - found.sure):
        return found.sure
    return found.sure | _judged(condition, undecided, moment)


def live_rows(reader: sqlite3.Connection) -> BitMap:
    """The rows of all points."""
    found = BitMap(row for (row,) in reader.execute("SELECT row FROM points"))
    found.run_optimize()
    return found


def _bounds(condition: Condition, moment: Moment) -> Bounds:
    if isinstance(condition, Filter):
        return _bounds_of_filter(condition, moment)
    if isinstance(condition, HasId):
        return _exactly(_rows_of_ids(list(condition.ids), moment.reader) & moment.live)
    if isinstance(condition, HasVector):
        has_it = condition.name in moment.vectors
        return _exactly(moment.live - moment.lacking(condition.name) if has_it else BitMap())
    if isinstance(condition, Slice):
        return _exactly(_rows_of_slice(condition, moment.reader) & moment.live)
    if isinstance(condition, Nested):
        return Bounds(BitMap(), _possible_inside(condition, moment))
    found = moment.indexed(condition)
    if found is None:
        moment.unindexed.add(condition.key.text)
        return Bounds(BitMap(), moment.live)
    return found


def _bounds_of_filter(condition: Filter, moment: Moment) -> Bounds:
    live = moment.live  # each condition's rows are among these
    sure, possible = live, live
    for one in condition.must:
        found = _bounds(one, moment)
        is_exact = found.are_exact and sure is possible
        sure = _within(sure, found.sure, live)
        possible = sure if is_exact else _within(possible, found.possible, live)
    for one in condition.must_not:
        found = _bounds(one, moment)
        is_exact = found.are_exact and sure is possible
        sure = sure - found.possible
        possible = sure if is_exact else possible - found.sure
    if condition.should:
        some = [_bounds(one, moment) for one in condition.should]
        is_exact = all(one.are_exact for one in some) and sure is possible
        sure = _within(sure, BitMap.union(*(one.sure for one in some)), live)
        possible = sure if is_exact else _within(possible, BitMap.union(*(one.possible for one in some)), live)
    if condition.min_should is not None:
        some = [_bounds(one, moment) for one in condition.min_should.conditions]
        sure = sure & _in_at_least(condition.min_should.least, [one.sure for one in some])
        possible = possible & _in_at_least(condition.min_should.least, [one.possible for one in some])
    return Bounds(sure, possible)


def _within(rows: BitMap, found: BitMap, live: BitMap) -> BitMap:
    """Those of `rows` that were found; all that is found is live."""
    return found if rows is live else rows & found


def _exactly(rows: BitMap) -> Bounds:
    return Bounds(rows, rows)


def _in_at_least(least: int, sets: list[BitMap]) -> BitMap:
    """The rows that are in so many of the sets."""
    reached = [BitMap() for _ in range(least)]  # reached[n]: in more than n of the sets so far
    for one in sets:
        for n in reversed(range(1, least)):
            reached[n] |= reached[n - 1] & one
        reached[0] |= one
    return reached[-1]


def _possible_inside(condition: Nested, moment: Moment) -> BitMap:
    """Where some object can match: where each of the `must` inside holds of some object, by the indexes."""
    possible = moment.live
    for one in condition.filter.must:
        if isinstance(one, (Filter, HasId, HasVector, Slice, MatchText, MatchPhrase)):
            continue  # texts: the index may cut them into other words
        outer = type(one)(**{**one.__dict__, "key": one.key.inside(condition.key)})
        possible = possible & _bounds(outer, moment).possible
    if not condition.filter.must:
        moment.unindexed.add(condition.key.text)
    return possible


def _rows_of_ids(ids: list[int | bytes], reader: sqlite3.Connection) -> BitMap:
    found = BitMap()
    for some in _pieces(ids):
        marks = ",".join("?" * len(some))
        found.update(row for (row,) in reader.execute(f"SELECT row FROM points WHERE id IN ({marks})", some))
    return found


def _rows_of_slice(condition: Slice, reader: sqlite3.Connection) -> BitMap:
    found = reader.execute("SELECT row, id FROM points").fetchall()
    chosen = condition.chosen([id for _, id in found])
    return BitMap(row for (row, _), is_chosen in zip(found, chosen, strict=True) if is_chosen)


def _judged(condition: Filter, rows: BitMap, moment: Moment) -> BitMap:
    """Those of `rows` whose points match, payload by payload."""
    lacking = {name: lacked for name in moment.vectors if (lacked := moment.lacking(name))}
    return BitMap(
        row
        for row, id, text in _texts(condition, rows, moment)
        if condition.matches(Point(id, orjson.loads(text) if text else {}, _vectors_of(row, moment, lacking)))
    )


def _vectors_of(row: int, moment: Moment, lacking: dict[str, BitMap]) -> frozenset[str]:
    if not lacking:
        return moment.vectors
    return frozenset(name for name in moment.vectors if name not in lacking or row not in lacking[name])


def _texts(condition: Filter, rows: BitMap, moment: Moment) -> Iterable[tuple[int, int | bytes, str | None]]:
    """(row, id, payload's text) of rows, as far as SQLite itself cannot rule them out."""
    if len(rows) <= FEW_ROWS:
        for some in _pieces(rows.to_array().tolist()):
            marks = ",".join("?" * len(some))
            yield from moment.reader.execute(f"SELECT row, id, payload FROM points WHERE row IN ({marks})", some)
        return
    test, given = narrowed(condition)
    found = moment.reader.execute(f"SELECT row, id, payload FROM points WHERE {test}", given)
    is_all = len(rows) == len(moment.live)
    yield from (one for one in found if is_all or one[0] in rows)


def _pieces(values: list[T]) -> Iterable[list[T]]:
    for start in range(0, len(values), IDS_A_STATEMENT):
        yield values[start : start + IDS_A_STATEMENT]
