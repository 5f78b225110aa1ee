"""Hits by the value that they have at a key of their payload: the best groups, and the best of each."""

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import anyio.to_thread

from index_store import Collection, Hit, Record
from index_store.json_path import Path, parse_path, values_at
from service.errors import MalformedRequest, OutOfRange
from service.filter_json import also
from service.finding import Finder, Wanted
from service.point_ids import point_id
from service.schemas.queries import Prefetch, QueryGroups

DEFAULT_GROUPS, DEFAULT_SIZE = 10, 3
ROUND = 4
"""Each look goes so many times deeper than the one before, until the groups are full."""

GroupId = str | int
Groups = dict[GroupId, list[Hit]]


@dataclass(frozen=True)
class Sizes:
    """How many groups, how large, and how many hits may be looked through for them."""

    groups: int
    size: int
    most: int


async def grouped(finder: Finder, query: QueryGroups, wanted: Wanted, most: int) -> Groups:
    """The groups in the order of their best hits. A group that lies deeper than `most` hits is asked for by itself."""
    sizes = Sizes(query.limit or DEFAULT_GROUPS, query.group_size or DEFAULT_SIZE, most)
    if sizes.groups * sizes.size > most:
        told = f"limit × group_size is {sizes.groups * sizes.size}"
        raise OutOfRange(f"{told}; at most {most} points are given at a time.")
    path, depth = parse_path(query.group_by), min(most, sizes.groups * sizes.size)
    wanted = replace(wanted, with_payload=True)
    while True:
        deep = query.model_copy(update={"prefetch": _as_deep(query.prefetch, depth)})
        hits = await finder.find(deep, replace(wanted, limit=depth))
        groups = _by_value(hits, path, sizes)
        is_full = len(groups) == sizes.groups and all(len(some) == sizes.size for some in groups.values())
        if is_full or len(hits) < depth:
            return groups
        if depth == most:
            return await _filled(finder, query, wanted, groups, sizes)
        depth = min(most, ROUND * depth)


async def looked_up(
    groups: Groups, collection: Collection, with_payload: bool, names: tuple[str, ...]
) -> dict[GroupId, Record]:
    """The points of another collection whose ids are the groups' values."""
    ids: dict[Any, GroupId] = {}
    for value in groups:
        with suppress(MalformedRequest):  # a value that is no id
            ids[point_id(value)] = value
    records = await anyio.to_thread.run_sync(collection.retrieve, list(ids), with_payload, names)
    return {ids[record.id]: record for record in records}


def _by_value(hits: list[Hit], path: Path, sizes: Sizes) -> Groups:
    groups: Groups = {}
    for hit in hits:
        for value in _values(hit, path):
            if value not in groups and len(groups) == sizes.groups:
                continue
            some = groups.setdefault(value, [])
            if len(some) < sizes.size:
                some.append(hit)
    return groups


def _values(hit: Hit, path: Path) -> list[GroupId]:
    """A point with any value that names no group is in none, as in Qdrant."""
    values = values_at(hit.payload or {}, path)
    return list(dict.fromkeys(values)) if all(type(value) in (str, int) for value in values) else []


def _as_deep(prefetches: list[Prefetch] | None, depth: int) -> list[Prefetch] | None:
    """What is prefetched goes as deep as the groups, unless it says itself how deep."""
    if prefetches is None:
        return None
    return [
        one.model_copy(update={"limit": one.limit or depth, "prefetch": _as_deep(one.prefetch, depth)})
        for one in prefetches
    ]


async def _filled(finder: Finder, query: QueryGroups, wanted: Wanted, groups: Groups, sizes: Sizes) -> Groups:
    for value, some in groups.items():
        if len(some) < sizes.size:
            own = {"must": [{"key": query.group_by, "match": {"value": value}}]}
            one = query.model_copy(update={"filter": also(query.filter, own)})
            groups[value] = await finder.find(one, replace(wanted, limit=sizes.size))
    return groups
