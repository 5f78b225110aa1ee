"""Which part of a payload an answer shows."""

from typing import Any

from service.schemas import ExcludeKeys, IncludeKeys, WithPayload

Payload = dict[str, Any]


def wants_payload(selection: WithPayload) -> bool:
    return selection is not None and selection is not False


def select(payload: Payload | None, selection: WithPayload) -> Payload | None:
    """The payload, or its chosen keys; `a.b` reaches into objects. None when none is asked for."""
    if not wants_payload(selection):
        return None
    payload = payload or {}
    if isinstance(selection, ExcludeKeys):
        return _without(payload, [key.split(".") for key in selection.exclude])
    if isinstance(selection, IncludeKeys | list):
        keys = selection.include if isinstance(selection, IncludeKeys) else selection
        return _only(payload, [key.split(".") for key in keys])
    return payload


def _only(value: Payload, paths: list[list[str]]) -> Payload:
    chosen: Payload = {}
    for key, part in value.items():
        if [key] in paths:
            chosen[key] = part
            continue
        below = [path[1:] for path in paths if path[0] == key and len(path) > 1]
        if below and isinstance(part, dict):
            chosen[key] = _only(part, below)
    return chosen


def _without(value: Payload, paths: list[list[str]]) -> Payload:
    kept: Payload = {}
    for key, part in value.items():
        if [key] in paths:
            continue
        below = [path[1:] for path in paths if path[0] == key and len(path) > 1]
        kept[key] = _without(part, below) if below and isinstance(part, dict) else part
    return kept
