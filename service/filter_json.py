"""Filters as JSON, put together: clause by clause, as Qdrant does, so that the `should` of both are alternatives."""

from typing import Any
from uuid import UUID

from index_store import PointId

Filter = dict[str, Any]


def also(outer: Filter | None, inner: Filter | None) -> Filter | None:
    """Both of two filters."""
    if not outer or not inner:
        return outer or inner
    merged = {**outer, **inner}
    for clause in ("must", "should", "must_not"):
        if clause in outer and clause in inner:
            merged[clause] = [*_listed(outer[clause]), *_listed(inner[clause])]
    mins = [one.get("min_should") for one in (outer, inner)]
    if isinstance(mins[0], dict) and isinstance(mins[1], dict):
        merged["min_should"] = {
            "conditions": [*_listed(mins[0].get("conditions")), *_listed(mins[1].get("conditions"))],
            "min_count": max(mins[0].get("min_count", 0), mins[1].get("min_count", 0)),
        }
    return merged


def only(condition: Filter | None, ids: list[PointId]) -> Filter:
    """Of these points, those that match."""
    found = also({"must": [{"has_id": _as_json(ids)}]}, condition)
    assert found is not None
    return found


def but_not(condition: Filter | None, ids: list[PointId]) -> Filter | None:
    """All but these points, of those that match."""
    return also({"must_not": [{"has_id": _as_json(ids)}]}, condition) if ids else condition


def _as_json(ids: list[PointId]) -> list[int | str]:
    return [str(id) if isinstance(id, UUID) else id for id in ids]


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]
