"""Queries that wait at the same moment for the same collection and parameters are answered together."""

import asyncio
import itertools
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property, partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from index_store import Collection, Hit, SearchPlan, SearchTrace
from index_store.filters import Filter
from model.errors import QincoError
from service.errors import Overloaded, TookTooLong
from service.metrics import STAGES, Metrics
from service.pace import Pace, Stopwatch
from service.query_threads import QueryThreads

Result = TypeVar("Result")

ENOUGH = 16
"""Queries for which another pass of the same kind begins before the one under way has ended."""

LONG_S = 0.02
"""So long after a pass began, nobody waits for its end while a thread is free: it is an exact search, or alike."""

COMPANY = 32
"""So many may search together; with fewer the loop listens once more, as long as others come: alone each costs more."""

HERE_S = 0.015
"""So long the event loop may search before it listens again."""


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


Outcome = list[list[Hit]] | BaseException
"""The hits of each query, or why there are none; `asyncio.CancelledError` where the service stopped before."""

Deliver = Callable[[Outcome], None]
_Pass = tuple[list[Outcome], float]


@dataclass(eq=False)
class _Waiting:
    """Queries of one caller, who is told of the outcome once, on the event loop."""

    queries: NDArray[np.float32]  # [q, dim]
    deliver: Deliver
    timer: asyncio.TimerHandle | None = None
    is_over: bool = False

    def settle(self, outcome: Outcome) -> None:
        if not self.is_over:
            self.let_go()
            self.deliver(outcome)

    def let_go(self) -> None:
        """Nobody waits any more."""
        self.is_over = True
        if self.timer is not None:
            self.timer.cancel()


_Key = tuple[int, Question]


@dataclass
class _Group:
    """Queries that one pass may answer together; `passes` of it are under way, the latest since `began`."""

    key: _Key
    collection: Collection
    filter: Filter | None
    waiting: list[_Waiting] = field(default_factory=list)
    passes: int = 0
    began: float = 0.0

    def may_search_here(self) -> bool:
        """Whether its queries wait for no lock, nor for a filter that may take long."""
        return self.filter is None and not self.key[1].with_vector

    def may_begin(self) -> bool:
        """Whether another pass may begin in a thread."""
        if not self.waiting:
            return False
        enough = not self.passes or sum(len(one.queries) for one in self.waiting) >= ENOUGH
        return enough or time.monotonic() - self.began >= LONG_S


def _joined(batch: list[_Waiting]) -> NDArray[np.float32]:
    """The queries of all, [q, dim]."""
    return batch[0].queries if len(batch) == 1 else np.concatenate([one.queries for one in batch])


def _give_up(one: _Waiting, limit_s: float) -> None:
    one.settle(TookTooLong(f"The query was not answered within {limit_s:g} s; the service is busy."))


def _settle(answered: "asyncio.Future[list[list[Hit]]]", outcome: Outcome) -> None:
    if answered.done():
        return
    if isinstance(outcome, asyncio.CancelledError):
        answered.cancel()
    elif isinstance(outcome, BaseException):
        answered.set_exception(outcome)
    else:
        answered.set_result(outcome)


