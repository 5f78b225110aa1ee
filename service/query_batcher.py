"""Queries that wait at the same moment for the same collection and parameters are answered together."""

import asyncio
import itertools
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from index_store import Collection, Hit, SearchPlan, SearchTrace
from index_store.filters import Filter
from model.errors import QincoError
from service.errors import Overloaded, TookTooLong
from service.metrics import Metrics
from service.query_threads import QueryThreads

Result = TypeVar("Result")


@dataclass(frozen=True)
class Question:
    """What queries answered by one pass have in common. `filter_json` stands for the filter when comparing."""

    collection: str
    plan: SearchPlan
    using: str = "default"
    filter_json: bytes = b""
    with_payload: bool = False
    with_vector: tuple[str, ...] = ()


@dataclass
class _Waiting:
    queries: NDArray[np.float32]  # [q, dim]
    answered: asyncio.Future[list[list[Hit]]]


@dataclass
class _Group:
    collection: Collection
    question: Question
    filter: Filter | None
    waiting: list[_Waiting]


_Outcome = list[list[Hit]] | BaseException | None


class QueryBatcher:
    """Hands groups of queries to a few threads. A query that finds a thread free does not wait for company.

    At most `max_queued` query vectors wait; further ones raise Overloaded.
    """

    def __init__(self, threads: int, max_batch: int, max_queued: int, timeout_s: float, metrics: Metrics) -> None:
        self._threads = QueryThreads(threads)
        self._free = threads
        self._max_batch = max_batch
        self._max_queued = max_queued
        self._timeout_s = timeout_s
        self._metrics = metrics
        self._groups: OrderedDict[tuple[int, Question], _Group] = OrderedDict()  # oldest first
        self._queued = 0
        self.asked = 0  # queries since the start

    async def query(
        self,
        collection: Collection,
        question: Question,
        queries: NDArray[np.float32],
        filter: Filter | None = None,
        timeout_s: float | None = None,
    ) -> list[list[Hit]]:
        """The hits of each query, float32 [q, dim]; the filter must be the one that `question.filter_json` tells."""
        if self._queued and self._queued + len(queries) > self._max_queued:
            raise Overloaded(
                f"{self._queued} queries wait already; at most {self._max_queued} may. Ask again in a second."
            )
        one = _Waiting(queries, asyncio.get_running_loop().create_future())
        self._enqueue(collection, question, filter, one)
        limit_s = min(timeout_s or self._timeout_s, self._timeout_s)
        try:
            async with asyncio.timeout(limit_s):  # `wait_for` would put another future in between
                return await one.answered
        except TimeoutError as error:
            raise TookTooLong(f"The query was not answered within {limit_s:g} s; the service is busy.") from error

    async def run(self, collection: str, work: Callable[[], Result], timeout_s: float | None = None) -> Result:
        """Does what is no search by one vector, but costs as much, in the same threads; counted as one query."""
        limit_s = min(timeout_s or self._timeout_s, self._timeout_s)
        if self._queued >= self._max_queued:
            raise Overloaded(
                f"{self._queued} queries wait already; at most {self._max_queued} may. Ask again in a second."
            )
        self._count(1)
        try:
            async with asyncio.timeout(limit_s):
                return await self._threads.run(work)
        except TimeoutError as error:
            raise TookTooLong(f"The query was not answered within {limit_s:g} s; the service is busy.") from error
        finally:
            self._count(-1)
            self._metrics.counter("qinco_queries_total", self._metrics.collection_label(collection)).inc()

    def close(self) -> None:
        self._threads.close()

    def _enqueue(self, collection: Collection, question: Question, filter: Filter | None, one: _Waiting) -> None:
        group = self._groups.setdefault((id(collection), question), _Group(collection, question, filter, []))
        group.waiting.append(one)
        self._count(len(one.queries))
        self._dispatch()

    def _dispatch(self) -> None:
        while self._free and self._groups:
            batch = self._next_batch()
            if batch.waiting:
                self._free -= 1
                self._threads.run(partial(self._search, batch)).add_done_callback(partial(self._hand_out, batch))

    def _next_batch(self) -> _Group:
        """The oldest group, or as much of it as one pass may take; those who gave up are left out."""
        key, group = next(iter(self._groups.items()))
        taken, size = 0, 0
        for one in group.waiting:
            if taken and size + len(one.queries) > self._max_batch:
                break
            taken, size = taken + 1, size + len(one.queries)
        batch, group.waiting = group.waiting[:taken], group.waiting[taken:]
        if not group.waiting:
            del self._groups[key]
        else:
            self._groups.move_to_end(key)
        self._count(-size)
        return _Group(group.collection, group.question, group.filter, [one for one in batch if not one.answered.done()])

    def _hand_out(self, batch: _Group, outcome: "asyncio.Future[list[_Outcome]]") -> None:
        self._free += 1
        failure = None if outcome.cancelled() else outcome.exception()
        found = [failure] * len(batch.waiting) if outcome.cancelled() or failure else outcome.result()
        for one, mine in zip(batch.waiting, found, strict=True):
            if one.answered.done():
                continue
            if mine is None:
                one.answered.cancel()
            elif isinstance(mine, BaseException):
                one.answered.set_exception(mine)
            else:
                one.answered.set_result(mine)
        self._dispatch()

    def _search(self, batch: _Group) -> list[_Outcome]:
        """What each of those who wait gets; what is wrong with the queries of one is told to that one alone."""
        try:
            hits = self._pass(batch, np.concatenate([one.queries for one in batch.waiting]))  # [q, dim]
        except QincoError as error:
            return [error] if len(batch.waiting) == 1 else [self._alone(batch, one) for one in batch.waiting]
        ends = itertools.accumulate(len(one.queries) for one in batch.waiting)
        return [hits[end - len(one.queries) : end] for one, end in zip(batch.waiting, ends, strict=True)]

    def _alone(self, batch: _Group, one: _Waiting) -> _Outcome:
        try:
            return self._pass(batch, one.queries)
        except QincoError as error:
            return error

    def _pass(self, batch: _Group, queries: NDArray[np.float32]) -> list[list[Hit]]:
        started = time.perf_counter()
        question = batch.question
        trace = SearchTrace()
        hits = batch.collection.query(
            queries,
            question.plan,
            using=question.using,
            filter=batch.filter,
            with_payload=question.with_payload,
            with_vector=question.with_vector,
            trace=trace,
        )
        for stage, seconds in {"total": time.perf_counter() - started, **trace.seconds}.items():
            self._metrics.histogram("qinco_query_seconds", stage).observe(seconds)
        self._metrics.counter("qinco_queries_total", self._metrics.collection_label(question.collection)).inc(
            len(queries)
        )
        self._metrics.histogram("qinco_query_batch_size").observe(len(queries))
        return hits

    def _count(self, queries: int) -> None:
        self._queued += queries
        self.asked += max(0, queries)
        self._metrics.gauge("qinco_queued_queries").set(self._queued)
