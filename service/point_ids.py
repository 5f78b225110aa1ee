"""Ids as users write them: unsigned 64-bit integers, or UUIDs in any usual form."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from index_store import PointId
from service.errors import MalformedRequest

LARGEST_ID = 2**64 - 1


def point_id(value: Any, where: str = "id") -> PointId:
    """The id that a JSON value says; raises MalformedRequest."""
    if type(value) is int and 0 <= value <= LARGEST_ID:  # bool is an int too, and no id
        return value
    if isinstance(value, str):
        try:
            return UUID(value)
        except ValueError:
            pass
    raise MalformedRequest(f"{where}: an id is an integer from 0 to 2^64 - 1 or a UUID, not {_shown(value)}.")


def point_ids(values: Iterable[Any], where: str = "ids") -> list[PointId]:
    """The ids of a JSON array; the error tells the place of the wrong one."""
    return [point_id(value, f"{where}[{place}]") for place, value in enumerate(values)]


def point_id_in_path(text: str) -> PointId:
    """The id at the end of a path, where integers are text."""
    return point_id(int(text) if text.isascii() and text.isdecimal() and len(text) <= 20 else text)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
