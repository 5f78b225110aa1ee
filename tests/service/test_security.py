"""Keys: every route × no key, a wrong one, the read-only one, the admin's."""

from collections.abc import Iterator

import httpx
import pytest
from pydantic import SecretStr

from service.app import ROUTES
from service.security import OPEN
from tests.service.requests import sentence
from tests.service.service_in_process import Client, running
from tests.told import ADMIN_KEY, READER_KEY

ADMIN, READER = {"api-key": ADMIN_KEY}, {"api-key": READER_KEY}
READING_POSTS = (
    "/facet", "/points", "/points/scroll", "/points/count", "/points/query", "/points/query/batch",
    "/points/query/array", "/points/query/groups", "/points/search/matrix/pairs", "/points/search/matrix/offsets",
    "/points/search", "/points/search/batch", "/points/search/groups", "/points/recommend", "/points/recommend/batch",
    "/points/recommend/groups", "/points/discover", "/points/discover/batch",
)  # fmt: skip


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("locked")
    with running(folder, api_key=SecretStr(ADMIN_KEY), read_only_api_key=SecretStr(READER_KEY)) as client:
        yield client


@pytest.mark.parametrize(("method", "path"), [*ROUTES, ("GET", "/openapi.json"), ("GET", "/nothing")])
def test_a_key_opens_what_it_may(locked: Client, method: str, path: str) -> None:
    url = path.format(collection_name="c", model_name="m", job_id="j", id="1", snapshot_name="s", field_name="f")
    if (method, path) in OPEN:
        assert locked.request(method, url).status_code == 200
        return
    for headers in (
        {},
        {"api-key": "wrong"},
        {"api-key": ""},
        {"Authorization": f"Basic {ADMIN_KEY}"},
        {"api-key": "admi\u00f1".encode("latin-1")},
    ):
        refused = locked.request(method, url, headers=httpx.Headers(headers))  # type: ignore[arg-type]
        assert refused.status_code == 401
        assert refused.headers["content-type"].startswith("text/plain")
    reads = method == "GET" or (method == "POST" and url.removeprefix("/collections/c") in READING_POSTS)
    as_reader = locked.request(method, url, headers=READER)
    assert (as_reader.status_code != 403) == reads
    if not reads:
        assert "read-only" in sentence(as_reader, 403)
    assert locked.request(method, url, headers=ADMIN).status_code not in (401, 403)
    assert locked.request(method, url, headers={"Authorization": f"Bearer {ADMIN_KEY}"}).status_code not in (401, 403)


def test_a_refused_body_is_not_read() -> None:
    """Told by the middleware's own receive channel, which must not be asked."""
    import asyncio

    from service.security import KeyCheck

    async def unread() -> dict[str, object]:
        raise AssertionError("the body was read")

    sent: list[dict[str, object]] = []

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "PUT", "path": "/collections/c/points", "headers": [(b"api-key", b"wrong")]}
    check = KeyCheck(None, SecretStr(ADMIN_KEY), None)  # type: ignore[arg-type]
    asyncio.run(check(scope, unread, send))  # type: ignore[arg-type]
    assert sent[0]["status"] == 401
    assert (b"connection", b"close") in sent[0]["headers"]  # type: ignore[operator]
