"""Conditions on the values at a key; an array matches when any of its elements does, a missing key matches nothing."""

from dataclasses import dataclass
from typing import Any

from index_store.errors import InvalidFilter
from index_store.filters import dates
from index_store.filters.keys import Key
from index_store.filters.point import Point
from index_store.filters.refusals import a_number, a_string, an_integer, an_object, kind, listed, only

Scalar = str | int | bool
LARGEST_INTEGER = (1 << 63) - 1
BOUNDS = ("gt", "gte", "lt", "lte")


@dataclass(frozen=True)
class Limits:
    """Bounds that a number keeps; None where there is none."""

    gt: float | None = None
    gte: float | None = None
    lt: float | None = None
    lte: float | None = None

    def hold(self, number: float) -> bool:
        """Whether a number lies within all of them."""
        return (
            (self.gt is None or number > self.gt)
            and (self.gte is None or number >= self.gte)
            and (self.lt is None or number < self.lt)
            and (self.lte is None or number <= self.lte)
        )


@dataclass(frozen=True)
class Match:
    """Some value is one of these. Types are kept apart: true is not 1, 1.0 is not 1, and "1" is not 1."""

    key: Key
    wanted: tuple[Scalar, ...]

    def matches(self, point: Point) -> bool:
        """Whether a point does."""
        return any(is_one_of(value, self.wanted) for value in self.key.values(point.payload))


@dataclass(frozen=True)
class MatchExcept:
    """Some value, null apart, is none of these."""

    key: Key
    unwanted: tuple[Scalar, ...]

    def matches(self, point: Point) -> bool:
        """Whether a point does."""
        values = self.key.values(point.payload)
        return any(value is not None and not is_one_of(value, self.unwanted) for value in values)


@dataclass(frozen=True)
class MatchPrefix:
    """Some string begins with this."""

    key: Key
    prefix: str

    def matches(self, point: Point) -> bool:
        """Whether a point does."""
        return any(isinstance(value, str) and value.startswith(self.prefix) for value in self.key.values(point.payload))


@dataclass(frozen=True)
class MatchSubstring:
    """Some string holds this."""

    key: Key
    substring: str

    def matches(self, point: Point) -> bool:
        """Whether a point does."""
        return any(isinstance(value, str) and self.substring in value for value in self.key.values(point.payload))


@dataclass(frozen=True)
class Range:
    """Some number lies within the limits; true and false are no numbers."""

    key: Key
    limits: Limits

    def matches(self, point: Point) -> bool:
        """Whether a point does."""
        return any(is_number(value) and self.limits.hold(value) for value in self.key.values(point.payload))


@dataclass(frozen=True)
class DateRange:
    """Some date lies within the limits, in microseconds since 1970."""

    key: Key
    limits: Limits

    def matches(self, point: Point) -> bool:
        """Whether a point does."""
        found = (dates.microseconds(value) for value in self.key.values(point.payload) if isinstance(value, str))
        return any(moment is not None and self.limits.hold(moment) for moment in found)


@dataclass(frozen=True)
class ValuesCount:
    """The values at some place of the key are so many: an array's length, 1 for anything else, 0 for null."""

    key: Key
    limits: Limits

    def matches(self, point: Point) -> bool:
        """Whether a point does; a missing key has no values."""
        return any(self.limits.hold(_count(value)) for value in self.key.selected(point.payload) or [None])


@dataclass(frozen=True)
class IsEmpty:
    """The key is missing, or all at it is null or an empty array."""

    key: Key

    def matches(self, point: Point) -> bool:
        """Whether a point does."""
        return all(value is None or value == [] for value in self.key.selected(point.payload))


@dataclass(frozen=True)
class IsNull:
    """Something at the key is null, or an array with a null in it."""

    key: Key

    def matches(self, point: Point) -> bool:
        """Whether a point does."""
        found = self.key.selected(point.payload)
        return any(value is None or (isinstance(value, list) and None in value) for value in found)


def is_one_of(value: Any, wanted: tuple[Scalar, ...]) -> bool:
    """Whether a value is one of these, its type among what is compared."""
    return any(value == one and type(value) is type(one) for one in wanted)


def is_number(value: Any) -> bool:
    """Whether a JSON value is a number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def parse_range(key: Key, value: Any) -> Range | DateRange:
    """A range on numbers, or on dates when its bounds are strings."""
    where = f"'range' on '{key.text}'"
    given = an_object(value, where)
    only(given, where, BOUNDS)
    if any(isinstance(bound, str) for bound in given.values()):
        return DateRange(key, Limits(**{name: _date(bound, f"'range.{name}'") for name, bound in given.items()}))
    return Range(key, Limits(**{name: a_number(bound, f"'range.{name}'") for name, bound in given.items()}))


def parse_values_count(key: Key, value: Any) -> ValuesCount:
    """Limits on how many values there are."""
    where = f"'values_count' on '{key.text}'"
    given = an_object(value, where)
    only(given, where, BOUNDS)
    if not given:
        raise InvalidFilter(f"{where} takes at least one of {listed(BOUNDS)}.")
    return ValuesCount(key, Limits(**{name: an_integer(one, f"'values_count.{name}'") for name, one in given.items()}))


def parse_match(key: Key, kind_of_match: str, given: Any) -> Match | MatchExcept | MatchPrefix | MatchSubstring:
    """`value`, `any`, `except`, `prefix` and `substring` of a match."""
    where = f"'match.{kind_of_match}' on '{key.text}'"
    if kind_of_match == "prefix":
        return MatchPrefix(key, a_string(given, where))
    if kind_of_match == "substring":
        return MatchSubstring(key, a_string(given, where))
    values = [given] if kind_of_match == "value" else given
    if not isinstance(values, list):
        raise InvalidFilter(f"{where} takes a list, not {kind(values)}.")
    for one in values:
        if not isinstance(one, (str, int, bool)):
            raise InvalidFilter(f"{where} takes strings, integers and booleans, not {kind(one)}.")
        if isinstance(one, int) and abs(one) > LARGEST_INTEGER:
            raise InvalidFilter(f"{where} takes signed 64-bit integers; {one} is larger.")
    return MatchExcept(key, tuple(values)) if kind_of_match == "except" else Match(key, tuple(values))


def _count(value: Any) -> int:
    if value is None:
        return 0
    return len(value) if isinstance(value, list) else 1


def _date(bound: Any, where: str) -> int:
    moment = dates.microseconds(a_string(bound, where))
    if moment is None:
        raise InvalidFilter(f"{where} takes a number or a date such as 2026-01-31T12:00:00Z, not '{bound}'.")
    return moment
