"""Calls that schemathesis makes up from the OpenAPI document, each answer compared with it: no 5xx, no other schema.

Alone, with every key, and in rows that follow the document's links: a collection is made, written to, asked, deleted.
"""

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import schemathesis
from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings
from hypothesis import strategies as st
from pydantic import SecretStr
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from service.openapi import document
from service.security import OPEN
from tests.builders import clustered
from tests.service.requests import points, result
from tests.service.service_in_process import Client, running
from tests.told import ADMIN_KEY, READER_KEY

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
# Who asks → the header.
KEYS: dict[str, dict[str, str]] = {"nobody": {}, "reader": {"api-key": READER_KEY}, "admin": {"api-key": ADMIN_KEY}}
DIM = 4
# A checkpoint is read by a process of its own, which takes its time to start.
PATIENCE_S = 120
# Collections that there are at first, so that not all calls ask for what is not there.
NAMES = {"exact": {"codes": {"model": "none"}}, "auto": {}}
SPACE = {"size": DIM, "distance": "Euclid"}
VECTORS = clustered(6, DIM).tolist()
# Bodies that do something, for every other call of a row: made up ones rarely fit the collection.
SENSIBLE: dict[str, Any] = {
    "PUT /collections/{collection_name}": {"vectors": SPACE, "codes": {"model": "none"}},
    "PUT /collections/{collection_name}/points": points(np.array(VECTORS), {"a": 1, "b": ["x"]}),
    "POST /collections/{collection_name}/points": {"ids": [0, 1, 99], "with_vector": True},
    "POST /collections/{collection_name}/points/query": {"query": VECTORS[0], "limit": 3, "with_payload": True},
    "POST /collections/{collection_name}/points/query/batch": {"searches": [{"query": 1}, {"query": VECTORS[1]}]},
    "POST /collections/{collection_name}/points/query/groups": {"query": VECTORS[0], "group_by": "a"},
    "POST /collections/{collection_name}/points/search": {"vector": VECTORS[0], "limit": 3},
    "POST /collections/{collection_name}/points/recommend": {"positive": [1], "limit": 3},
    "POST /collections/{collection_name}/points/discover": {"target": 1, "context": [{"positive": 2, "negative": 3}]},
    "POST /collections/{collection_name}/points/scroll": {"limit": 2, "order_by": "a"},
    "POST /collections/{collection_name}/points/search/matrix/pairs": {"sample": 4},
    "POST /collections/{collection_name}/points/search/matrix/offsets": {"sample": 4},
    "POST /collections/{collection_name}/facet": {"key": "b"},
    "POST /collections/{collection_name}/points/payload": {"payload": {"c": 0.5}, "points": [0, 1]},
    "PUT /collections/{collection_name}/points/payload": {"payload": {"a": 2}, "points": [2]},
    "POST /collections/{collection_name}/points/payload/delete": {"keys": ["b"], "points": [3]},
    "POST /collections/{collection_name}/points/payload/clear": {"points": [4]},
    "PUT /collections/{collection_name}/points/vectors": {"points": [{"id": 0, "vector": VECTORS[5]}]},
    "POST /collections/{collection_name}/points/delete": {"points": [5]},
    "POST /collections/{collection_name}/points/batch": {"operations": [{"clear_payload": {"points": [0]}}]},
    "PUT /collections/{collection_name}/index": {"field_name": "a", "field_schema": "integer"},
}
READING_POSTS = (
    "/facet",
    "/points",
    "/scroll",
    "/count",
    "/query",
    "/search",
    "/recommend",
    "/discover",
    "/batch",
    "/groups",
    "/array",
    "/pairs",
    "/offsets",
)


@contextmanager
def locked(folder: Path) -> Iterator[Client]:
    """A client of a service that asks for KEYS."""
    with running(folder, api_key=SecretStr(ADMIN_KEY), read_only_api_key=SecretStr(READER_KEY)) as client:
        yield client


def called_alone(client: httpx.Client, examples: int, number: int = 0) -> int:
    """Each call of the document, some that fit it and some that do not, each by everybody; returns how many."""
    made = 0
    for operation in _operations():
        _make_collections(client)
        made += _called(client, operation, GenerationMode.POSITIVE, examples, number)
        if operation.body or operation.query:
            made += _called(client, operation, GenerationMode.NEGATIVE, examples, number)
    return made


