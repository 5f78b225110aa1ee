"""From a query as JSON to what the store is asked, and from its hits back to JSON."""

from typing import Any

import anyio.to_thread
import numpy as np
import orjson
from numpy.typing import NDArray

from index_store import Collection, Hit, PointId, Record, SearchPlan
from index_store.filters import Filter
from service.collection_changes import with_defaults
from service.errors import MalformedRequest, NotServed, OutOfRange, PointNotFound
from service.payload_selection import select, wants_payload
from service.point_ids import point_id
from service.points_json import DEFAULT, UNNAMED, as_array
from service.query_batcher import Question
from service.schemas import Query, SearchParams, WithPayload, WithVector
from service.serving import Serving

Float32 = NDArray[np.float32]

DEFAULT_LIMIT = 10
# Qdrant's hnsw_ef means effort; this many of its candidates are worth one list.
EF_PER_LIST = 4
OTHER_QUERIES = (
    "recommend",
    "discover",
    "context",
    "order_by",
    "fusion",
    "rrf",
    "formula",
    "sample",
    "indices",
    "text",
    "image",
    "relevance_feedback",
)


async def hits_of(
    serving: Serving, name: str, collection: Collection, query: Query, timeout_s: int | None = None
) -> list[dict[str, Any]]:
    """The hits of one query, as JSON objects."""
    using = _using(query.using, collection)
    params = with_defaults(query.params, collection.config)
    limit, offset = query.limit or DEFAULT_LIMIT, query.offset or 0
    plan = plan_of(params, limit, offset, serving.settings.max_limit, query.score_threshold)
    vector, own_id = await _vector_of(query.query, using, collection)
    if own_id is not None:  # one more, so that the point's own hit can be left out
        plan = SearchPlan(**(plan.__dict__ | {"limit": plan.limit + plan.offset + 1, "offset": 0}))
    condition = None if query.filter is None else Filter.parse(query.filter)
    filter_json = orjson.dumps(query.filter, option=orjson.OPT_SORT_KEYS)
    question = Question(
        name, plan, using, filter_json, wants_payload(query.with_payload), wanted_vectors(query.with_vector, collection)
    )
    hits = (await serving.batcher.query(collection, question, vector, condition, timeout_s))[0]
    if own_id is not None:
        hits = [hit for hit in hits if hit.id != own_id][offset : offset + limit]
    return [_hit_json(hit, query.with_payload) for hit in hits]


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
        return tuple(dict.fromkeys(_using(name, collection) for name in selection))
    return tuple(collection.config.vectors) if selection else ()


def vectors_are_decoded(collection: Collection) -> bool:
    """Whether a vector in an answer is a decoded code, because no originals are kept."""
    return any(collection.config.codes_of(name).originals == "none" for name in collection.config.vectors)


def record_json(record: Record, with_payload: WithPayload) -> dict[str, Any]:
    """A stored point as JSON object."""
    shown = {"id": record.id, "payload": select(record.payload, with_payload)}
    return shown | _vectors_json(record.vectors)


def _hit_json(hit: Hit, with_payload: WithPayload) -> dict[str, Any]:
    shown = {"id": hit.id, "version": hit.version, "score": hit.score, "payload": select(hit.payload, with_payload)}
    return shown | _vectors_json(hit.vectors)


def _vectors_json(vectors: dict[str, Float32] | None) -> dict[str, Any]:
    """The unnamed vector as a plain list, named ones by their names."""
    if vectors is None:
        return {}
    return {"vector": vectors[DEFAULT] if vectors.keys() == {DEFAULT} else vectors}


def _using(name: str | None, collection: Collection) -> str:
    using = _stored_name(name or UNNAMED)
    if using not in collection.config.vectors:
        shown = "no unnamed vector" if using == DEFAULT else f"no vector '{using}'"
        raise MalformedRequest(
            f"Parameter 'using': this collection has {shown}; it has {sorted(collection.config.vectors)}."
        )
    return using


def _stored_name(name: str) -> str:
    return DEFAULT if name == UNNAMED else name


async def _vector_of(query: Any, using: str, collection: Collection) -> tuple[Float32, PointId | None]:
    """The vector to search for, float32 [1, dim], and the id it was taken from, if so."""
    if isinstance(query, dict):
        if "nearest" not in query:
            known = [name for name in OTHER_QUERIES if name in query]
            if known:
                raise NotServed(
                    f"Parameter 'query.{known[0]}' is not served by this version; send a vector, an id or 'nearest'."
                )
        unknown = query.keys() - {"nearest"}
        if unknown:
            raise MalformedRequest(f"Unknown parameter 'query.{min(unknown)}'.")
        query = query.get("nearest")
    if query is None:
        raise MalformedRequest("Parameter 'query' is missing: send a vector, an id or {\"nearest\": …}.")
    if isinstance(query, list):
        return as_array([query], collection.config.vectors[using].size, "query"), None
    if isinstance(query, dict):
        raise NotServed(
            "Parameter 'query': only dense vectors and ids are served; sparse vectors, documents and images are not."
        )
    id = point_id(query, "query")
    found = await anyio.to_thread.run_sync(collection.retrieve, [id], False, True)
    if not found or found[0].vectors is None or using not in found[0].vectors:
        raise PointNotFound(f"There is no point {id} to search by.")
    return found[0].vectors[using][None], id
