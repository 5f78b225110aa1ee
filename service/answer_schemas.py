"""What each call answers, as JSON schemas for /openapi.json: tests compare every answer with them."""

from typing import Any

Schema = dict[str, Any]


def record(required: dict[str, Schema], optional: dict[str, Schema] | None = None) -> Schema:
    """An object with these keys and no others."""
    properties = required | (optional or {})
    return {"type": "object", "properties": properties, "required": [*required], "additionalProperties": False}


def listed(of: Schema) -> Schema:
    return {"type": "array", "items": of}


def or_null(kind: Schema) -> Schema:
    return {"anyOf": [kind, {"type": "null"}]}


BOOLEAN: Schema = {"type": "boolean"}
TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "number"}
COUNT: Schema = {"type": "integer", "minimum": 0}
OBJECT: Schema = {"type": "object"}
ID: Schema = {"anyOf": [COUNT, {"type": "string", "format": "uuid"}]}

POINT = record({"id": ID, "payload": or_null(OBJECT)}, {"vector": {}, "order_value": NUMBER})
HIT = record(
    {"id": ID, "version": COUNT, "score": NUMBER, "payload": or_null(OBJECT)}, {"vector": {}, "order_value": {}}
)
HITS = record({"points": listed(HIT)})
GROUPS = record(
    {"groups": listed(record({"id": {"type": ["string", "integer"]}, "hits": listed(HIT)}, {"lookup": POINT}))}
)
CHANGED = record({"operation_id": or_null(COUNT), "status": {"const": "completed"}})
INDEXED = record({"operation_id": or_null(COUNT), "status": {"enum": ["completed", "acknowledged"]}})
SNAPSHOT = record({"name": TEXT, "creation_time": TEXT, "size": COUNT, "checksum": TEXT})
ALIASES = record({"aliases": listed(record({"alias_name": TEXT, "collection_name": TEXT}))})
MODEL = {"type": "object", "required": ["name", "sha256", "graph"]}
JOB = {"type": "object", "required": ["id", "kind", "collection", "state", "parameters", "result", "error", "log"]}
COLLECTION = {
    "type": "object",
    "required": ["status", "optimizer_status", "warnings", "points_count", "config", "payload_schema", "codes"],
    "properties": {
        "status": {"enum": ["green", "yellow", "red"]},
        "warnings": listed(record({"message": TEXT})),
        "points_count": COUNT,
        "segments_count": COUNT,
        "config": OBJECT,
        "codes": OBJECT,
    },
}
UPLOADED = record(
    {"points": COUNT, "first_id": or_null(ID), "last_id": or_null(ID), "operation_id": or_null(COUNT)},
    {"total": or_null(COUNT), "vectors_crc32": COUNT},
)
VALUE = {"anyOf": [TEXT, {"type": "integer"}, BOOLEAN]}

_ONE = "/collections/{collection_name}"
_POINTS = f"{_ONE}/points"

