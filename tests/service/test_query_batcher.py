"""Queries that wait together are answered together; too many are told to come back."""

import asyncio
import threading
from typing import Any

import numpy as np
import pytest

from index_store import Hit, SearchPlan
from model.errors import InvalidVectors
from service.errors import Overloaded, TookTooLong
from service.metrics import Metrics
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


def test_what_waits_for_the_same_is_answered_by_one_pass() -> None:
    collection = _Collection()

    async def ask() -> list[list[list[Hit]]]:
        batcher = _batcher()
        asked = [asyncio.ensure_future(batcher.query(collection, QUESTION, _one(i))) for i in range(10)]  # type: ignore[arg-type]
        await asyncio.sleep(0)
        collection.may_answer.set()
        answers = await asyncio.gather(*asked)
        batcher.close()
        return answers

    answers = asyncio.run(ask())
    assert [answer[0][0].id for answer in answers] == list(range(10))
    assert collection.batches == [1, 9]


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
    assert sorted(collection.batches) == [1, 1, 1, 3]


def test_beyond_the_queue_it_is_overloaded_and_a_long_wait_ends() -> None:
    collection = _Collection()

    async def ask() -> None:
        batcher = _batcher(max_queued=2, timeout_s=0.05)
        asked = [asyncio.ensure_future(batcher.query(collection, QUESTION, _one(i))) for i in range(3)]  # type: ignore[arg-type]
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
        asked = [asyncio.ensure_future(batcher.query(collection, QUESTION, _one(i))) for i in range(6)]  # type: ignore[arg-type]
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
        asked = []
        for number in range(ENOUGH + 1):
            asked.append(asyncio.ensure_future(batcher.query(collection, QUESTION, _one(number))))  # type: ignore[arg-type]
            await asyncio.sleep(0)
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
        asked = [asyncio.ensure_future(batcher.query(collection, QUESTION, _one(i))) for i in range(3)]  # type: ignore[arg-type]
        async with asyncio.timeout(9):
            while batcher._free:  # the first takes a thread, and the others the second once they have waited
                await asyncio.sleep(0.001)
        collection.may_answer.set()
        await asyncio.gather(*asked)
        batcher.close()

    asyncio.run(ask())
    assert sum(collection.batches) == 3
