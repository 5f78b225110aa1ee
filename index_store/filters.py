"""The filter grammar, and from a filter to the rows that it matches.

`must`, `should` and `must_not`, nested, of these conditions: `match` (value, any, except), `range` (gt, gte, lt, lte
on numbers), `has_id`. A key is a path (`a.b`, `a[].b`, `"quoted.key"`); an array matches when any element does; a
missing key matches nothing. Types are kept apart: true is not 1, and "1" is not 1.
"""

import json
import re
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from pyroaring import BitMap

from index_store.errors import InvalidFilter, InvalidPoints
from index_store.points import IDS_A_STATEMENT, StoredId, stored_ids

MOST_CONDITIONS = 100
_CLAUSES = ("must", "should", "must_not")
_MATCHES = ("value", "any", "except")
_BOUNDS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
_KEY_PART = re.compile(r'(?:"([^"]+)"|([^".\[\]]+))(\[\])?(?:\.|$)')
_LARGEST_INTEGER = (1 << 63) - 1


@dataclass(frozen=True)
class Match:
    """Some element at the key is one of `values`; with `is_except`, some element is none of them."""

    key: str
    values: tuple[str | int | bool, ...]
    is_except: bool = False

    def rows(self, reader: sqlite3.Connection) -> BitMap:
        """The rows that match."""
        texts = [value for value in self.values if isinstance(value, str)]
        flags = [value for value in self.values if isinstance(value, bool)]
        numbers = [value for value in self.values if isinstance(value, int) and not isinstance(value, bool)]
        test = (
            "(e.type = 'text' AND e.value IN (SELECT value FROM json_each(?))"
            " OR e.type = 'integer' AND e.value IN (SELECT value FROM json_each(?))"
            " OR e.type IN (SELECT value FROM json_each(?)))"
        )
        given = [json.dumps(texts), json.dumps(numbers), json.dumps(["true" if flag else "false" for flag in flags])]
        if self.is_except:
            test = f"e.type NOT IN ('null', 'object', 'array') AND NOT {test}"
        return _rows_where(reader, self.key, test, given)


@dataclass(frozen=True)
class Range:
    """Some number at the key lies within all bounds."""

    key: str
    bounds: tuple[tuple[str, float], ...]

    def rows(self, reader: sqlite3.Connection) -> BitMap:
        """The rows that match."""
        tests = ["e.type IN ('integer', 'real')", *(f"e.value {_BOUNDS[name]} ?" for name, _ in self.bounds)]
        return _rows_where(reader, self.key, " AND ".join(tests), [bound for _, bound in self.bounds])


@dataclass(frozen=True)
class HasId:
    """The point is one of these."""

    ids: tuple[StoredId, ...]

    def rows(self, reader: sqlite3.Connection) -> BitMap:
        """The rows that match."""
        found = BitMap()
        for start in range(0, len(self.ids), IDS_A_STATEMENT):
            some = self.ids[start : start + IDS_A_STATEMENT]
            marks = ",".join("?" * len(some))
            found.update(row for (row,) in reader.execute(f"SELECT row FROM points WHERE id IN ({marks})", some))
        return found


@dataclass(frozen=True)
class Filter:
    """All of `must`, one of `should` if there are any, none of `must_not`; made by `Filter.parse`."""

    must: "tuple[Condition, ...]" = ()
    should: "tuple[Condition, ...]" = ()
    must_not: "tuple[Condition, ...]" = ()
    count: int = field(default=0, compare=False)

    @classmethod
    def parse(cls, value: Any) -> "Filter":
        """The filter that a JSON object says; raises InvalidFilter naming what is not supported."""
        found = _parse_filter(value, depth=0)
        if found.count > MOST_CONDITIONS:
            raise InvalidFilter(f"A filter has at most {MOST_CONDITIONS} conditions; this one has {found.count}.")
        return found

    def rows(self, reader: sqlite3.Connection) -> BitMap:
        """The rows that match; `reader` should be in a transaction, so that all conditions see one moment."""
        parts = [condition.rows(reader) for condition in self.must]
        if self.should:
            parts.append(BitMap.union(*(condition.rows(reader) for condition in self.should)))
        found = BitMap.intersection(*parts) if parts else _all_rows(reader)
        for condition in self.must_not:
            found -= condition.rows(reader)
        return found


Condition = Match | Range | HasId | Filter


def _parse_filter(value: Any, depth: int) -> Filter:
    if not isinstance(value, dict):
        raise InvalidFilter(f"A filter is an object with {_listed(_CLAUSES)}, not {_kind(value)}.")
    for key in value:
        if key not in _CLAUSES:
            raise InvalidFilter(f"'{key}' is not supported in a filter; {_listed(_CLAUSES)} are.")
    if depth > MOST_CONDITIONS:
        raise InvalidFilter(f"A filter nests at most {MOST_CONDITIONS} deep.")
    clauses: dict[str, tuple[Condition, ...]] = {}
    for name in _CLAUSES:
        given = value.get(name) or []
        clauses[name] = tuple(_parse_condition(one, depth) for one in (given if isinstance(given, list) else [given]))
    conditions = [condition for clause in clauses.values() for condition in clause]
    count = sum(1 + (condition.count if isinstance(condition, Filter) else 0) for condition in conditions)
    return Filter(**clauses, count=count)


