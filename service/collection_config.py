"""From what a user declares to what the store makes, and back to what GET shows."""

from datetime import UTC, datetime
from typing import Any

from index_store import (
    CodesConfig,
    Collection,
    CollectionConfig,
    CollectionInfo,
    JobRecord,
    Measured,
    SelfTraining,
    VectorConfig,
)
from index_store.jobs import FAILED
from service.bodies import checked
from service.errors import MalformedRequest
from service.metrics import relative_error
from service.schemas.collections import CodesParams, CreateCollection, QuantizationConfig, VectorParams
from service.vector_names import DEFAULT, UNNAMED, stored_name
from service.work import TRAIN, is_encoding

AUTO = "auto"
EXACT = "none"
DEFAULT_BYTES = 16
DRIFTED = 1.5
LONGEST_CODE = 32
"""Bytes that `quantization_config` comes to at most: beyond, originals on disk serve better than longer codes."""

# What Qdrant's clients insist on reading; there is no HNSW graph and no write-ahead log here.
HNSW = {"m": 16, "ef_construct": 100, "full_scan_threshold": 10_000, "max_indexing_threads": 0, "on_disk": False}
OPTIMIZER = {
    "deleted_threshold": 0.2,
    "vacuum_min_vector_number": 1000,
    "default_segment_number": 0,
    "max_segment_size": None,
    "memmap_threshold": None,
    "indexing_threshold": 20_000,
    "flush_interval_sec": 5,
    "max_optimization_threads": None,
}
WAL = {"wal_capacity_mb": 32, "wal_segments_ahead": 0}

WITHOUT_EFFECT = (
    "hnsw_config",
    "optimizers_config",
    "wal_config",
    "shard_number",
    "replication_factor",
    "write_consistency_factor",
    "on_disk_payload",
    "payload",
    "id_tracker",
)
VECTOR_WITHOUT_EFFECT = ("on_disk", "memory", "hnsw_config")


def to_store(body: CreateCollection, train_at: int) -> CollectionConfig:
    """The store's config. What has no effect there is kept in its metadata, for `describe`.

    train_at: how many points a collection trains at by itself, unless its codes say
    """
    vectors = body.vectors if isinstance(body.vectors, dict) else {DEFAULT: body.vectors}
    if DEFAULT in vectors and isinstance(body.vectors, dict) and (len(vectors) == 1 or UNNAMED in vectors):
        raise MalformedRequest(
            f"'vectors.{DEFAULT}': a collection's only vector cannot have this name, and none beside the unnamed one; "
            "give it another, or none."
        )
    if UNNAMED in vectors:
        vectors[DEFAULT] = vectors.pop(UNNAMED)
    codes = _codes(body, vectors)
    kept = {
        "metadata": body.metadata,
        "search": body.search and body.search.model_dump(exclude_none=True),
        "quantization": body.quantization_config and body.quantization_config.model_dump(exclude_none=True),
        "given": {key: value for key in WITHOUT_EFFECT if (value := getattr(body, key)) is not None},
        "vectors": {
            name: {key: value for key in VECTOR_WITHOUT_EFFECT if (value := getattr(one, key)) is not None}
            for name, one in vectors.items()
        },
    }
    return CollectionConfig(
        {name: VectorConfig(one.size, one.distance) for name, one in vectors.items()},
        {name: _store_codes(codes[name], one, body.quantization_config, train_at) for name, one in vectors.items()},
        kept,
    )


def _codes(body: CreateCollection, vectors: dict[str, VectorParams]) -> dict[str, CodesParams | None]:
    """The codes of each vector: from `codes`, or for clients that cannot send it from `metadata`."""
    in_metadata = (body.metadata or {}).get("codes")
    if body.codes is not None and in_metadata is not None:
        raise MalformedRequest("'codes' and 'metadata.codes' are both given; give one.")
    where = "codes" if body.codes is not None else "metadata.codes"
    codes = body.codes
    if in_metadata is not None:
        codes = checked(
            CreateCollection, {"vectors": {"size": 1, "distance": "Dot"}, "codes": in_metadata}, ("metadata",)
        ).codes
    if not isinstance(codes, dict):
        if codes is not None and vectors.keys() != {DEFAULT}:
            raise MalformedRequest(f"'{where}' must name the vectors that it is for: {sorted(vectors)}.")
        codes = {DEFAULT: codes} if codes is not None else {}
    codes = {stored_name(name): one for name, one in codes.items()}
    unknown = codes.keys() - vectors.keys()
    if unknown:
        raise MalformedRequest(f"'{where}.{min(unknown)}': 'vectors' declares no such vector.")
    return {name: codes.get(name) for name in vectors}


