"""Searches that would wait for long are refused at once; no clock decides here."""

import asyncio
from pathlib import Path
from typing import Any

from starlette.types import Message, Receive, Scope, Send

from service.app import create_app
from service.query_admission import AdmitQueries, QueryAdmission
from service.security import KeyCheck
from service.settings import Settings

SEARCH = "/collections/c/points/query"


def _learned(each_s: float, found: int = 0) -> QueryAdmission:
    """One that has answered many requests, each of which found so many before it and took `each_s` for each."""
    admission = QueryAdmission(max_wait_s=0.1)
    for _ in range(200):
        admission.enter()
        admission.leave(found, each_s * (found + 1))
    return admission


def test_as_many_may_be_under_way_as_are_done_in_the_longest_wait() -> None:
    admission = _learned(each_s=0.01)
    while admission.may_enter():
        admission.enter()
    assert admission.under_way in (10, 11)  # a tenth of a second's, and rounding


def test_what_waited_behind_others_is_not_taken_for_slow() -> None:
    alone, behind = _learned(each_s=0.01), _learned(each_s=0.01, found=9)
    alone.enter()
    behind.enter()
    assert abs(alone.wait_s - behind.wait_s) < 1e-6


def test_one_may_always_begin_however_slow_searches_are() -> None:
    admission = _learned(each_s=1000)
    assert admission.may_enter()
    admission.enter()
    assert not admission.may_enter()


def test_nobody_waits_for_another_where_half_of_what_one_takes_is_the_longest_wait() -> None:
    admission = _learned(each_s=0.2)
    admission.enter()
    assert not admission.may_enter()


def test_who_may_have_waited_unheard_has_waited() -> None:
    admission = _learned(each_s=0.01)
    assert admission.may_enter(0.1)
    assert not admission.may_enter(0.11)
    assert "110 ms" in admission.refusal(0.11)
    admission.enter()
    assert not admission.may_enter(0.095)
    assert admission.may_enter()


def test_one_slow_answer_says_little_and_many_are_believed() -> None:
    admission = _learned(each_s=0.01)
    admission.enter()
    before = admission.wait_s
    admission.enter()
    admission.leave(0, 1000)
    assert admission.wait_s < 1.2 * before
    for _ in range(100):
        admission.enter()
        admission.leave(0, 1)
    assert admission.wait_s > 50 * before


def test_a_refusal_says_nothing_of_how_long_searches_take() -> None:
    admission = _learned(each_s=0.01)
    admission.enter()
    before = admission.wait_s
    admission.enter()
    admission.leave(1, None)
    assert admission.wait_s == before


class _App:
    """Answers once it may."""

    def __init__(self) -> None:
        self.may_answer = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body"):
            pass
        await self.may_answer.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})


async def _ask(app: AdmitQueries, path: str = SEARCH, body: asyncio.Queue[Message] | None = None) -> list[Message]:
    sent: list[Message] = []

    async def receive() -> Message:
        return await body.get() if body else {"type": "http.request", "body": b"{}"}

    async def send(message: Message) -> None:
        sent.append(message)

    await app({"type": "http", "method": "POST", "path": path, "headers": []}, receive, send)
    return sent


async def _full(body: asyncio.Queue[Message] | None = None) -> tuple[_App, AdmitQueries, asyncio.Task[Any]]:
    """An app with as many searches under way as may always be, or with one whose body comes from a queue."""
    inner = _App()
    app = AdmitQueries(inner, QueryAdmission(1e-9))
    task = asyncio.create_task(_ask(app, body=body))
    for _ in range(5):
        await asyncio.sleep(0)
    return inner, app, task


def test_one_too_many_gets_429_and_when_to_ask_again() -> None:
    async def ask() -> None:
        inner, app, task = await _full()
        start, body = await _ask(app)
        assert start["status"] == 429
        assert (b"retry-after", b"1") in start["headers"]
        assert b"Ask again in a second" in body["body"]
        inner.may_answer.set()
        assert (await task)[0]["status"] == 200
        assert (await _ask(app))[0]["status"] == 200, "places are given back"

    asyncio.run(ask())


def test_other_calls_are_let_in_beside_searches() -> None:
    async def ask() -> None:
        inner, app, _ = await _full()
        inner.may_answer.set()
        assert (await _ask(app, "/collections/c/points"))[0]["status"] == 200

    asyncio.run(ask())


def test_whoever_sends_slowly_holds_no_place() -> None:
    async def ask() -> None:
        inner, app, task = await _full(body=asyncio.Queue())
        inner.may_answer.set()
        assert (await _ask(app))[0]["status"] == 200
        task.cancel()

    asyncio.run(ask())


def test_the_service_asks_for_a_key_first_and_then_how_long_a_search_would_wait(tmp_path: Path) -> None:
    outermost_first = create_app(Settings(data=tmp_path, max_wait=250)).user_middleware
    kinds: list[object] = [one.cls for one in outermost_first]
    assert kinds.index(KeyCheck) < kinds.index(AdmitQueries)
    admission = outermost_first[kinds.index(AdmitQueries)].kwargs["admission"]
    assert isinstance(admission, QueryAdmission)
    assert admission._max_wait_s == 0.25
