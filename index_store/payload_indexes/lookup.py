"""Which rows of some runs a condition matches: those that surely do, and those that possibly do.

Values that are not of the index's kind are not in it; rows with such a value (`OTHERS`) are always possible.
"""

import math
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pyroaring import BitMap

from index_store.filters.fields import (
    DateRange,
    IsEmpty,
    IsNull,
    Limits,
    Match,
    MatchExcept,
    MatchPrefix,
    MatchSubstring,
    Range,
)
from index_store.filters.filter import FieldCondition
from index_store.filters.geo import EARTH_RADIUS_M, Box, Circle, Polygon
from index_store.filters.words import MatchPhrase, MatchText
from index_store.payload_indexes import tables
from index_store.payload_indexes.postings import EXACT, FILLED, MANY, NULL, OWN, SOME, Numbers, term
from index_store.payload_indexes.recent_terms import RecentTerms
from index_store.payload_indexes.schema import STRINGS, IndexSchema
from index_store.payload_indexes.tables import Run
from index_store.row_set import bitmap_of

_LOWEST, _HIGHEST = -(1 << 63), (1 << 63) - 1
_ROUNDING, _ROUNDING_M = 1e-9, 1e-3
_METRES_A_DEGREE = math.pi * EARTH_RADIUS_M / 180


@dataclass(frozen=True)
class Hits:
    """sure ⊆ the rows of the runs that match ⊆ possible."""

    sure: BitMap
    possible: BitMap


@dataclass(frozen=True)
class Look:
    """Runs that have no row in common, and what they are read with: a reader only where nothing in memory tells."""

    reader: Callable[[], sqlite3.Connection]
    schema: IndexSchema
    runs: tuple[Run, ...]
    terms: RecentTerms

    def rows(self, one: bytes) -> BitMap:
        """The rows of a term."""
        return united([self._rows(run, one) for run in self.runs])

    def numbers(self) -> list[Numbers]:
        """All numbers of each run."""
        return [self._numbers(run) for run in self.runs]

    def stop(self) -> int:
        """All rows of the runs are below."""
        return max((run.rows.max() + 1 for run in self.runs if run.rows), default=0)

    def among(self, test: str, given: Sequence[bytes]) -> BitMap:
        """The rows of all terms that pass a test in SQL."""
        return united([tables.rows_of_many(self.reader(), run.id, test, given) for run in self.runs])

    def _rows(self, run: Run, one: bytes) -> BitMap:
        return self.terms.get(run.id, one, lambda: tables.stored_rows_of(self.reader(), run.id, one))

    def _numbers(self, run: Run) -> Numbers:
        return run.numbers.get(lambda: tables.numbers_of(self.reader(), self.schema, run.id))


def united(sets: list[BitMap]) -> BitMap:
    """All rows of the sets; of one it is that set itself."""
    return sets[0] if len(sets) == 1 else BitMap.union(BitMap(), *sets)


def can_answer(schema: IndexSchema, condition: FieldCondition) -> bool:
    """Whether an index of this kind knows more about the condition than that every row is possible."""
    kind = schema.kind
    if isinstance(condition, (IsEmpty, IsNull)):
        return True
    if isinstance(condition, (Match, MatchExcept)):
        wanted = condition.wanted if isinstance(condition, Match) else condition.unwanted
        return kind in (*STRINGS, "bool") or (kind == "integer" and isinstance(condition, Match) and bool(wanted))
    if isinstance(condition, (MatchPrefix, MatchSubstring)):
        return kind in STRINGS
    if isinstance(condition, (MatchText, MatchPhrase)):
        return kind == "text"
    if isinstance(condition, Range):
        return kind in ("integer", "float") and _is_exact(condition.limits)
    if isinstance(condition, DateRange):
        return kind == "datetime"
    return kind == "geo" and isinstance(condition, (Box, Circle, Polygon))


def look_up(look: Look, condition: FieldCondition) -> Hits:
    """The rows of the runs that match a condition which the index can answer."""
    if isinstance(condition, IsEmpty):
        return _exactly(united([run.rows for run in look.runs]) - look.rows(FILLED))
    if isinstance(condition, IsNull):
        return _exactly(look.rows(NULL))
    others = united([run.others for run in look.runs])
    if isinstance(condition, MatchExcept):
        return _except(look, condition, others)
    found = _found(look, condition)
    return Hits(found.sure, found.possible | others if others else found.possible)


def _found(look: Look, condition: FieldCondition) -> Hits:
    """What is found among the values that the index keeps."""
    if isinstance(condition, Match):
        return _exactly(_matching(look, condition))
    if isinstance(condition, MatchPrefix):
        return _exactly(_beginning(look, condition.prefix))
    if isinstance(condition, MatchSubstring):
        return _exactly(_holding(look, condition.substring))
    if isinstance(condition, (MatchText, MatchPhrase)):
        return _with_words(look, condition)
    if isinstance(condition, (Range, DateRange)):
        return _exactly(_between(look, *_ends(look.schema, condition.limits)))
    if isinstance(condition, (Box, Circle, Polygon)):
        return _in_area(look, condition)
    raise AssertionError(f"{condition} cannot be looked up")


def _exactly(rows: BitMap) -> Hits:
    return Hits(rows, rows)


def _matching(look: Look, condition: Match) -> BitMap:
    if look.schema.kind == "integer":
        numbers = [one for one in condition.wanted if isinstance(one, int) and not isinstance(one, bool)]
        return united([_between(look, one, one) for one in numbers])
    flags = [one for one in condition.wanted if isinstance(one, bool)]
    strings = [one for one in condition.wanted if isinstance(one, str)]
    wanted: Sequence[str | bool] = flags if look.schema.kind == "bool" else strings
    return united([look.rows(term(one)) for one in wanted])


