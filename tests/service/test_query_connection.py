"""A query answered past ASGI: however its bytes come, and whatever becomes of it, the client gets what it should."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import Mock

import orjson
import pytest

from index_store import Collection
from model.errors import InvalidVectors
from service import query_connection, quick_queries
from service.query_admission import QueryAdmission
from service.query_batcher import QueryBatcher
from service.query_connection import QueryConnection
from service.quick_queries import QuickQueries
from tests.builders import clustered
from tests.service.conftest import DIM
from tests.service.requests import points, result
from tests.service.service_in_process import Client, wait_until

PATH = "/collections/quick/points/query"
BODY = orjson.dumps({"query": clustered(1, DIM)[0].tolist(), "limit": 1})


@pytest.fixture(scope="module")
def quick(client: Client) -> Client:
    """A client of a service with a collection whose nearest point to BODY is 0."""
    result(client.put("/collections/quick", json={"vectors": {"size": DIM, "distance": "Euclid"}}))
    result(client.put("/collections/quick/points", json=points(clustered(20, DIM))))
    return client


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing may reach the app, however slowly a body follows its head."""
    monkeypatch.setattr(query_connection, "HELD_S", 1000)
    monkeypatch.setattr(QueryConnection, "_start_asgi_task", lambda *_: pytest.fail("the app was asked"))


@contextmanager
def connected(client: Client) -> Iterator[socket.socket]:
    """A connection to the service."""
    with socket.create_connection((client.base_url.host, client.base_url.port or 0), 60) as connection:
        yield connection


