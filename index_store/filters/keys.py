"""Paths into a payload: `a.b` goes into objects, `a[]` into every element, `a[0]` into one, `"a.b"` names one key."""

import re
from dataclasses import dataclass, field
from typing import Any

from index_store.errors import InvalidFilter

_NAME = re.compile(r'"([^"]+)"|([^".\[\]]+)')
_BRACKETS = re.compile(r"\[(\d{0,9})\]")
EVERY = None
"""A part of a path that goes into all elements of an array."""


@dataclass(frozen=True)
class Key:
    """A parsed path. Its parts are the key of an object, the place in an array, or EVERY."""

    text: str
    parts: tuple[str | int | None, ...] = field(compare=False)

    @classmethod
    def parse(cls, text: Any) -> "Key":
        """The path that a string says; raises InvalidFilter."""
        parts: list[str | int | None] = []
        at = 0
        while isinstance(text, str):
            name = _NAME.match(text, at)
            if name is None:
                break
            parts.append(name[1] or name[2])
            at = name.end()
            while bracket := _BRACKETS.match(text, at):
                parts.append(int(bracket[1]) if bracket[1] else EVERY)
                at = bracket.end()
            if at == len(text):
                return cls(text, tuple(parts))
            if text[at] != ".":
                break
            at += 1
        raise InvalidFilter(f"A condition's 'key' is a path such as a.b, a[].b or \"quoted.key\", not {text!r}.")

    def selected(self, payload: dict[str, Any]) -> list[Any]:
        """What stands at the path, arrays as they are; nothing where the path leads nowhere."""
        if len(self.parts) == 1:
            name = self.parts[0]
            return [payload[name]] if name in payload else []
        found: list[Any] = [payload]
        for part in self.parts:
            if part is EVERY:
                found = [inner for value in found if isinstance(value, list) for inner in value]
            elif isinstance(part, str):
                found = [value[part] for value in found if isinstance(value, dict) and part in value]
            else:
                found = [value[part] for value in found if isinstance(value, list) and part < len(value)]
        return found

    def values(self, payload: dict[str, Any]) -> list[Any]:
        """What stands at the path, an array's elements in its place."""
        found = self.selected(payload)
        if len(found) == 1:
            return found[0] if isinstance(found[0], list) else found
        return [inner for value in found for inner in (value if isinstance(value, list) else (value,))]

    def elements(self, payload: dict[str, Any]) -> list[dict[str, Any]]:
        """The objects of the arrays at the path; `a` and `a[]` are the same here."""
        outer = Key(self.text, self.parts[:-1]) if self.parts[-1] is EVERY else self
        arrays = [value for value in outer.selected(payload) if isinstance(value, list)]
        return [inner for value in arrays for inner in value if isinstance(inner, dict)]

    def inside(self, array: "Key") -> "Key":
        """This path, taken from each element of an array."""
        ending = "" if array.parts[-1] is EVERY else "[]"
        return Key.parse(f"{array.text}{ending}.{self.text}")
