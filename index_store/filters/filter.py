"""Filters: conditions put together by `must`, `should`, `must_not` and `min_should`; `nested` for arrays of objects."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import orjson

from index_store.errors import InvalidFilter
from index_store.filters.fields import (
    DateRange,
    IsEmpty,
    IsNull,
    Match,
    MatchExcept,
    MatchPrefix,
    MatchSubstring,
    Range,
    ValuesCount,
    parse_match,
    parse_range,
    parse_values_count,
)
from index_store.filters.geo import Box, Circle, Polygon, parse_geo
from index_store.filters.identity import HasId, HasVector, Slice, parse_has_id, parse_has_vector, parse_slice
from index_store.filters.keys import Key
from index_store.filters.point import Point
from index_store.filters.refusals import a_string, an_integer, an_object, kind, listed, only
from index_store.filters.words import MatchPhrase, MatchText, parse_text

MOST_CONDITIONS = 100
LISTS = ("must", "should", "must_not")
CLAUSES = (*LISTS, "min_should")
ON_POINTS = ("has_id", "has_vector", "slice")
GEO = ("geo_bounding_box", "geo_radius", "geo_polygon")
ON_KEYS = ("match", "range", "values_count", "is_empty", "is_null", *GEO)
TEXTS = ("text", "text_any", "phrase")
MATCHES = ("value", "any", "except", "prefix", "substring", *TEXTS)

FieldCondition = (
    Match | MatchExcept | MatchPrefix | MatchSubstring | MatchText | MatchPhrase
    | Range | DateRange | ValuesCount | IsEmpty | IsNull | Box | Circle | Polygon
)  # fmt: skip


@dataclass(frozen=True)
class MinShould:
    """At least so many of these conditions match."""

    conditions: "tuple[Condition, ...]"
    least: int


@dataclass(frozen=True)
class Nested:
    """Some object of the arrays at the key matches a filter, whose keys begin inside the object."""

    key: Key
    filter: "Filter"

    def matches(self, point: Point) -> bool:
        """Whether a point does; inside there are no ids and no vectors."""
        return any(self.filter.matches(Point(None, one)) for one in self.key.elements(point.payload))


@dataclass(frozen=True)
class Filter:
    """All of `must`, one of `should` if there are any, none of `must_not`, enough of `min_should`; see `parse`."""

    must: "tuple[Condition, ...]" = ()
    should: "tuple[Condition, ...]" = ()
    must_not: "tuple[Condition, ...]" = ()
    min_should: MinShould | None = None
    count: int = field(default=0, compare=False)

    @classmethod
    def parse(cls, value: Any) -> "Filter":
        """The filter that a JSON object says; raises InvalidFilter naming what is not in the grammar."""
        found = _parse_filter(value, depth=0)
        found.__dict__["text"] = _text(value) or found.text
        if found.count > MOST_CONDITIONS:
            raise InvalidFilter(f"A filter has at most {MOST_CONDITIONS} conditions; this one has {found.count}.")
        return found

    @cached_property
    def text(self) -> str:
        """What it reads as, which says of what types its values are; `parse` fills it in by what it was given."""
        return repr(self)

    def matches(self, point: Point) -> bool:
        """Whether a point does."""
        return (
            all(condition.matches(point) for condition in self.must)
            and not any(condition.matches(point) for condition in self.must_not)
            and (not self.should or any(condition.matches(point) for condition in self.should))
            and (self.min_should is None or _count(self.min_should, point) >= self.min_should.least)
        )

    def with_fields(self, change: "Callable[[FieldCondition], FieldCondition]") -> "Filter":
        """The same filter with each condition on a key of the points replaced."""

        def changed(one: Condition) -> Condition:
            if isinstance(one, Filter):
                return one.with_fields(change)
            return one if isinstance(one, (HasId, HasVector, Slice, Nested)) else change(one)

        enough = self.min_should
        return Filter(
            tuple(map(changed, self.must)),
            tuple(map(changed, self.should)),
            tuple(map(changed, self.must_not)),
            None if enough is None else MinShould(tuple(map(changed, enough.conditions)), enough.least),
            self.count,
        )


def _text(value: Any) -> str | None:
    """What a filter was given as, if it is JSON: written in a tenth of the time that `repr` takes."""
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # an integer beyond 64 bits, or another type of Python's
        return None


Condition = FieldCondition | HasId | HasVector | Slice | Nested | Filter


def _count(some: MinShould, point: Point) -> int:
    return sum(condition.matches(point) for condition in some.conditions)


def _parse_filter(value: Any, depth: int) -> Filter:
    if not isinstance(value, dict):
        raise InvalidFilter(f"A filter is an object with {listed(CLAUSES)}, not {kind(value)}.")
    only(value, "a filter", CLAUSES)
    if depth > MOST_CONDITIONS:
        raise InvalidFilter(f"A filter nests at most {MOST_CONDITIONS} deep.")
    clauses: dict[str, tuple[Condition, ...]] = {}
    for name in LISTS:
        given = value.get(name) or []
        clauses[name] = tuple(_parse_condition(one, depth) for one in (given if isinstance(given, list) else [given]))
    enough = _parse_min_should(value["min_should"], depth) if value.get("min_should") is not None else None
    conditions = [condition for clause in clauses.values() for condition in clause]
    conditions += enough.conditions if enough else ()
    return Filter(**clauses, min_should=enough, count=sum(map(_size, conditions)))


def _parse_min_should(value: Any, depth: int) -> MinShould:
    given = an_object(value, "'min_should'")
    only(given, "'min_should'", ("conditions", "min_count"))
    conditions = given.get("conditions")
    if not isinstance(conditions, list):
        raise InvalidFilter(f"'min_should.conditions' takes a list, not {kind(conditions)}.")
    least = an_integer(given.get("min_count"), "'min_should.min_count'", low=1)
    return MinShould(tuple(_parse_condition(one, depth) for one in conditions), least)


def _parse_condition(value: Any, depth: int) -> Condition:
    if not isinstance(value, dict):
        raise InvalidFilter(f"A condition is an object, not {kind(value)}.")
    if any(clause in value for clause in CLAUSES):
        return _parse_filter(value, depth + 1)
    given = {name: one for name, one in value.items() if one is not None}
    if "nested" in given:
        only(given, "a condition with 'nested'", ("nested",))
        return _parse_nested(given["nested"], depth)
    for name in ON_POINTS:
        if name in given:
            only(given, f"a condition with '{name}'", (name,))
            return _parse_on_point(name, given[name])
    for name in ("is_empty", "is_null"):  # {"is_empty": {"key": "a"}}
        if "key" not in given and name in given:
            only(given, f"a condition with '{name}'", (name,))
            inner = an_object(given[name], f"'{name}'")
            only(inner, f"'{name}'", ("key",))
            return _parse_on_key(Key.parse(inner.get("key")), name, True)
    only(given, "a condition", ("key", *ON_KEYS, *ON_POINTS, "nested"))
    asked = [name for name in ON_KEYS if name in given]
    if len(asked) != 1:
        told = f"this one has {listed(asked)}" if asked else "this one has none"
        raise InvalidFilter(f"A condition has exactly one of {listed((*ON_KEYS, *ON_POINTS))} or nested; {told}.")
    return _parse_on_key(Key.parse(given.get("key")), asked[0], given[asked[0]])


def _parse_on_point(name: str, value: Any) -> Condition:
    if name == "has_id":
        return parse_has_id(value)
    return parse_has_vector(value) if name == "has_vector" else parse_slice(value)


def _parse_on_key(key: Key, name: str, value: Any) -> Condition:
    if name == "match":
        return _parse_match(key, value)
    if name == "range":
        return parse_range(key, value)
    if name == "values_count":
        return parse_values_count(key, value)
    if name in GEO:
        return parse_geo(key, name, value)
    if not isinstance(value, bool):
        raise InvalidFilter(f"'{name}' on '{key.text}' takes true or false, not {kind(value)}.")
    condition = IsEmpty(key) if name == "is_empty" else IsNull(key)
    return condition if value else Filter(must_not=(condition,), count=0)


def _parse_match(key: Key, value: Any) -> Condition:
    where = f"'match' on '{key.text}'"
    given = an_object(value, where) if isinstance(value, dict) and None not in value.values() else value
    if not isinstance(given, dict):
        raise InvalidFilter(f"{where} takes an object with one of {listed(MATCHES)}, not {kind(given)}.")
    only(given, where, MATCHES)
    if len(given) != 1:
        raise InvalidFilter(f"{where} takes exactly one of {listed(MATCHES)}.")
    name, wanted = next(iter(given.items()))
    if name in TEXTS:
        return parse_text(key, name, a_string(wanted, f"'match.{name}' on '{key.text}'"))
    return parse_match(key, name, wanted)


def _parse_nested(value: Any, depth: int) -> Nested:
    given = an_object(value, "'nested'")
    only(given, "'nested'", ("key", "filter"))
    if depth > MOST_CONDITIONS:
        raise InvalidFilter(f"A filter nests at most {MOST_CONDITIONS} deep.")
    return Nested(Key.parse(given.get("key")), _parse_filter(given.get("filter"), depth + 1))


def _size(condition: Condition) -> int:
    """How many conditions a condition is, those inside it among them."""
    if isinstance(condition, Nested):
        return 1 + condition.filter.count
    return 1 + (condition.count if isinstance(condition, Filter) else 0)
