"""Examples in a query, vectors or ids of points, as float32; ids may be looked up in another collection."""

from dataclasses import dataclass
from typing import Any

import anyio.to_thread
import numpy as np
from numpy.typing import NDArray

from index_store import Collection, PointId
from service.errors import MalformedRequest, NotServed, PointNotFound
from service.point_ids import point_id
from service.points_json import as_array
from service.query_forms import refuse_unserved
from service.questions import vector_named
from service.schemas.queries import LookupFrom
from service.serving import Serving
from service.vector_names import DEFAULT, vectors_told

Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class Place:
    """Where ids are looked up: a vector of a collection; `is_searched` when it is the one that the query searches."""

    collection: Collection
    using: str
    is_searched: bool


def place_of(serving: Serving, collection: Collection, using: str, given: LookupFrom | None) -> Place:
    """Raises CollectionNotFound, and MalformedRequest for vectors of another size."""
    if given is None:
        return Place(collection, using, True)
    other = serving.collection(given.collection)
    name = vector_named(given.vector, other) if given.vector is not None or using == DEFAULT else using
    if name not in other.config.vectors:
        raise MalformedRequest(
            f"Parameter 'lookup_from': '{other.name}' has no vector '{name}'; {vectors_told(other.config)}."
        )
    theirs, ours = other.config.vectors[name].size, collection.config.vectors[using].size
    if theirs != ours:
        raise MalformedRequest(f"Parameter 'lookup_from': its vectors have {theirs} numbers, not {ours}.")
    return Place(other, name, other is collection)


async def vectors_of(inputs: list[Any], place: Place, where: str = "query") -> tuple[Float32, list[PointId]]:
    """float32 [n, dim], and those ids that the query must leave out, because they are its examples.

    where: what errors call an example, with {} for its place where there are several
    Raises MalformedRequest, NotServed, PointNotFound.
    """
    dim = place.collection.config.vectors[place.using].size
    ids: dict[int, PointId] = {}
    for at, one in enumerate(inputs):
        name = where.format(at)
        if isinstance(one, dict):
            refuse_unserved(one, name)
            raise MalformedRequest(f"Parameter '{name}': an example is a vector or an id.")
        if one is None:
            raise MalformedRequest(f"Parameter '{name}' is missing: send a vector or an id.")
        if not isinstance(one, list):
            ids[at] = point_id(one, name)
        elif one and isinstance(one[0], list):
            raise NotServed(f"Parameter '{name}': multi-vectors are not served; send one list of numbers.")
    found = await anyio.to_thread.run_sync(_looked_up, list(dict.fromkeys(ids.values())), place) if ids else {}
    vectors = np.empty((len(inputs), dim), np.float32)
    given = [at for at in range(len(inputs)) if at not in ids]
    vectors[given] = as_array([inputs[at] for at in given], dim, lambda row: f"Parameter '{where.format(given[row])}'")
    for at, id in ids.items():
        vectors[at] = found[id]
    return vectors, list(found) if place.is_searched else []


def _looked_up(ids: list[PointId], place: Place) -> dict[PointId, Float32]:
    records = place.collection.retrieve(ids, False, (place.using,))
    found = {one.id: one.vectors[place.using] for one in records if one.vectors and place.using in one.vectors}
    missing = [id for id in ids if id not in found]
    if missing:
        shown = "" if place.using == DEFAULT else f" with the vector '{place.using}'"
        raise PointNotFound(f"There is no point {missing[0]}{shown} in '{place.collection.name}' to search by.")
    return found
