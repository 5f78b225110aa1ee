"""Queries that wait at the same moment for the same collection and parameters are answered together."""

import asyncio
import itertools
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from functools import cached_property, partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from index_store import Collection, Hit, SearchPlan, SearchTrace
from index_store.filters import Filter
from model.errors import QincoError
from service.errors import Overloaded, TookTooLong
from service.metrics import Metrics
from service.query_threads import QueryThreads
from service.solitude import ROUNDS, Solitude, after_rounds

Result = TypeVar("Result")

ENOUGH = 16
"""Queries for which another pass of the same kind begins before the one under way has ended."""

LONG_S = 0.02
"""So long after a pass began, nobody waits for its end while a thread is free: it is an exact search, or alike."""


@dataclass(frozen=True)
class Question:
    """What queries answered by one pass have in common. `filter_json` stands for the filter when comparing."""

    collection: str
    plan: SearchPlan
    using: str = "default"
    filter_json: bytes = b""
    with_payload: bool = False
    with_vector: tuple[str, ...] = ()

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        # Each query looks for its group several times, and the plan alone has ten fields.
        return hash(tuple(getattr(self, one.name) for one in fields(self)))


@dataclass
class _Waiting:
    queries: NDArray[np.float32]  # [q, dim]
    answered: asyncio.Future[list[list[Hit]]]


@dataclass
class _Group:
    """Queries that one pass may answer together; `passes` of it are under way, the latest since `began`."""

    key: tuple[int, Question]
    collection: Collection
    filter: Filter | None
    waiting: list[_Waiting] = field(default_factory=list)
    passes: int = 0
    began: float = 0.0

    def may_begin(self) -> bool:
        if not self.waiting:
            return False
        enough = not self.passes or sum(len(one.queries) for one in self.waiting) >= ENOUGH
        return enough or time.monotonic() - self.began >= LONG_S


def _joined(batch: list[_Waiting]) -> NDArray[np.float32]:
    """The queries of all, [q, dim]."""
    return batch[0].queries if len(batch) == 1 else np.concatenate([one.queries for one in batch])


def _give_up(one: _Waiting, limit_s: float) -> None:
    if not one.answered.done():
        told = f"The query was not answered within {limit_s:g} s; the service is busy."
        one.answered.set_exception(TookTooLong(told))


_Outcome = list[list[Hit]] | BaseException | None


class QueryBatcher:
    """Hands groups of queries to a few threads. A query that finds all of them free does not wait for company.

    While a pass is under way others like it wait for its end, and are then answered together, which takes less than one
    by one beside it; as many as ENOUGH take another thread, and so do those who would wait for longer than LONG_S.
    Where queries have had company of late, a pass begins once those are read that have come already.

    A query that comes alone, and is of a quick kind, is searched by the event loop itself.

    At most `max_queued` query vectors wait; further ones raise Overloaded.
    """

    def __init__(self, threads: int, max_batch: int, max_queued: int, timeout_s: float, metrics: Metrics) -> None:
        self._threads = QueryThreads(threads)
        self._free = self._count_of_threads = threads
        self._solitude = Solitude()
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
        loop = asyncio.get_running_loop()
        one = _Waiting(queries, loop.create_future())
        if self._may_search_here(collection, question, one, filter):
            return self._search_here(_Group((id(collection), question), collection, filter), one)
        self._enqueue(collection, question, filter, one)
        limit_s = min(timeout_s or self._timeout_s, self._timeout_s)
        timer = loop.call_later(limit_s, _give_up, one, limit_s)  # a third of what `asyncio.timeout` takes
        try:
            return await one.answered
        finally:
            timer.cancel()

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

    def _may_search_here(
        self, collection: Collection, question: Question, one: _Waiting, filter: Filter | None
    ) -> bool:
        is_plain = len(one.queries) == 1 and filter is None and not question.with_vector  # no lock is waited for
        others = self._queued > 0 or self._free < self._count_of_threads
        return self._solitude.holds_for((id(collection), question), others) and is_plain

    def _search_here(self, group: _Group, one: _Waiting) -> list[list[Hit]]:
        self.asked += 1
        started = time.monotonic()
        try:
            return self._pass(group, one.queries)
        finally:
            self._solitude.note(group.key, time.monotonic() - started)
            self._solitude.look_who_came()

    def _enqueue(self, collection: Collection, question: Question, filter: Filter | None, one: _Waiting) -> None:
        key = id(collection), question
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = _Group(key, collection, filter)
        group.waiting.append(one)
        self._count(len(one.queries))
        if self._solitude.had_company and not group.passes:
            if len(group.waiting) == 1:
                after_rounds(ROUNDS, self._dispatch)
            return
        self._dispatch()
        if len(group.waiting) == 1 and group.passes and self._free:
            late_s = 0.001  # an event loop counts in milliseconds
            asyncio.get_running_loop().call_later(group.began + LONG_S + late_s - time.monotonic(), self._dispatch)

    def _dispatch(self) -> None:
        while self._free and (group := next(filter(_Group.may_begin, self._groups.values()), None)) is not None:
            batch = self._next_batch(group)
            if batch:
                self._free -= 1
                group.passes, group.began = group.passes + 1, time.monotonic()
                done = partial(self._hand_out, group, batch)
                self._threads.run(partial(self._search, group, batch)).add_done_callback(done)
            elif not group.waiting and not group.passes:
                del self._groups[group.key]

    def _next_batch(self, group: _Group) -> list[_Waiting]:
        """Those who wait, or as many as one pass may take; those who gave up are left out."""
        taken, size = 0, 0
        for one in group.waiting:
            if taken and size + len(one.queries) > self._max_batch:
                break
            taken, size = taken + 1, size + len(one.queries)
        batch, group.waiting = group.waiting[:taken], group.waiting[taken:]
        if group.waiting:
            self._groups.move_to_end(group.key)
        self._count(-size)
        return [one for one in batch if not one.answered.done()]

    def _hand_out(self, group: _Group, batch: list[_Waiting], outcome: "asyncio.Future[list[_Outcome]]") -> None:
        self._free += 1
        group.passes -= 1
        if not group.waiting and not group.passes:
            del self._groups[group.key]
        failure = None if outcome.cancelled() else outcome.exception()
        self._solitude.note(group.key, (time.monotonic() - group.began) / len(batch))
        found = [failure] * len(batch) if outcome.cancelled() or failure else outcome.result()
        for one, mine in zip(batch, found, strict=True):
            if one.answered.done():
                continue
            if mine is None:
                one.answered.cancel()
            elif isinstance(mine, BaseException):
                one.answered.set_exception(mine)
            else:
                one.answered.set_result(mine)
        self._dispatch()

    def _search(self, group: _Group, batch: list[_Waiting]) -> list[_Outcome]:
        """What each of those who wait gets; what is wrong with the queries of one is told to that one alone."""
        try:
            hits = self._pass(group, _joined(batch))
        except QincoError as error:
            return [error] if len(batch) == 1 else [self._alone(group, one) for one in batch]
        ends = itertools.accumulate(len(one.queries) for one in batch)
        return [hits[end - len(one.queries) : end] for one, end in zip(batch, ends, strict=True)]

    def _alone(self, group: _Group, one: _Waiting) -> _Outcome:
        try:
            return self._pass(group, one.queries)
        except QincoError as error:
            return error

    def _pass(self, group: _Group, queries: NDArray[np.float32]) -> list[list[Hit]]:
        started = time.perf_counter()
        _, question = group.key
        trace = SearchTrace()
        hits = group.collection.query(
            queries,
            question.plan,
            using=question.using,
            filter=group.filter,
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
