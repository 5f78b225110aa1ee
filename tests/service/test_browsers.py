"""Web pages of the origins that a setting names get answers in browsers, and errors; others get none."""

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from service.serving import Serving
from service.settings import Settings
from tests.service.requests import result, sentence
from tests.service.service_in_process import Client, running
from tests.told import ADMIN_KEY

PAGE, OTHER, KEY = "https://app.example.com", "https://evil.example.com", {"api-key": ADMIN_KEY}
ALLOWED = "access-control-allow-origin"


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("browsers")
    with running(folder, cors_origins=f"{PAGE}, http://localhost:3000", api_key=SecretStr(ADMIN_KEY)) as client:
        made = client.put("/collections/c", json={"vectors": {"size": 2, "distance": "Dot"}}, headers=KEY)
        assert made.status_code == 200
        client.put("/collections/c/points", json={"points": [{"id": 1, "vector": [1, 2]}]}, headers=KEY)
        yield client


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
def test_a_browser_that_asks_ahead_is_told_what_a_page_may_without_a_key(asked: Client, method: str) -> None:
    ahead = {"access-control-request-method": method, "access-control-request-headers": "api-key,content-type"}
    told = asked.options("/collections/c/points", headers={"origin": PAGE, **ahead})
    assert told.status_code == 200
    assert told.headers[ALLOWED] == PAGE
    assert method in told.headers["access-control-allow-methods"]
    assert "api-key" in told.headers["access-control-allow-headers"]
    refused = asked.options("/collections/c/points", headers={"origin": OTHER, **ahead})
    assert refused.status_code == 400
    assert ALLOWED not in refused.headers


def test_answers_and_errors_are_shown_to_a_page_that_may_ask(asked: Client) -> None:
    query = {"query": [1, 2], "limit": 1}
    asks: list[tuple[int, str, str, dict[str, Any]]] = [
        (200, "POST", "/collections/c/points/query", {"json": query, "headers": KEY}),
        (200, "GET", "/collections", {"headers": KEY}),
        (401, "POST", "/collections/c/points/query", {"json": query}),
        (400, "POST", "/collections/c/points/query", {"json": {"query": [1]}, "headers": KEY}),
        (404, "GET", "/nothing", {"headers": KEY}),
        (405, "DELETE", "/", {"headers": KEY}),
    ]
    for status, method, path, more in asks:
        for origin in (PAGE, OTHER, None):
            headers = more.get("headers", {}) | ({} if origin is None else {"origin": origin})
            told = asked.request(method, path, json=more.get("json"), headers=headers)
            assert told.status_code == status
            assert told.headers.get(ALLOWED) == (PAGE if origin == PAGE else None)


def test_an_error_of_ours_is_shown_too(asked: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(Serving, "collection", fail)
    told = asked.get("/collections/c", headers={**KEY, "origin": PAGE})
    assert told.status_code == 500
    assert told.headers[ALLOWED] == PAGE


def test_without_a_key_a_page_that_was_not_named_sends_nothing(client: Client) -> None:
    result(client.put("/collections/pages", json={"vectors": {"size": 2, "distance": "Dot"}}))
    result(client.put("/collections/pages/points", json={"points": [{"id": 1, "vector": [1, 2]}]}))
    unasked = b'{"points": [1]}'  # a browser sends a body without a type, and forms, without asking ahead
    for origin in (PAGE, "null"):
        refused = client.post("/collections/pages/points/delete", content=unasked, headers={"origin": origin})
        assert "QINCO_CORS_ORIGINS" in sentence(refused, 403)
        refused = client.post(
            "/collections/pages/snapshots/upload", files={"snapshot": b""}, headers={"origin": origin}
        )
        assert "QINCO_CORS_ORIGINS" in sentence(refused, 403)
    assert result(client.get("/collections/pages"))["points_count"] == 1
    own = str(client.base_url).rstrip("/")
    result(client.post("/collections/pages/points/delete", json={"points": [1]}, headers={"origin": own}))


def test_by_default_no_page_may_ask(client: Client) -> None:
    told = client.get("/collections", headers={"origin": PAGE})
    assert told.status_code == 200
    assert ALLOWED not in told.headers
    ahead = {"origin": PAGE, "access-control-request-method": "DELETE"}
    assert ALLOWED not in client.options("/collections/c", headers=ahead).headers


@pytest.mark.parametrize(
    "told", ["*", "http://localhost:3000", "https://a.example, https://b.example:8443", "http://[::1]:80"]
)
def test_origins_are_taken(told: str) -> None:
    assert Settings(cors_origins=told).cors_origins == told


@pytest.mark.parametrize(
    "told", ["", "a.example", "https://a.example/", "https://A.example", "https://a.example,", "ftp://a"]
)
def test_what_is_no_origin_is_refused(told: str) -> None:
    with pytest.raises(ValidationError):
        Settings(cors_origins=told)