class QueryBatcher:
    """Searches for all that came meanwhile in one pass: quick ones on the event loop, others in a few threads.

    The loop reads what has come, searches, and writes the answers; while it searches, those come who will be next. A
    search in a thread beside it would take turns with it for the interpreter, and wait for it at every turn.

    What takes long, or may wait for a lock, goes to a thread. While a pass is under way there, others like it wait for
    its end, and are then answered together, which takes less than one by one beside it; as many as ENOUGH take another
    thread, and so do those who would wait for longer than LONG_S.

    At most `max_queued` query vectors wait; further ones raise Overloaded.
    """

    def __init__(
        self,
        threads: int,
        max_batch: int,
        max_queued: int,
        timeout_s: float,
        metrics: Metrics,
        pace: Pace | None = None,
    ) -> None:
        """pace  how long kinds of queries take, as far as that is known"""
        self._threads = QueryThreads(threads)
        self._free = threads
        self._pace = pace or Pace()
        self._max_batch = max_batch
        self._max_queued = max_queued
        self._timeout_s = timeout_s
        self._metrics = metrics
        metrics.gauge("qinco_queued_queries").set_function(lambda: self._queued)
        self._seconds = {stage: metrics.histogram("qinco_query_seconds", stage) for stage in STAGES}
        self._batch_sizes = metrics.histogram("qinco_query_batch_size")
        self._groups: OrderedDict[_Key, _Group] = OrderedDict()  # oldest first
        self._will_look = False
        self._queued = 0
        self._deaf_since: float | None = None  # when the pass began that what is heard now came after, or during
        self._deaf_s = 0.0
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
        answered: asyncio.Future[list[list[Hit]]] = asyncio.get_running_loop().create_future()
        one = self._enqueue(collection, question, queries, filter, partial(_settle, answered), timeout_s)
        try:
            return await answered
        finally:
            one.let_go()

    def ask(
        self,
        collection: Collection,
        question: Question,
        queries: NDArray[np.float32],
        filter: Filter | None,
        deliver: Deliver,
    ) -> None:
        """The same, without a task: `deliver` gets the outcome in a later turn of the event loop."""
        self._enqueue(collection, question, queries, filter, deliver, None)

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

    def _enqueue(
        self,
        collection: Collection,
        question: Question,
        queries: NDArray[np.float32],
        filter: Filter | None,
        deliver: Deliver,
        timeout_s: float | None,
    ) -> _Waiting:
        if self._queued and self._queued + len(queries) > self._max_queued:
            raise Overloaded(
                f"{self._queued} queries wait already; at most {self._max_queued} may. Ask again in a second."
            )
        one = _Waiting(queries, deliver)
        limit_s = min(timeout_s or self._timeout_s, self._timeout_s)
        one.timer = asyncio.get_running_loop().call_later(limit_s, _give_up, one, limit_s)
        key = id(collection), question
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = _Group(key, collection, filter)
        group.waiting.append(one)
        self._count(len(queries))
        self._look_soon()
        if len(group.waiting) == 1 and group.passes and self._free:
            late_s = 0.001  # an event loop counts in milliseconds
            asyncio.get_running_loop().call_later(group.began + LONG_S + late_s - time.monotonic(), self._dispatch)
        return one

    def _look_soon(self) -> None:
        """Let passes begin once all is read that has come."""
        if not self._will_look:
            self._will_look = True
            asyncio.get_running_loop().call_soon(self._look, 0)

    def _look(self, heard: int) -> None:
        """Begin what may begin, unless more were heard in this turn of the loop than the `heard` before."""
        if heard < self._queued <= COMPANY:
            asyncio.get_running_loop().call_soon(self._look, self._queued)
            return
        self._will_look = False
        self._dispatch()

    def _dispatch(self) -> None:
        """Begin what may begin: any number of passes in threads, and one here, after which others are heard."""
        for group in list(self._groups.values()):
            here = 0 if group.passes or not group.may_search_here() else self._pace.queries_within(group.key, HERE_S)
            if here and group.waiting and len(group.waiting[0].queries) <= here:
                self._search_here(group, self._next_batch(group, here))
                self._look_soon()
                return
            while self._free and group.may_begin():
                self._search_in_a_thread(group, self._next_batch(group, self._max_batch))
            if not group.waiting and not group.passes:
                self._groups.pop(group.key, None)

    def unheard_s(self, since: float) -> float:
        """How long a request heard now may have waited for a pass here, unless its client was answered at `since`.

        since: by `time.monotonic`
        """
        return 0.0 if self._deaf_since is None or since >= self._deaf_since else self._deaf_s

    def _search_here(self, group: _Group, batch: list[_Waiting]) -> None:
        if batch:
            began = time.monotonic()
            self._tell(group, batch, *self._search(group, batch))
            self._deaf_since, self._deaf_s = began, time.monotonic() - began
            asyncio.get_running_loop().call_soon(self._listen)

    def _listen(self) -> None:
        """What had come during a pass has been heard."""
        self._deaf_since = None

    def _search_in_a_thread(self, group: _Group, batch: list[_Waiting]) -> None:
        if batch:
            self._free -= 1
            group.passes, group.began = group.passes + 1, time.monotonic()
            done = partial(self._hand_out, group, batch)
            self._threads.run(partial(self._search, group, batch)).add_done_callback(done)

    def _next_batch(self, group: _Group, most: int) -> list[_Waiting]:
        """Those who wait, or as many as `most` queries; those who gave up are left out."""
        taken, size = 0, 0
        for one in group.waiting:
            if taken and size + len(one.queries) > most:
                break
            taken, size = taken + 1, size + len(one.queries)
        batch, group.waiting = group.waiting[:taken], group.waiting[taken:]
        if group.waiting:
            self._groups.move_to_end(group.key)
        self._count(-size)
        return [one for one in batch if not one.is_over]

    def _hand_out(self, group: _Group, batch: list[_Waiting], outcome: "asyncio.Future[_Pass]") -> None:
        self._free += 1
        group.passes -= 1
        if outcome.cancelled():
            self._tell(group, batch, [asyncio.CancelledError()] * len(batch), time.monotonic() - group.began)
        else:
            self._tell(group, batch, *outcome.result())
        self._dispatch()

    def _tell(self, group: _Group, batch: list[_Waiting], found: Sequence[Outcome], took_s: float) -> None:
        self._pace.note(group.key, sum(len(one.queries) for one in batch), took_s)
        for one, mine in zip(batch, found, strict=True):
            one.settle(mine)

    def _search(self, group: _Group, batch: list[_Waiting]) -> _Pass:
        """What each of those who wait gets, and how long that took."""
        watch = Stopwatch()
        try:
            found = self._found(group, batch)
        except BaseException as error:  # handed to whoever waits, whatever it is
            found = [error] * len(batch)
        return found, watch.seconds()

    def _found(self, group: _Group, batch: list[_Waiting]) -> list[Outcome]:
        """What each gets; what is wrong with the queries of one is told to that one alone."""
        try:
            hits = self._pass(group, _joined(batch))
        except QincoError as error:
            return [error] if len(batch) == 1 else [self._alone(group, one) for one in batch]
        ends = itertools.accumulate(len(one.queries) for one in batch)
        return [hits[end - len(one.queries) : end] for one, end in zip(batch, ends, strict=True)]

    def _alone(self, group: _Group, one: _Waiting) -> Outcome:
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
            self._seconds[stage].observe(seconds)
        self._metrics.counter("qinco_queries_total", self._metrics.collection_label(question.collection)).inc(
            len(queries)
        )
        self._batch_sizes.observe(len(queries))
        return hits

    def _count(self, queries: int) -> None:
        self._queued += queries
        self.asked += max(0, queries)
