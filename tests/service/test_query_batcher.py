"""Queries that wait together are answered together; too many are told to come back."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest

from index_store import Hit, SearchPlan
from model.errors import InvalidVectors
from service.errors import Overloaded, TookTooLong
from service.metrics import Metrics
from service.pace import Pace
from service.query_batcher import ENOUGH, QueryBatcher, Question

QUESTION = Question("c", SearchPlan(limit=1))


class _Collection:
    """Answers each query with its first number as id, once it may."""

    def __init__(self) -> None:
        self.may_answer = threading.Event()
        self.batches: list[int] = []

    def query(self, queries: np.ndarray, plan: SearchPlan, **_: Any) -> list[list[Hit]]:
        self.may_answer.wait(10)
        self.batches.append(len(queries))
        return [[Hit(int(query[0]), 0, 0.0)] for query in queries]


def _one(value: int) -> np.ndarray:
    return np.full((1, 2), value, np.float32)


def _batcher(**limits: Any) -> QueryBatcher:
    chosen = {"threads": 1, "max_batch": 64, "max_queued": 100, "timeout_s": 10.0} | limits
    return QueryBatcher(**chosen, metrics=Metrics(0))


def _asking(batcher: QueryBatcher, collection: _Collection, *values: int) -> "list[asyncio.Future[list[list[Hit]]]]":
    return [asyncio.ensure_future(batcher.query(collection, QUESTION, _one(value))) for value in values]  # type: ignore[arg-type]


async def _begun(batcher: QueryBatcher) -> None:
    """All is read that has come, and passes have begun that may."""
    await asyncio.sleep(0)
    while batcher._will_look:
        await asyncio.sleep(0)


def test_what_waits_for_the_same_is_answered_by_one_pass() -> None:
    collection = _Collection()

    async def ask() -> list[list[list[Hit]]]:
        batcher = _batcher()
        asked = _asking(batcher, collection, *range(10))
        await asyncio.sleep(0)
        collection.may_answer.set()
        answers = await asyncio.gather(*asked)
        batcher.close()
        return answers

    answers = asyncio.run(ask())
    assert [answer[0][0].id for answer in answers] == list(range(10))
    assert collection.batches == [10]


def test_other_parameters_are_another_pass_and_a_pass_has_a_largest_size() -> None:
    collection = _Collection()
    other = Question("c", SearchPlan(limit=2))

    async def ask() -> None:
        batcher = _batcher(max_batch=3)
        questions = [QUESTION, QUESTION, other, QUESTION, QUESTION, QUESTION]
        asked = [asyncio.ensure_future(batcher.query(collection, one, _one(0))) for one in questions]  # type: ignore[arg-type]
        await asyncio.sleep(0)
        collection.may_answer.set()
        await asyncio.gather(*asked)
        batcher.close()

    asyncio.run(ask())
    assert sorted(collection.batches) == [1, 2, 3]


def test_beyond_the_queue_it_is_overloaded_and_a_long_wait_ends() -> None:
    collection = _Collection()

    async def ask() -> None:
        batcher = _batcher(max_queued=2, timeout_s=0.05)
        asked = _asking(batcher, collection, 0)
        await _begun(batcher)
        asked += _asking(batcher, collection, 1, 2)
        await asyncio.sleep(0)
        with pytest.raises(Overloaded, match="2 queries wait already"):
            await batcher.query(collection, QUESTION, _one(9))  # type: ignore[arg-type]
        for one in asked:
            with pytest.raises(TookTooLong):
                await one
        collection.may_answer.set()
        batcher.close()

    asyncio.run(ask())


def test_what_is_wrong_with_one_query_is_told_to_that_one_alone() -> None:
    class Choosy(_Collection):
        def query(self, queries: np.ndarray, plan: SearchPlan, **more: Any) -> list[list[Hit]]:
            if (queries == 3).any():
                raise InvalidVectors("Three is no vector.")
            return super().query(queries, plan, **more)

    collection = Choosy()

    async def ask() -> list[Any]:
        batcher = _batcher()
        asked = _asking(batcher, collection, *range(6))
        await asyncio.sleep(0)
        collection.may_answer.set()
        answers = await asyncio.gather(*asked, return_exceptions=True)
        batcher.close()
        return answers

    answers = asyncio.run(ask())
    assert isinstance(answers.pop(3), InvalidVectors)
    assert [answer[0][0].id for answer in answers] == [0, 1, 2, 4, 5]


def test_a_pass_is_waited_for_by_others_like_it_until_they_are_enough_for_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("service.query_batcher.LONG_S", 1000)
    collection = _Collection()

    async def ask() -> list[Any]:
        batcher = _batcher(threads=2)
        asked: list[Any] = []
        for number in range(ENOUGH + 1):
            asked += _asking(batcher, collection, number)
            await _begun(batcher)
            assert batcher._free == (0 if number == ENOUGH else 1)
        collection.may_answer.set()
        answers = await asyncio.gather(*asked)
        assert not batcher._groups
        batcher.close()
        return answers

    assert [answer[0][0].id for answer in asyncio.run(ask())] == list(range(ENOUGH + 1))
    assert sorted(collection.batches) == [1, ENOUGH]


def test_nobody_waits_for_a_long_pass_while_a_thread_is_free() -> None:
    collection = _Collection()

    async def ask() -> None:
        batcher = _batcher(threads=2)
        asked = _asking(batcher, collection, 0)
        await _begun(batcher)
        asked += _asking(batcher, collection, 1, 2)
        async with asyncio.timeout(9):
            while batcher._free:  # the first takes a thread, and the others the second once they have waited
                await asyncio.sleep(0.001)
        collection.may_answer.set()
        await asyncio.gather(*asked)
        batcher.close()

    asyncio.run(ask())
    assert sum(collection.batches) == 3


class _Telling(_Collection):
    """Says which threads it was asked from."""

    def __init__(self) -> None:
        super().__init__()
        self.may_answer.set()
        self.threads: list[str] = []

    def query(self, queries: np.ndarray, plan: SearchPlan, **more: Any) -> list[list[Hit]]:
        self.threads.append("loop" if threading.current_thread() is threading.main_thread() else "thread")
        return super().query(queries, plan, **more)


def _threads_asked(monkeypatch: pytest.MonkeyPatch, here_s: float, ask: Callable[[Any], Awaitable[None]]) -> list[str]:
    """By whom the queries of `ask`, which is given a function that sends one, were searched."""
    monkeypatch.setattr("service.query_batcher.HERE_S", here_s)
    collection = _Telling()

    async def run() -> None:
        batcher = _batcher(threads=2)
        await ask(lambda question=QUESTION, n=1: batcher.query(collection, question, np.repeat(_one(0), n, 0)))  # type: ignore[arg-type]
        batcher.close()

    asyncio.run(run())
    return collection.threads


def test_the_loop_searches_for_queries_of_a_kind_that_is_known_to_be_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    async def ask(send: Any) -> None:
        for _ in range(2):
            await send()
        await asyncio.gather(send(), send())  # by one pass
        await send(Question("c", SearchPlan(limit=1), with_vector=("default",)))

    assert _threads_asked(monkeypatch, 1e9, ask) == ["thread", "loop", "loop", "thread"]


def test_the_loop_leaves_what_takes_long_to_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    async def ask(send: Any) -> None:
        await send()
        await send()

    assert _threads_asked(monkeypatch, 0, ask) == ["thread", "thread"]


def test_the_loop_searches_for_no_more_than_it_has_time_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pace, "queries_within", lambda *_: 2)

    async def ask(send: Any) -> None:
        await asyncio.gather(send(), send(), send())  # by two passes
        await send(n=3)

    assert _threads_asked(monkeypatch, 1, ask) == ["loop", "loop", "thread"]


def test_what_came_while_the_loop_searched_was_not_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pace, "queries_within", lambda *_: 1)
    heard: list[float] = []

    async def ask() -> None:
        batcher, before = _batcher(), time.monotonic()
        batcher.ask(_Telling(), QUESTION, _one(0), None, lambda _: heard.append(batcher.unheard_s(0)))  # type: ignore[arg-type]
        while not heard:  # during the pass
            await asyncio.sleep(0)
        heard.extend((batcher.unheard_s(before), batcher.unheard_s(time.monotonic())))
        for _ in range(3):
            await asyncio.sleep(0)
        heard.append(batcher.unheard_s(before))
        batcher.close()

    asyncio.run(ask())
    during, came_meanwhile, came_after, later = heard
    assert during == came_after == later == 0
    assert came_meanwhile > 0


def test_what_is_wrong_with_a_query_that_the_loop_searches_for_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async def ask(send: Any) -> None:
        await send()
        for wrong in (InvalidVectors("No vector."), ZeroDivisionError("A bug.")):
            monkeypatch.setattr(_Collection, "query", Mock(side_effect=wrong))
            with pytest.raises(type(wrong)):
                await send()

    assert _threads_asked(monkeypatch, 1e9, ask) == ["thread", "loop", "loop"]
