"""From a query as JSON to what the store is asked, and from its hits back to JSON."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from index_store import Collection, Hit, Record, SearchPlan
from service.errors import MalformedRequest, OutOfRange
from service.payload_selection import select
from service.schemas.points import WithPayload, WithVector
from service.schemas.queries import SearchParams
from service.vector_names import DEFAULT, UNNAMED, stored_name, vectors_told

Float32 = NDArray[np.float32]

DEFAULT_LIMIT = 10
# Qdrant's hnsw_ef means effort; this many of its candidates are worth one list.
EF_PER_LIST = 4


def plan_of(
    params: SearchParams | None, limit: int, offset: int, max_limit: int, threshold: float | None = None
) -> SearchPlan:
    """How hard to look. `hnsw_ef` gives nprobe where that is not set; `ignore` means the same as `exact`."""
    if limit + offset > max_limit:
        raise OutOfRange(f"limit + offset is {limit + offset}; at most {max_limit} points are given at a time.")
    params = params or SearchParams()
    quantization = params.quantization
    nprobe = params.nprobe or (max(1, params.hnsw_ef // EF_PER_LIST) if params.hnsw_ef else None)
    return SearchPlan(
        limit=limit,
        offset=offset,
        nprobe=nprobe,
        shortlist=params.shortlist,
        rerank=params.rerank,
        rescore=quantization.rescore if quantization else None,
        oversampling=quantization.oversampling if quantization else None,
        exact=bool(params.exact or (quantization and quantization.ignore)),
        score_threshold=threshold,
    )


def wanted_vectors(selection: WithVector, collection: Collection) -> tuple[str, ...]:
    """The names of the vectors that an answer shows; raises MalformedRequest for one that the collection lacks."""
    if isinstance(selection, list):
        return tuple(dict.fromkeys(vector_named(name, collection) for name in selection))
    return tuple(collection.config.vectors) if selection else ()


def vectors_are_decoded(collection: Collection) -> bool:
    """Whether a vector in an answer is a decoded code, because no originals are kept."""
    return any(collection.config.codes_of(name).originals == "none" for name in collection.config.vectors)


def record_json(record: Record, with_payload: WithPayload) -> dict[str, Any]:
    """A stored point as JSON object."""
    shown = {"id": record.id, "payload": select(record.payload, with_payload)}
    return shown | _vectors_json(record.vectors)


def hit_json(hit: Hit, with_payload: WithPayload) -> dict[str, Any]:
    """A found point as JSON object."""
    shown = {"id": hit.id, "version": hit.version, "score": hit.score, "payload": select(hit.payload, with_payload)}
    value = getattr(hit, "order_value", None)
    return shown | _vectors_json(hit.vectors) | ({} if value is None else {"order_value": value})


def _vectors_json(vectors: dict[str, Float32] | None) -> dict[str, Any]:
    """The unnamed vector as a plain list, named ones by their names."""
    if vectors is None:
        return {}
    return {"vector": vectors[DEFAULT] if vectors.keys() == {DEFAULT} else vectors}


def vector_named(name: str | None, collection: Collection) -> str:
    """A vector as the store names it; raises MalformedRequest for one that the collection lacks."""
    using = stored_name(name or UNNAMED)
    if using not in collection.config.vectors:
        shown = "no unnamed vector" if using == DEFAULT else f"no vector '{using}'"
        raise MalformedRequest(f"Parameter 'using': this collection has {shown}; {vectors_told(collection.config)}.")
    return using