def called_in_rows(client: httpx.Client, rows: int, number: int = 0) -> int:
    """Rows of calls that follow the document's links, by the admin; returns how many calls."""
    made = 0

    class Row(_described().as_state_machine()):  # type: ignore[misc]
        def setup(self) -> None:
            _delete_collections(client)  # so that a row, made again, finds what it found
            _make_collections(client)
            self.turn = 0

        def before_call(self, case: schemathesis.Case) -> None:
            self.turn += 1
            if self.turn % 2:  # where no link led to a collection, made up names would lead to none
                case.body = SENSIBLE.get(case.operation.label, case.body)
                if "collection_name" in (case.path_parameters or {}):
                    case.path_parameters["collection_name"] = next(iter(NAMES))

        def get_call_kwargs(self, case: schemathesis.Case) -> dict[str, Any]:
            return {"base_url": str(client.base_url), "headers": KEYS["admin"], "timeout": PATIENCE_S}

        def validate_response(self, response: Any, case: schemathesis.Case, **_: Any) -> None:
            nonlocal made
            made += 1
            case.validate_response(response, checks=CHECKS)

    seed(number)(Row.TestCase).settings = settings(_how(rows), stateful_step_count=12)
    Row.TestCase().runTest()
    return made


def _called(client: httpx.Client, operation: APIOperation, mode: GenerationMode, examples: int, number: int) -> int:
    made = 0

    @seed(number)
    @_how(examples)
    @given(case=operation.as_strategy(generation_mode=mode), name=st.sampled_from([*NAMES, None]))
    def call(case: schemathesis.Case, name: str | None) -> None:
        nonlocal made
        if name is not None and "collection_name" in (case.path_parameters or {}):
            case.path_parameters["collection_name"] = name
        for who, key in KEYS.items():
            answer = case.call(base_url=str(client.base_url), headers=key, timeout=PATIENCE_S)
            case.validate_response(answer, checks=CHECKS)
            _as_the_key_allows(who, operation.method.upper(), operation.path, answer.status_code)
            made += 1

    call()
    return made


def _as_the_key_allows(who: str, method: str, path: str, status: int) -> None:
    if (method, path) in OPEN:
        assert status not in (401, 403)
    elif who == "nobody":
        assert status == 401
    else:
        reads = method == "GET" or (method == "POST" and path.endswith(READING_POSTS) and path != POINTS_BATCH)
        assert status != 401
        assert (status == 403) == (who == "reader" and not reads)


POINTS_BATCH = "/collections/{collection_name}/points/batch"


def _make_collections(client: httpx.Client) -> None:
    """Those of NAMES that a call before has deleted, or never were."""
    for name, kind in NAMES.items():
        if not result(client.get(f"/collections/{name}/exists", headers=KEYS["admin"]))["exists"]:
            body = {"vectors": SPACE} | kind
            result(client.put(f"/collections/{name}", json=body, headers=KEYS["admin"]))
            written = points(clustered(20, DIM), {"a": 1, "b": ["x", None]})
            result(client.put(f"/collections/{name}/points", json=written, headers=KEYS["admin"]))


def _delete_collections(client: httpx.Client) -> None:
    for one in result(client.get("/collections", headers=KEYS["admin"]))["collections"]:
        result(client.delete(f"/collections/{one['name']}", headers=KEYS["admin"]))


@cache
def _described() -> Any:
    """The document as schemathesis reads it."""
    _teach_binaries()
    return schemathesis.openapi.from_dict(json.loads(document()))


def _operations() -> Iterator[APIOperation]:
    for found in _described().get_all_operations():
        yield found.ok()


def _teach_binaries() -> None:
    """Bodies that the document calls binary: an array now and then, mostly bytes."""
    file = io.BytesIO()
    np.save(file, clustered(3, DIM))
    some = st.one_of(st.just(file.getvalue()), st.binary(max_size=200))
    for kind in ("application/x-npy", "application/vnd.apache.arrow.stream", "application/vnd.apache.parquet"):
        schemathesis.openapi.media_type(kind, some)


def _how(examples: int) -> settings:
    return settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        verbosity=Verbosity.quiet,
        suppress_health_check=list(HealthCheck),
    )
