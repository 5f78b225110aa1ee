"""The sentences that refuse what is not in the grammar, and the checks that most conditions share."""

import math
from collections.abc import Iterable
from typing import Any

from index_store.errors import InvalidFilter


def listed(names: Iterable[str]) -> str:
    """`a, b and c`."""
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def kind(value: Any) -> str:
    """What a JSON value is, in words."""
    return "null" if value is None else f"a {type(value).__name__}"


def an_object(value: Any, where: str) -> dict[str, Any]:
    """The value, if it is a JSON object; nulls in it mean the same as leaving them out."""
    if not isinstance(value, dict):
        raise InvalidFilter(f"{where} takes an object, not {kind(value)}.")
    return {key: one for key, one in value.items() if one is not None}


def only(value: dict[str, Any], where: str, names: Iterable[str]) -> None:
    """Refuse every key but `names`."""
    known = tuple(names)
    for key in value:
        if key not in known:
            raise InvalidFilter(f"'{key}' is not supported in {where}; {listed(known)} {_are(known)}.")


def a_number(value: Any, where: str, low: float = -math.inf, high: float = math.inf) -> float:
    """The value, if it is a number within low..high."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InvalidFilter(f"{where} takes a number, not {kind(value)}.")
    if not low <= value <= high:
        raise InvalidFilter(f"{where} lies between {low:g} and {high:g}, which {value} does not.")
    return value


def an_integer(value: Any, where: str, low: int = 0) -> int:
    """The value, if it is an integer of at least `low`."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidFilter(f"{where} takes an integer, not {kind(value)}.")
    if value < low:
        raise InvalidFilter(f"{where} is at least {low}, not {value}.")
    return value


def a_string(value: Any, where: str) -> str:
    """The value, if it is a string."""
    if not isinstance(value, str):
        raise InvalidFilter(f"{where} takes a string, not {kind(value)}.")
    return value


def _are(names: tuple[str, ...]) -> str:
    return "are" if len(names) > 1 else "is"