def _store_codes(
    given: CodesParams | None, vector: VectorParams, quantization: QuantizationConfig | None, train_at: int
) -> CodesConfig:
    quantization = vector.quantization_config or quantization
    codes = given or CodesParams(model=EXACT if vector.distance == "Manhattan" and quantization is None else AUTO)
    originals = codes.originals or vector.datatype or "float32"
    if codes.originals and vector.datatype and codes.originals != vector.datatype:
        raise MalformedRequest(f"'datatype' says {vector.datatype}, 'codes.originals' {codes.originals}; give one.")
    if codes.model == AUTO:
        auto = SelfTraining(_bytes(codes, vector, quantization), codes.train_at or train_at)
        return CodesConfig(EXACT, originals, codes.candidates, codes.beam, auto)
    for name in ("bytes", "train_at"):
        if getattr(codes, name) is not None:
            raise MalformedRequest(f"'codes.{name}' goes with the model 'auto', not with '{codes.model}'.")
    if quantization is not None:
        raise MalformedRequest(f"'quantization_config' goes with the model 'auto', not with '{codes.model}'.")
    for name in ("beam", "candidates") if codes.model == EXACT else ():
        if getattr(codes, name) is not None:
            raise MalformedRequest(f"'codes.{name}' is how vectors are encoded, and the model 'none' encodes none.")
    return CodesConfig(codes.model, originals, codes.candidates, codes.beam)


