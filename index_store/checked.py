"""From what users send to changes that can be made: all that can be wrong with them is looked for here."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from index_store.answers import Float32, Payload, PointId
from index_store.changes import Upsert
from index_store.deferred import ReplaceVectors
from index_store.errors import InvalidPoints
from index_store.filters import Filter
from index_store.stored_forms import StoredId, payload_texts, stored_ids
from index_store.vector_index import VectorIndex

Indexes = Mapping[str, VectorIndex]
Ids = Sequence[PointId] | NDArray[np.uint64]
Places = Mapping[str, NDArray[np.int64]]


def checked_upsert(
    indexes: Indexes,
    ids: Ids,
    vectors: Mapping[str, Float32],
    payloads: Sequence[Payload | None] | None,
    places: Places | None,
) -> Upsert:
    """An upsert in which each id comes once, the last time that it was given.

    Raises InvalidPoints, InvalidVectors, DimensionMismatch.
    """
    keys = stored_ids(ids)
    if places is None and set(vectors) != set(indexes):
        raise InvalidPoints(f"Points have the vectors {sorted(indexes)}; these have {sorted(vectors)}.")
    prepared, absent = {}, {}
    for name, index in indexes.items():
        prepared[name], absent[name] = _column(index, name, len(keys), vectors.get(name), (places or {}).get(name))
    texts = None if payloads is None else payload_texts(payloads)
    if texts is not None and len(texts) != len(keys):
        raise InvalidPoints(f"There are {len(keys)} ids and {len(texts)} payloads; give one a point, or none.")
    if len(set(keys)) < len(keys):
        kept = sorted({key: place for place, key in enumerate(keys)}.values())
        keys = [keys[place] for place in kept]
        prepared = {name: some[kept] for name, some in prepared.items()}
        absent = {name: np.flatnonzero(np.isin(kept, some)) for name, some in absent.items()}
        texts = None if texts is None else [texts[place] for place in kept]
    return Upsert(keys, prepared, texts, {name: some for name, some in absent.items() if len(some)})


def checked_vectors(
    indexes: Indexes, ids: Ids, vectors: Mapping[str, Float32], places: Places, condition: Filter | None
) -> ReplaceVectors:
    """New vectors for points: `vectors[name]` [m, dim] for those at `places[name]` [m] of the ids; raises the same."""
    keys = stored_ids(ids)
    if not keys:
        raise InvalidPoints("The change names no points: give at least one.")
    first: dict[StoredId, int] = {}
    for key in keys:
        first.setdefault(key, len(first))
    prepared, merged = {}, {}
    for name, some in vectors.items():
        stored = indexes[name].forms.prepare(some)
        _check_count(name, len(places[name]), len(stored))
        last = {first[keys[place]]: at for at, place in enumerate(places[name].tolist())}
        merged[name] = np.array(list(last), np.int64)
        prepared[name] = stored[list(last.values())]
    return ReplaceVectors(list(first), prepared, merged, condition)


def _column(
    index: VectorIndex, name: str, n: int, vectors: Float32 | None, places: NDArray[np.int64] | None
) -> tuple[NDArray[np.generic], NDArray[np.int64]]:
    """One named vector of n points as it will be stored, [n, dim], and the places of the points that lack it."""
    if vectors is None:
        return index.forms.fillers(n), np.arange(n)
    stored = index.forms.prepare(vectors)
    if places is None:
        _check_count(name, n, len(stored))
        return stored, np.zeros(0, np.int64)
    _check_count(name, len(places), len(stored))
    column = index.forms.fillers(n)
    column[places] = stored
    return column, np.setdiff1d(np.arange(n), places)


def _check_count(name: str, ids: int, vectors: int) -> None:
    if ids != vectors:
        raise InvalidPoints(f"There are {ids} ids and {vectors} vectors '{name}'; give one a point.")
