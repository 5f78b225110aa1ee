"""The four ways of changing a payload; each gives a function from the payload as it is to the new one."""

import copy
from collections.abc import Callable, Sequence
from typing import Any

from index_store.answers import Payload
from index_store.json_path import delete_at, merge_at, parse_path
from index_store.stored_forms import payload_texts

PayloadChange = Callable[[Payload], Payload]


def setting(values: dict[str, Any], key: str | None = None) -> PayloadChange:
    """Set keys to values, others stay; with `key`, in the object at that path. A null deletes a key.

    Raises InvalidPath, InvalidPoints.
    """
    path = () if key is None else parse_path(key)
    payload_texts([values])

    def changed(payload: Payload) -> Payload:
        merge_at(payload, path, copy.deepcopy(values))
        return payload

    return changed


def overwriting(payload: dict[str, Any]) -> PayloadChange:
    """Put another payload in its place; raises InvalidPoints."""
    payload_texts([payload])
    return lambda _: payload


def deleting(keys: Sequence[str]) -> PayloadChange:
    """Delete what lies at these paths; raises InvalidPath."""
    paths = [parse_path(key) for key in keys]

    def changed(payload: Payload) -> Payload:
        for path in paths:
            delete_at(payload, path)
        return payload

    return changed


def clearing() -> PayloadChange:
    """Leave no payload."""
    return lambda _: {}
