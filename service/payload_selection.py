"""Which part of a payload an answer shows."""

from typing import Any

from index_store.json_path import Part, parse_path
from service.schemas.points import ExcludeKeys, IncludeKeys, WithPayload

Payload = dict[str, Any]
# Part of a path → what is chosen below it; None for all of it.
Tree = dict[Part, "Tree | None"]


def wants_payload(selection: WithPayload) -> bool:
    return selection is not None and selection is not False


def check_selection(selection: WithPayload) -> None:
    """Raises InvalidPath, whether or not there is a payload to select from."""
    select({}, selection)


def select(payload: Payload | None, selection: WithPayload) -> Payload | None:
    """The payload, or its chosen keys: `a.b` reaches into objects, `a[].b` into arrays. None when none is asked for."""
    if not wants_payload(selection):
        return None
    payload = payload or {}
    if isinstance(selection, ExcludeKeys):
        shown = _without(payload, _tree(selection.exclude))
    elif isinstance(selection, IncludeKeys | list):
        shown = _only(payload, _tree(selection.include if isinstance(selection, IncludeKeys) else selection))
    else:
        return payload
    assert isinstance(shown, dict)
    return shown


def _tree(keys: list[str]) -> Tree:
    root: Tree = {}
    for key in keys:
        *way, last = parse_path(key)
        node: Tree | None = root
        for part in way:
            node = node if node is None else node.setdefault(part, {})
        if node is not None:  # else a shorter path chooses all of it already
            node[last] = None
    return root


def _only(value: Any, tree: Tree | None) -> Any:
    if tree is None:
        return value
    if isinstance(value, dict):
        return {key: _only(part, tree[key]) for key, part in value.items() if key in tree}
    if isinstance(value, list):  # elements are chosen all together: `a[0]` chooses nothing
        return [_only(part, tree[None]) for part in value] if None in tree else []
    return value


def _without(value: Any, tree: Tree) -> Any:
    if isinstance(value, dict):
        kept = {key: part for key, part in value.items() if tree.get(key, {}) is not None}
        return {key: _without(part, tree.get(key) or {}) for key, part in kept.items()}
    if isinstance(value, list):
        below = tree.get(None, {})
        return [] if below is None else [_without(part, below) for part in value]
    return value
