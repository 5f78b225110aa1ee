"""Keys that a JSON object has twice: whoever parses it keeps the last alone, and what else was said is lost."""

import json
import re
from typing import Any

_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)


def repeated_key(body: bytes, value: Any) -> str | None:
    """A key that some object has twice, or None. `value` is what was parsed from `body`, which is well-formed.

    There are as many colons outside strings as keys were sent; counting costs a tenth of parsing. Where the count does
    not come out, which is also where objects stand in an array behind other values, the body is read once more.
    """
    kept = _keys(value)
    if kept == body.count(b":") or kept == _STRING.sub(b"", body).count(b":"):
        return None
    return repeated_key_plain(body)


def repeated_key_plain(body: bytes) -> str | None:
    """The same, pair by pair."""
    found: list[str] = []

    def note(pairs: list[tuple[str, Any]]) -> None:
        seen: set[str] = set()
        found.extend(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]

    json.loads(body, object_pairs_hook=note)
    return found[0] if found else None


def _keys(value: Any) -> int:
    """Of all objects together; arrays that begin with neither object nor array are passed over: most are vectors."""
    count, left = 0, [value]
    while left:
        one = left.pop()
        if type(one) is dict:
            count += len(one)
            left.extend(inner for inner in one.values() if type(inner) in (dict, list))
        elif type(one) is list and one and type(one[0]) in (dict, list):
            left.extend(one)
    return count