def _parse_condition(value: Any, depth: int) -> Condition:
    if not isinstance(value, dict):
        raise InvalidFilter(f"A condition is an object, not {_kind(value)}.")
    if any(clause in value for clause in _CLAUSES):
        return _parse_filter(value, depth + 1)
    if "has_id" in value:
        _only(value, "a condition", "has_id")
        return HasId(_parse_ids(value["has_id"]))
    if "match" in value:
        _only(value, "a condition", "key", "match")
        return _parse_match(_parse_key(value), value["match"])
    if "range" in value:
        _only(value, "a condition", "key", "range")
        return _parse_range(_parse_key(value), value["range"])
    told = next((key for key in value if key != "key"), "")
    raise InvalidFilter(
        f"The condition '{told}' is not supported; match, range and has_id are."
        if told
        else "A condition has 'match', 'range' or 'has_id'; this one has none."
    )


def _parse_match(key: str, value: Any) -> Match:
    if not isinstance(value, dict):
        raise InvalidFilter(f"'match' on '{key}' takes an object with one of {_listed(_MATCHES)}, not {_kind(value)}.")
    for name in value:
        if name not in _MATCHES:
            raise InvalidFilter(f"'{name}' is not supported in 'match' on '{key}'; {_listed(_MATCHES)} are.")
    if len(value) != 1:
        raise InvalidFilter(f"'match' on '{key}' takes exactly one of {_listed(_MATCHES)}.")
    kind, given = next(iter(value.items()))
    values = [given] if kind == "value" else given
    if not isinstance(values, list):
        raise InvalidFilter(f"'match.{kind}' on '{key}' takes a list, not {_kind(values)}.")
    for one in values:
        if not isinstance(one, (str, int, bool)):
            raise InvalidFilter(f"'match.{kind}' on '{key}' takes strings, integers and booleans, not {_kind(one)}.")
        if isinstance(one, int) and abs(one) > _LARGEST_INTEGER:
            raise InvalidFilter(f"'match.{kind}' on '{key}' takes signed 64-bit integers; {one} is larger.")
    return Match(key, tuple(values), is_except=kind == "except")


def _parse_range(key: str, value: Any) -> Range:
    if not isinstance(value, dict) or not value:
        raise InvalidFilter(f"'range' on '{key}' takes an object with {_listed(_BOUNDS)}.")
    bounds = []
    for name, bound in value.items():
        if name not in _BOUNDS:
            raise InvalidFilter(f"'{name}' is not supported in 'range' on '{key}'; {_listed(_BOUNDS)} are.")
        if bound is None:
            continue
        if isinstance(bound, bool) or not isinstance(bound, (int, float)):
            raise InvalidFilter(f"'range.{name}' on '{key}' takes a number, not {_kind(bound)}.")
        bounds.append((name, float(bound) if abs(bound) > _LARGEST_INTEGER else bound))
    return Range(key, tuple(bounds))


def _parse_ids(value: Any) -> tuple[StoredId, ...]:
    if not isinstance(value, list):
        raise InvalidFilter(f"'has_id' takes a list of ids, not {_kind(value)}.")
    try:
        return tuple(stored_ids([UUID(one) if isinstance(one, str) else one for one in value]))
    except (InvalidPoints, ValueError) as error:
        raise InvalidFilter(f"'has_id' takes ids, integers or UUIDs: {error}") from error


def _parse_key(condition: dict[str, Any]) -> str:
    key = condition.get("key")
    if not isinstance(key, str) or not _paths(key):
        raise InvalidFilter(f"A condition's 'key' is a path such as a.b, a[].b or \"quoted.key\", not {key!r}.")
    return key


def _paths(key: str) -> list[str]:
    """A key as SQLite's JSON paths: one, and one more after each `[]` that something follows; none when malformed."""
    paths, path, at = [], "$", 0
    while at < len(key):
        part = _KEY_PART.match(key, at)
        if part is None:
            return []
        label = json.dumps(part[1] or part[2], ensure_ascii=False)  # payloads are kept with the same escapes
        path, at = f"{path}.{label}", part.end()
        if part[3] and at < len(key):
            paths.append(path)
            path = "$"
    return [*paths, path] if path != "$" and not key.endswith(".") else []


def _rows_where(reader: sqlite3.Connection, key: str, test: str, given: Iterable[Any]) -> BitMap:
    """The rows with an element `e` at `key` that passes `test`; all values are bound, none is in the text."""
    *arrays, last = _paths(key)
    tables, bound, source = ["points"], [], "points.payload"
    guards, guarded = [], []
    for number, path in enumerate(arrays):
        tables.append(f"json_each({source}, ?) AS a{number}")
        bound.append(path)
        guards.append(f"json_type({source}, ?) = 'array'")
        guarded.append(path)
        source = f"CASE a{number}.type WHEN 'object' THEN a{number}.value ELSE '{{}}' END"
    tables.append(f"json_each({source}, ?) AS e")
    guards.append(f"json_type({source}, ?) IS NOT 'object'")  # json_each would give its members
    sql = f"SELECT points.row FROM {', '.join(tables)} WHERE {' AND '.join(guards)} AND {test}"
    return BitMap(row for (row,) in reader.execute(sql, [*bound, last, *guarded, last, *given]))


def _all_rows(reader: sqlite3.Connection) -> BitMap:
    return BitMap(row for (row,) in reader.execute("SELECT row FROM points"))


def _only(value: dict[str, Any], where: str, *names: str) -> None:
    for key in value:
        if key not in names:
            raise InvalidFilter(f"'{key}' is not supported in {where} with '{names[-1]}'.")


def _listed(names: Iterable[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}"


def _kind(value: Any) -> str:
    return "null" if value is None else f"a {type(value).__name__}"