# (method, path) → the `result` of its success, in the envelope that all of these have.
RESULTS: dict[tuple[str, str], Schema] = {
    ("get", "/aliases"): ALIASES,
    ("post", "/collections/aliases"): BOOLEAN,
    ("get", "/collections"): record({"collections": listed(record({"name": TEXT}))}),
    ("put", _ONE): BOOLEAN,
    ("patch", _ONE): BOOLEAN,
    ("delete", _ONE): BOOLEAN,
    ("get", _ONE): COLLECTION,
    ("get", f"{_ONE}/aliases"): ALIASES,
    ("get", f"{_ONE}/exists"): record({"exists": BOOLEAN}),
    ("post", f"{_ONE}/facet"): record({"hits": listed(record({"value": VALUE, "count": COUNT}))}),
    ("put", f"{_ONE}/index"): INDEXED,
    ("delete", f"{_ONE}/index/{{field_name}}"): CHANGED,
    ("post", _POINTS): listed(POINT),
    ("put", _POINTS): CHANGED,
    ("get", f"{_POINTS}/{{id}}"): POINT,
    ("post", f"{_POINTS}/batch"): listed(CHANGED),
    ("post", f"{_POINTS}/count"): record({"count": COUNT}),
    ("post", f"{_POINTS}/delete"): CHANGED,
    ("post", f"{_POINTS}/payload"): CHANGED,
    ("put", f"{_POINTS}/payload"): CHANGED,
    ("post", f"{_POINTS}/payload/clear"): CHANGED,
    ("post", f"{_POINTS}/payload/delete"): CHANGED,
    ("post", f"{_POINTS}/query"): HITS,
    ("post", f"{_POINTS}/query/batch"): listed(HITS),
    ("post", f"{_POINTS}/query/groups"): GROUPS,
    ("post", f"{_POINTS}/search"): listed(HIT),
    ("post", f"{_POINTS}/search/batch"): listed(listed(HIT)),
    ("post", f"{_POINTS}/search/groups"): GROUPS,
    ("post", f"{_POINTS}/recommend"): listed(HIT),
    ("post", f"{_POINTS}/recommend/batch"): listed(listed(HIT)),
    ("post", f"{_POINTS}/recommend/groups"): GROUPS,
    ("post", f"{_POINTS}/discover"): listed(HIT),
    ("post", f"{_POINTS}/discover/batch"): listed(listed(HIT)),
    ("post", f"{_POINTS}/scroll"): record({"points": listed(POINT), "next_page_offset": or_null(ID)}),
    ("post", f"{_POINTS}/search/matrix/pairs"): record({"pairs": listed(record({"a": ID, "b": ID, "score": NUMBER}))}),
    ("post", f"{_POINTS}/search/matrix/offsets"): record(
        {"offsets_row": listed(COUNT), "offsets_col": listed(COUNT), "scores": listed(NUMBER), "ids": listed(ID)}
    ),
    ("post", f"{_POINTS}/upload"): UPLOADED,
    ("get", f"{_POINTS}/upload"): UPLOADED,
    ("put", f"{_POINTS}/vectors"): CHANGED,
    ("post", f"{_POINTS}/vectors/delete"): CHANGED,
    ("post", f"{_ONE}/recall"): JOB,
    ("post", f"{_ONE}/reencode"): JOB,
    ("post", f"{_ONE}/train"): JOB,
    ("get", f"{_ONE}/snapshots"): listed(SNAPSHOT),
    ("post", f"{_ONE}/snapshots"): or_null(SNAPSHOT),
    ("put", f"{_ONE}/snapshots/recover"): or_null(BOOLEAN),
    ("post", f"{_ONE}/snapshots/upload"): or_null(BOOLEAN),
    ("delete", f"{_ONE}/snapshots/{{snapshot_name}}"): BOOLEAN,
    ("get", "/jobs"): record({"jobs": listed(JOB)}),
    ("get", "/jobs/{job_id}"): JOB,
    ("delete", "/jobs/{job_id}"): JOB,
    ("get", "/models"): record({"models": listed(MODEL)}),
    ("get", "/models/{model_name}"): MODEL,
    ("put", "/models/{model_name}"): MODEL,
    ("delete", "/models/{model_name}"): BOOLEAN,
    ("get", "/snapshots"): listed(SNAPSHOT),
    ("post", "/snapshots"): {"not": {}},  # refused, always
}

# What comes without the envelope: its content type, and its schema.
FILES: dict[tuple[str, str], tuple[str, Schema]] = {
    ("get", "/"): ("application/json", record(dict.fromkeys(("title", "version", "commit", "server_version"), TEXT))),
    ("get", "/livez"): ("text/plain", TEXT),
    ("get", "/readyz"): ("text/plain", TEXT),
    ("get", "/healthz"): ("text/plain", TEXT),
    ("get", "/metrics"): ("text/plain", TEXT),
    ("post", f"{_POINTS}/query/array"): ("application/x-npz", {"type": "string", "format": "binary"}),
    ("get", f"{_ONE}/snapshots/{{snapshot_name}}"): ("application/x-tar", {"type": "string", "format": "binary"}),
    ("get", "/jobs/{job_id}/report"): ("text/markdown", TEXT),
    ("get", "/models/{model_name}/file"): ("application/octet-stream", {"type": "string", "format": "binary"}),
}

# Whose answer names what other calls take in their path: parameter → where it is found (OpenAPI's runtime expressions).
LINKS: dict[tuple[str, str], dict[str, str]] = {
    ("put", _ONE): {"collection_name": "$request.path.collection_name"},
    ("put", "/models/{model_name}"): {"model_name": "$request.path.model_name"},
    ("post", f"{_ONE}/snapshots"): {
        "collection_name": "$request.path.collection_name",
        "snapshot_name": "$response.body#/result/name",
    },
    ("post", f"{_ONE}/recall"): {"job_id": "$response.body#/result/id"},
    ("post", f"{_ONE}/reencode"): {"job_id": "$response.body#/result/id"},
    ("post", f"{_ONE}/train"): {"job_id": "$response.body#/result/id"},
}
