"""What SQLite can rule out before payloads are parsed one by one: a test in SQL that every matching row passes.

It looks at one condition of `must` on a path without arrays, and lets pass whatever is text at that path where an array
or object could be: SQLite gives those as their JSON text. Looking twice costs less than parsing in vain: of 700 000
payloads of 100 bytes, a fifth matching, 0.35 s instead of 0.7 s.
"""

import json
from typing import Any

from index_store.filters import Condition, Filter
from index_store.filters.fields import BOUNDS, Match, Range
from index_store.filters.keys import Key

_OPERATORS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
_EXACT = 1 << 53  # beyond, SQLite may compare a number as a rounded one
_ALL = ("1", ())


def narrowed(condition: Filter) -> tuple[str, tuple[Any, ...]]:
    """A test on `payload` and what is bound in it."""
    return next((test for one in condition.must if (test := _test(one)) is not None), _ALL)


def _test(condition: Condition) -> tuple[str, tuple[Any, ...]] | None:
    if isinstance(condition, Filter):
        found = narrowed(condition)
        return None if found is _ALL else found
    if isinstance(condition, Match) and _is_plain(condition.key) and condition.wanted:
        marks = ",".join("?" * len(condition.wanted))
        value = f"json_extract(payload, '{_path(condition.key)}')"
        return f"({value} IN ({marks}) OR substr({value}, 1, 1) = '[')", condition.wanted
    if isinstance(condition, Range) and _is_plain(condition.key):
        limits = {name: getattr(condition.limits, name) for name in BOUNDS}
        bounds = {name: bound for name, bound in limits.items() if bound is not None}
        if all(abs(bound) < _EXACT for bound in bounds.values()):
            value = f"json_extract(payload, '{_path(condition.key)}')"
            tests = " AND ".join([f"{value} {_OPERATORS[name]} ?" for name in bounds] or ["1"])
            return f"(({tests}) OR typeof({value}) = 'text')", tuple(bounds.values())
    return None


def _is_plain(key: Key) -> bool:
    """Whether SQLite reads the path as we do: names alone, of letters, digits, `_` and `-`."""
    return all(
        isinstance(part, str) and part.isascii() and part.replace("_", "").replace("-", "").isalnum()
        for part in key.parts
    )


def _path(key: Key) -> str:
    return "$" + "".join(f".{json.dumps(part)}" for part in key.parts)
