"""Paths into a payload: `a.b`, `a[].b`, `a[0]`, `"quoted.key"`; what lies at one, and how to set or delete it.

`[]` stands for every element of an array, `[n]` for one. The rules are Qdrant's: what a path does not lead to is left
alone by a deletion and made by a setting; an element is never deleted by its number, which would move the others.
"""

import re
from collections.abc import Callable
from typing import Any

from index_store.errors import InvalidPath

EVERY = None
_NAME = re.compile(r'"([^"]*)"|([\w-]+)')
_BRACKETS = re.compile(r"\[(\d*)\]")
_LARGEST_INDEX = (1 << 64) - 1

Part = str | int | None  # a key, an index, EVERY element
Path = tuple[Part, ...]


def parse_path(text: Any) -> Path:
    """The parts of a path; raises InvalidPath."""
    parts: list[Part] = []
    at = 0
    while isinstance(text, str) and (name := _NAME.match(text, at)):
        parts.append(name[1] if name[1] is not None else name[2])
        at = name.end()
        while brackets := _BRACKETS.match(text, at):
            parts.append(int(brackets[1]) if brackets[1] else EVERY)
            at = brackets.end()
        if at == len(text) and not any(isinstance(part, int) and part > _LARGEST_INDEX for part in parts):
            return tuple(parts)
        if text[at : at + 1] != ".":
            break
        at += 1
    raise InvalidPath(f'A key is a path such as a.b, a[].b, a[0] or "quoted.key", not {text!r:.80}.')


def values_at(payload: dict[str, Any], path: Path) -> list[Any]:
    """All values that a path leads to; an array at its end stands for its elements."""
    found: list[Any] = []

    def take(value: Any) -> None:
        found.extend(value) if isinstance(value, list) else found.append(value)

    _walk(payload, path, take)
    return found


def delete_at(payload: dict[str, Any], path: Path) -> None:
    """Delete, in place, the values that a path leads to: a key, or with `[]` at the end all elements of an array."""
    *way, last = path

    def delete(value: Any) -> None:
        if isinstance(value, dict) and isinstance(last, str):
            value.pop(last, None)
        elif isinstance(value, list) and last is EVERY:
            value.clear()

    _walk(payload, tuple(way), delete)


def merge_at(payload: dict[str, Any], path: Path, values: dict[str, Any]) -> None:
    """Merge an object, in place, into the object at a path, which is made where it is missing or something else."""
    if not path:
        merge(payload, values)
        return
    part, rest = path[0], path[1:]
    if isinstance(part, str):
        payload[part] = _merged(payload.get(part), rest, values)


def merge(payload: dict[str, Any], values: dict[str, Any]) -> None:
    """Set, in place, each key to its value; a null deletes the key."""
    for key, value in values.items():
        if value is None:
            payload.pop(key, None)
        else:
            payload[key] = value


def _walk(value: Any, path: Path, visit: Callable[[Any], None]) -> None:
    if not path:
        visit(value)
        return
    part, rest = path[0], path[1:]
    if isinstance(value, dict) and isinstance(part, str):
        if part in value:
            _walk(value[part], rest, visit)
    elif isinstance(value, list) and part is EVERY:
        for element in value:
            _walk(element, rest, visit)
    elif isinstance(value, list) and isinstance(part, int) and part < len(value):
        _walk(value[part], rest, visit)


def _merged(value: Any, path: Path, values: dict[str, Any]) -> Any:
    """What stands in the place of `value` once the rest of a path has been set: an object, or an array."""
    if not path or isinstance(path[0], str):
        made = value if isinstance(value, dict) else {}
        merge_at(made, path, dict(values))
        return made
    if not isinstance(value, list):
        return []
    chosen = range(len(value)) if path[0] is EVERY else range(path[0], min(path[0] + 1, len(value)))
    for place in chosen:
        value[place] = _merged(value[place], path[1:], values)
    return value