def _bytes(codes: CodesParams, vector: VectorParams, quantization: QuantizationConfig | None) -> int:
    """The bytes of a code that is asked for, by its size or by how many times smaller than the vector it is to be."""
    if quantization is None or quantization.product is None:
        return codes.bytes or DEFAULT_BYTES
    asked = max(1, 4 * vector.size // int(quantization.product.compression.removeprefix("x")))
    if codes.bytes not in (None, asked):
        raise MalformedRequest(f"'quantization_config' asks for codes of {asked} bytes, 'codes.bytes' {codes.bytes}.")
    return min(asked, LONGEST_CODE)


def warnings(config: CollectionConfig) -> list[str]:
    """What was accepted and does not do what its name says."""
    kept = kept_of(config)
    said = []
    asked = (kept.get("quantization") or {}).get("product", {}).get("compression")
    for name, one in config.vectors.items():
        auto = config.codes_of(name).auto
        if asked and auto and 4 * one.size // int(asked[1:]) > auto.bytes:
            said.append(f"Asked for {asked} of {4 * one.size} bytes; codes here take {auto.bytes}, which is less.")
    given = list(kept["given"]) + [f"vectors.{key}" for one in kept["vectors"].values() for key in one]
    if given:
        said.append(f"Accepted, and changes nothing here: {', '.join(dict.fromkeys(given))}.")
    return said


def describe(collection: Collection, jobs: list[JobRecord]) -> dict[str, Any]:
    """What GET /collections/{c} answers: all that Qdrant's clients require, and `codes`; of jobs, the newest first."""
    config = collection.config
    infos = {name: collection.info(using=name) for name in config.vectors}
    first = next(iter(infos.values()))
    pending = sum(info.pending for info in infos.values())
    trainings = [job for job in jobs if job.kind == TRAIN and job.collection == collection.name]
    told = warnings(config) + _troubles(trainings)
    told += [_drifted(name, error) for name, one in infos.items() if (error := relative_error(one) or 0) > DRIFTED]
    busy = {job.parameters["using"] or DEFAULT for job in trainings if job.ended is None and not is_encoding(job)}
    if first.read_only_because:
        told.append(f"Takes no writes until the next start: {first.read_only_because}")
    if first.unindexed_keys:
        told.append(
            f"Filters have asked for keys without a payload index: {', '.join(sorted(first.unindexed_keys))}. They are "
            "answered by reading payloads; PUT …/index makes them fast."
        )
    if first.damage:
        told.append(f"Damaged on disk: {first.damage} Put a snapshot in its place.")
    status = "red" if first.read_only_because or first.damage else "yellow" if pending else "green"
    return {
        "status": status,
        "optimizer_status": "ok",
        "warnings": [{"message": sentence} for sentence in told],
        "points_count": first.points,
        "indexed_vectors_count": sum(info.points - info.pending for info in infos.values()),
        "segments_count": sum(info.segments for info in infos.values()),
        "payload_schema": {
            key: {"data_type": schema.kind, "params": schema.to_json() if schema.options else None, "points": points}
            for key, (schema, points) in collection.payload_indexes().items()
        },
        "config": _qdrant_config(config),
        "codes": _one_or_named(
            {name: _codes_block(config.codes_of(name), one, name in busy) for name, one in infos.items()}
        ),
        "search": config.metadata.get("search") or {},
        "disk_bytes": first.disk_bytes,
        "ram_bytes": sum(info.ram_bytes for info in infos.values()),
    }


def describe_damaged(config: CollectionConfig, why: str) -> dict[str, Any]:
    """The same of a collection that could not be loaded: what it was declared to hold; of what it holds, nothing."""
    told = f"Could not be loaded: {why} Put a snapshot in its place, or delete it."
    return {
        "status": "red",
        "optimizer_status": {"error": told},
        "warnings": [{"message": told}],
        "points_count": None,
        "indexed_vectors_count": None,
        "segments_count": 0,
        "payload_schema": {},
        "config": _qdrant_config(config),
        "codes": None,
        "search": config.metadata.get("search") or {},
        "disk_bytes": None,
        "ram_bytes": 0,
    }


def kept_of(config: CollectionConfig) -> dict[str, Any]:
    """What is kept of a collection beside what the store needs; one that the library made has nothing of it."""
    return {"metadata": None, "given": {}, "vectors": {}} | config.metadata


def _qdrant_config(config: CollectionConfig) -> dict[str, Any]:
    kept = kept_of(config)
    given = kept["given"]
    vectors = {
        name: {"size": one.size, "distance": one.distance, "datatype": _datatype(config.codes_of(name).originals)}
        | kept["vectors"].get(name, {})
        for name, one in config.vectors.items()
    }
    params = {key: given.get(key, 1) for key in ("shard_number", "replication_factor", "write_consistency_factor")}
    return {
        "params": params | {"on_disk_payload": given.get("on_disk_payload", True), "vectors": _one_or_named(vectors)},
        "hnsw_config": HNSW | given.get("hnsw_config", {}),
        "optimizer_config": OPTIMIZER | given.get("optimizers_config", {}),
        "wal_config": WAL | given.get("wal_config", {}),
        "quantization_config": kept.get("quantization"),
        "metadata": kept["metadata"],
    }


def _datatype(originals: str) -> str | None:
    """As Qdrant knows it; int8 and none are ours alone."""
    return originals if originals in ("float32", "float16", "uint8") else None


def _troubles(trainings: list[JobRecord]) -> list[str]:
    """Why the last training failed, if it did."""
    if not trainings or trainings[0].state != FAILED:
        return []
    return [f"The last training failed: {trainings[0].error}"]


def _drifted(vector: str, error: float) -> str:
    of = "" if vector == DEFAULT else f" of '{vector}'"
    return (
        f"The vectors{of} encoded of late are {error:.1f} times as far from their codes as the model's training data: "
        "they are of another kind. Train on them: POST …/train."
    )


def _codes_block(codes: CodesConfig, info: CollectionInfo, is_training: bool) -> dict[str, Any]:
    auto = codes.auto
    return {
        "model": info.model,
        "sha256": info.sha256,
        "state": "training" if is_training else info.state,
        "auto": None if auto is None else {"bytes": auto.bytes, "trains_at": auto.next_at},
        "originals": codes.originals,
        "beam": codes.beam,
        "candidates": codes.candidates,
        "steps": info.steps,
        "code_bytes": info.code_bytes,
        "ram_bytes_per_vector": info.ram_bytes_per_vector,
        "float32_bytes": info.float32_bytes,
        "pending": info.pending,
        "encoding_rate": info.encoding_rate,
        "eta_s": info.pending / info.encoding_rate if info.pending and info.encoding_rate else None,
        "drafts": info.drafts,
        "recent_mse": info.recent_mse,
        "training_mse": info.training_mse,
        "relative_error": relative_error(info),
        "recall": None if info.recall is None else _recall_block(info.recall),
        "tombstones": info.tombstones,
        "devices": info.devices,
    }


def _recall_block(measured: Measured) -> dict[str, Any]:
    """What was measured, without what it takes to reach more or less: POST …/recall tells that."""
    return {
        "recall": measured.default,
        "limit": measured.limit,
        "queries": measured.queries,
        "sample": measured.sample,
        "points": measured.points,
        "at": datetime.fromtimestamp(measured.at, UTC).isoformat(timespec="seconds"),
    }


def _one_or_named(parts: dict[str, Any]) -> Any:
    return parts[DEFAULT] if parts.keys() == {DEFAULT} else parts
