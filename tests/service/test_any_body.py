"""No body makes the service fail: whatever JSON comes is answered or refused."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builders import clustered
from tests.service.conftest import DIM
from tests.service.requests import points, result
from tests.service.service_in_process import Client

VECTOR = [0.5] * DIM
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=5),
    st.sampled_from([VECTOR, [VECTOR], "", "default", "tiny", "9b2f4c1e-0c4b-4d6f-8a57-0a6f3a3c9d11", 1, 0, -1]),
)  # fmt: skip
WORDS = """
    points batch ids vectors payloads id vector payload query nearest filter must should must_not key match value any
    except range gt has_id limit offset params exact nprobe quantization rescore oversampling using with_payload
    include with_vector score_threshold searches size distance codes model metadata originals beam keys operations
    upsert delete set_payload overwrite_payload delete_payload clear_payload update_vectors delete_vectors update_mode
"""
KEYS = st.sampled_from(WORDS.split())
BODIES = st.recursive(
    LEAVES, lambda some: st.lists(some, max_size=3) | st.dictionaries(KEYS, some, max_size=4), max_leaves=12
)

CALLS = [
    ("PUT", "/collections/other"), ("PUT", "{}/points"), ("POST", "{}/points"), ("POST", "{}/points/count"),
    ("POST", "{}/points/delete"), ("POST", "{}/points/query"), ("POST", "{}/points/query/batch"),
    ("POST", "{}/points/upload"), ("POST", "{}/points/scroll"), ("POST", "{}/points/payload"),
    ("PUT", "{}/points/payload"), ("POST", "{}/points/payload/delete"), ("PUT", "{}/points/vectors"),
    ("POST", "{}/points/vectors/delete"), ("POST", "{}/points/batch"),
]  # fmt: skip
# What each call wants at the top, so that random values get further in.
TOPS: dict[str, list[str]] = {
    "other": ["vectors", "codes", "metadata"],
    "points": ["points", "batch", "ids", "with_payload", "with_vector"],
    "count": ["filter"],
    "delete": ["points", "filter", "keys", "vector"],
    "scroll": ["offset", "limit", "filter", "with_payload", "with_vector"],
    "payload": ["payload", "points", "filter", "key"],
    "vectors": ["points", "update_filter"],
    "query": [
        "query",
        "filter",
        "params",
        "limit",
        "offset",
        "using",
        "with_payload",
        "with_vector",
        "score_threshold",
    ],
    "batch": ["searches", "operations"],
    "upload": ["ids", "vectors", "payloads", "points", "batch"],
}


@pytest.mark.parametrize(("method", "path"), CALLS)
@settings(max_examples=60)
@given(data=st.data())
def test_no_body_is_an_error_of_the_server(
    client: Client, collection: str, method: str, path: str, data: st.DataObject
) -> None:
    import json

    tops = TOPS[path.rpartition("/")[2]]
    body: Any = data.draw(BODIES | st.fixed_dictionaries({}, optional=dict.fromkeys(tops, BODIES)))
    sent = json.dumps(body).encode("utf-8", "surrogatepass")
    response = client.request(
        method, path.format(collection), content=sent, headers={"Content-Type": "application/json"}
    )
    assert response.status_code < 500, response.text
    if response.status_code >= 400:
        assert response.json()["status"]["error"].endswith((".", "}"))


def test_odd_payloads_come_back_as_they_went_in(client: Client, collection: str) -> None:
    payload = {"": {"a.b": [None, 1e300, -0.0, 2**63, "\u2028\u0000"]}, "nested": {"x": [[[]]]}, "ключ": "ü"}
    result(client.put(f"{collection}/points", json=points(clustered(1), payload)))
    assert result(client.get(f"{collection}/points/0"))["payload"] == payload