def head(*more: str, body: bytes = BODY) -> bytes:
    """What comes before a body."""
    lines = [f"POST {PATH} HTTP/1.1", "Host: x", "Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, *more, "", ""]).encode()


def answers(connection: socket.socket, count: int) -> list[tuple[bytes, Any]]:
    """Head and JSON of so many answers."""
    found: list[tuple[bytes, Any]] = []
    left = b""
    while len(found) < count:
        part = connection.recv(1 << 16)
        assert part, "the connection was closed"
        left += part
        while b"\r\n\r\n" in left:
            top, _, rest = left.partition(b"\r\n\r\n")
            length = int(top.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
            if len(rest) < length:
                break
            found.append((top, orjson.loads(rest[:length])))
            left = rest[length:]
    assert not left
    return found


def ids(told: Any) -> list[int]:
    """Of the points that an answer names."""
    return [point["id"] for point in told["result"]["points"]]


def test_a_plain_query_does_not_reach_the_app(quick: Client, alone: None) -> None:
    with connected(quick) as connection:
        for _ in range(3):
            connection.sendall(head("X-Request-Id: mine") + BODY)
            ((top, told),) = answers(connection, 1)
            assert top.startswith(b"HTTP/1.1 200 OK\r\n")
            assert b"x-request-id: mine" in top
            assert ids(told) == [0]


def test_a_body_that_comes_after_its_head_is_waited_for(quick: Client, alone: None) -> None:
    with connected(quick) as connection:
        for part in (head(), BODY[:20], BODY[20:]):
            connection.sendall(part)
        assert ids(answers(connection, 1)[0][1]) == [0]


def test_a_body_that_lets_itself_be_waited_for_is_left_to_the_app(
    quick: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, begin = threading.Event(), QueryConnection._start_asgi_task
    monkeypatch.setattr(query_connection, "HELD_S", 0)

    def beginning(*them: Any) -> None:
        began.set()
        begin(*them)

    monkeypatch.setattr(QueryConnection, "_start_asgi_task", beginning)
    with connected(quick) as connection:
        connection.sendall(head() + BODY[:20])
        assert began.wait(60)
        connection.sendall(BODY[20:])
        assert ids(answers(connection, 1)[0][1]) == [0]


def test_requests_that_come_together_are_answered_in_their_order(quick: Client) -> None:
    limits = (1, 2, 3, 4)
    with connected(quick) as connection:
        bodies = [orjson.dumps({"query": clustered(1, DIM)[0].tolist(), "limit": limit}) for limit in limits]
        connection.sendall(b"".join(head(body=body) + body for body in bodies))
        assert [len(ids(told)) for _, told in answers(connection, len(limits))] == list(limits)


def test_what_is_no_plain_query_reaches_the_app(quick: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = Mock(wraps=QuickQueries.begin, return_value=False)
    monkeypatch.setattr(QuickQueries, "begin", taken)
    with connected(quick) as connection:
        connection.sendall(head("Connection: close") + BODY)
        top, told = answers(connection, 1)[0]
        assert ids(told) == [0]
        assert b"connection: close" in top
        assert connection.recv(1) == b""
    assert quick.put(PATH, content=BODY).status_code == 405
    assert quick.post(PATH, content=BODY, headers={"content-encoding": "gzip"}).status_code == 415
    assert quick.post(PATH, content=iter([BODY]), headers={"content-type": "application/json"}).status_code == 200
    assert not taken.called


def test_what_goes_wrong_while_searching_is_told(
    quick: Client, alone: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for wrong, status in ((InvalidVectors("No vector."), 400), (ZeroDivisionError("A bug."), 500)):
        monkeypatch.setattr(Collection, "query", Mock(side_effect=wrong))
        answer = quick.post(PATH, content=BODY, headers={"content-type": "application/json"})
        assert answer.status_code == status
        assert ("No vector." if status == 400 else "ZeroDivisionError") in answer.json()["status"]["error"]
    assert "Answering a query failed" in caplog.text


def test_what_goes_wrong_with_an_answer_is_told(
    quick: Client, alone: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(quick_queries, "shown", Mock(side_effect=ZeroDivisionError("A bug.")))
    answer = quick.post(PATH, content=BODY, headers={"content-type": "application/json"})
    assert answer.status_code == 500
    assert "ZeroDivisionError" in answer.json()["status"]["error"]
    assert "Answering a query failed" in caplog.text


def test_a_query_that_would_wait_too_long_is_refused_without_the_app(
    quick: Client, alone: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with connected(quick) as connection:
        with monkeypatch.context() as patch:
            patch.setattr(QueryAdmission, "may_enter", Mock(return_value=False))
            connection.sendall(head("X-Request-Id: mine") + BODY)
            top, told = answers(connection, 1)[0]
        assert top.startswith(b"HTTP/1.1 429 ")
        assert b"retry-after: 1" in top
        assert b"x-request-id: mine" in top
        assert "Ask again in a second" in told["status"]["error"]
        connection.sendall(head() + BODY)
        assert ids(answers(connection, 1)[0][1]) == [0]
    monkeypatch.undo()
    metrics = quick.get("/metrics").text
    assert 'route="/collections/{collection_name}/points/query",status="429"' in metrics


def test_a_client_that_asks_on_was_not_kept_waiting_by_its_own_query(
    quick: Client, alone: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    unheard = Mock(return_value=0.0)
    monkeypatch.setattr(QueryBatcher, "unheard_s", unheard)
    began = time.monotonic()
    with connected(quick) as connection:
        for _ in range(2):
            connection.sendall(head() + BODY)
            answers(connection, 1)
    assert [since > began for (since,) in (call.args for call in unheard.call_args_list)] == [False, True]


def test_a_client_may_go_away_before_its_answer(
    quick: Client, alone: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    delivered: list[bool] = []
    answer = query_connection._Turn.answer

    def answering(self: Any, *what: Any) -> None:
        self.disconnected = True  # what the connection says once it is lost
        answer(self, *what)
        delivered.append(True)

    monkeypatch.setattr(query_connection._Turn, "answer", answering)
    with connected(quick) as connection:
        connection.sendall(head() + BODY)
        wait_until(lambda: bool(delivered))
    assert not [one for one in caplog.records if one.levelname == "ERROR"]