def _except(look: Look, condition: MatchExcept, others: BitMap) -> Hits:
    """Rows with a value, but those whose only one is unwanted; of several values, payloads tell."""
    unwanted = _matching(look, Match(condition.key, condition.unwanted))
    undecided = look.rows(MANY) | others
    some = look.rows(SOME)
    return Hits(some - undecided - unwanted, some - (unwanted - undecided))


def _beginning(look: Look, prefix: str) -> BitMap:
    low = term(prefix)
    return look.among("term >= ? AND term < ?", (low, low + b"\xff"))


def _holding(look: Look, substring: str) -> BitMap:
    return look.among("term >= ? AND instr(term, ?) > 0", (OWN, term(substring)[1:]))


def _with_words(look: Look, condition: MatchText | MatchPhrase) -> Hits:
    """Of several texts, and of phrases, payloads tell whether the words stand in one of them."""
    sets = [look.rows(term(word)) for word in condition.words]
    if not sets:
        return _exactly(BitMap())
    if isinstance(condition, MatchText) and not condition.every:
        return _exactly(BitMap.union(*sets))
    found = BitMap.intersection(*sets)
    return Hits(BitMap() if isinstance(condition, MatchPhrase) else found - look.rows(MANY), found)


def _between(look: Look, low: float, high: float) -> BitMap:
    """The rows with a number in low..high, both ends included."""
    return bitmap_of([part.rows[_span(part, low, high)] for part in look.numbers()], look.stop())


def _span(numbers: Numbers, low: float, high: float) -> slice:
    """Where the numbers of low..high lie."""
    return slice(int(numbers.values.searchsorted(low, "left")), int(numbers.values.searchsorted(high, "right")))


def _is_exact(limits: Limits) -> bool:
    """Whether the limits can be compared without rounding."""
    return all(bound is None or abs(bound) < EXACT for bound in (limits.gt, limits.gte, limits.lt, limits.lte))


def _ends(schema: IndexSchema, limits: Limits) -> tuple[float, float]:
    """The closed range of the index's numbers that limits mean."""
    if schema.kind == "float":
        lows = [limits.gte, None if limits.gt is None else math.nextafter(limits.gt, math.inf)]
        highs = [limits.lte, None if limits.lt is None else math.nextafter(limits.lt, -math.inf)]
        return max((float(low) for low in lows if low is not None), default=-math.inf), min(
            (float(high) for high in highs if high is not None), default=math.inf
        )
    whole_lows = [None if limits.gte is None else math.ceil(limits.gte), _next(limits.gt, 1)]
    whole_highs = [None if limits.lte is None else math.floor(limits.lte), _next(limits.lt, -1)]
    return max((low for low in whole_lows if low is not None), default=_LOWEST), min(
        (high for high in whole_highs if high is not None), default=_HIGHEST
    )


def _next(bound: float | None, step: int) -> int | None:
    """The nearest integer beyond a bound that is left out."""
    if bound is None:
        return None
    return (math.floor(bound) if step > 0 else math.ceil(bound)) + step


def _in_area(look: Look, condition: Box | Circle | Polygon) -> Hits:
    """Places within the area's latitudes, then those within it; of a polygon only its box, and payloads tell."""
    low, high = _latitudes(condition)
    sure, possible = list[NDArray[np.uint32]](), list[NDArray[np.uint32]]()
    for part in look.numbers():
        some = _span(part, low, high)
        assert part.lons is not None
        band = Numbers(part.values[some], part.rows[some], part.lons[some])
        is_sure, is_possible = _inside(band, condition)
        sure.append(band.rows[is_sure])
        possible.append(band.rows[is_possible])
    found = bitmap_of(sure, look.stop())
    return _exactly(found) if isinstance(condition, Box) else Hits(found, bitmap_of(possible, look.stop()))


def _latitudes(condition: Box | Circle | Polygon) -> tuple[float, float]:
    if isinstance(condition, Box):
        return condition.bottom_right.lat, condition.top_left.lat
    if isinstance(condition, Circle):
        reach = condition.radius_m / _METRES_A_DEGREE * (1 + _ROUNDING) + _ROUNDING
        return condition.centre.lat - reach, condition.centre.lat + reach
    return min(place.lat for place in condition.outer), max(place.lat for place in condition.outer)


def _inside(band: Numbers, condition: Box | Circle | Polygon) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """For places [n] whether they surely, and whether they possibly, lie inside."""
    lats, lons = band.values, band.lons
    assert lons is not None
    if isinstance(condition, Box):
        west, east = condition.top_left.lon, condition.bottom_right.lon
        across = (lons > west) & (lons < east) if west <= east else (lons > west) | (lons < east)
        inside = across & (lats > condition.bottom_right.lat) & (lats < condition.top_left.lat)
        return inside, inside
    if isinstance(condition, Polygon):
        edge = [place.lon for place in condition.outer]
        possible = (lons >= min(edge)) & (lons <= max(edge))
        return np.zeros(len(lons), np.bool_), possible
    distances = _distances_m(lats, lons, condition)
    doubt = condition.radius_m * _ROUNDING + _ROUNDING_M
    return distances < condition.radius_m - doubt, distances <= condition.radius_m + doubt


def _distances_m(lats: NDArray[np.float64], lons: NDArray[np.float64], circle: Circle) -> NDArray[np.float64]:
    lat, centre = np.radians(lats), np.radians(circle.centre.lat)
    along = np.sin(np.radians(lons - circle.centre.lon) / 2) ** 2
    part = np.sin((lat - centre) / 2) ** 2 + np.cos(lat) * np.cos(centre) * along
    return np.asarray(2 * EARTH_RADIUS_M * np.arcsin(np.sqrt(np.clip(part, 0, 1))), np.float64)
