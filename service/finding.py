"""From a query to its hits: what it prefetches first, then its own form over that, or over the collection."""

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import anyio.to_thread
import numpy as np
import orjson
from numpy.typing import NDArray

from index_store import Collection, Hit, PointId, Record, SearchPlan
from index_store import examples as judged
from index_store.diversity import diverse
from index_store.filters import Filter
from service import fusion, query_forms
from service.collection_changes import with_defaults
from service.errors import MalformedRequest, OutOfRange
from service.filter_json import also, but_not, only
from service.ordering import order_of
from service.query_batcher import Question
from service.query_forms import Form, form_of
from service.query_inputs import Place, place_of, vectors_of
from service.questions import DEFAULT_LIMIT, plan_of, vector_named
from service.schemas.queries import Prefetch
from service.serving import Serving
from service.target_recall import planned

Float32 = NDArray[np.float32]
FilterJson = dict[str, Any] | None
Result = TypeVar("Result")

MOST_PREFETCHES = 64
MOST_DIVERSE = 2048
"""Candidates that are compared with one another at most: their nearness to each other is held at once."""


@dataclass(frozen=True)
class Wanted:
    """Which hits are wanted, and what is to be shown of them."""

    limit: int
    offset: int = 0
    with_payload: bool = False
    vectors: tuple[str, ...] = ()


@dataclass(frozen=True)
class Found(Hit):
    """A hit, with the value that it was ordered by, where it was."""

    order_value: int | float | None = None


class Finder:
    """Answers queries of one collection. A form is checked when its turn comes; nothing is changed by any."""

    def __init__(self, serving: Serving, collection: Collection, timeout_s: int | None) -> None:
        self._chosen: list[dict[str, Any]] = []  # for each target_recall that was asked for
        self._serving, self._collection, self._timeout_s = serving, collection, timeout_s

    @property
    def usage(self) -> dict[str, Any] | list[dict[str, Any]] | None:
        """What was chosen for a target_recall; a list where several parts of a query asked for one."""
        return self._chosen[0] if len(self._chosen) == 1 else self._chosen or None

    async def find(self, query: Prefetch, wanted: Wanted, condition: FilterJson = None) -> list[Hit]:
        """The hits of a query and all that it prefetches; raises what is wrong with it."""
        if _count(query) > MOST_PREFETCHES:
            raise OutOfRange(f"A query prefetches at most {MOST_PREFETCHES} times, all levels together.")
        return await self._find(query, wanted, condition)

    async def _find(self, query: Prefetch, wanted: Wanted, condition: FilterJson) -> list[Hit]:
        condition = also(condition, query.filter)
        form = form_of(query.query)
        if not query.prefetch:
            return await self._of_form(form, query, wanted, condition)
        inner = [Wanted(one.limit or DEFAULT_LIMIT) for one in query.prefetch]
        sources = await asyncio.gather(
            *(self._find(one, some, condition) for one, some in zip(query.prefetch, inner, strict=True))
        )
        if isinstance(form, query_forms.Fusion | query_forms.Rrf):
            return await self._fused(form, list(sources), query, wanted)
        ids = list(dict.fromkeys(hit.id for hits in sources for hit in hits))
        return await self._of_form(form, query, wanted, only(condition, ids)) if ids else []

    async def _of_form(self, form: Form | None, query: Prefetch, wanted: Wanted, condition: FilterJson) -> list[Hit]:
        if isinstance(form, query_forms.Fusion | query_forms.Rrf):
            raise MalformedRequest("Fusing needs something to fuse: 'prefetch' is empty.")
        if form is None or isinstance(form, query_forms.Ordered | query_forms.Sample):
            return await self._listed(form, query, wanted, condition)
        using = vector_named(query.using, self._collection)
        place = place_of(self._serving, self._collection, using, query.lookup_from)
        if isinstance(form, query_forms.Nearest):
            vector, own = await vectors_of([form.nearest], place, "query")
            if form.mmr is not None:
                return await self._diverse(vector, form.mmr, query, using, wanted, but_not(condition, own))
            return await self._nearest(vector, query, using, wanted, condition, own)
        if isinstance(form, query_forms.Recommend):
            return await self._recommended(form.recommend, query, using, place, wanted, condition)
        return await self._by_pairs(form, query, using, place, wanted, condition)

    async def _nearest(
        self, vector: Float32, query: Prefetch, using: str, wanted: Wanted, condition: FilterJson, own: list[PointId]
    ) -> list[Hit]:
        """The nearest to a vector [1, dim], less the points that it was taken from."""
        params = with_defaults(query.params, self._collection.config)
        plan, chosen = planned(self._plan(query, wanted), query.params, params, self._collection, using)
        self._chosen += [] if chosen is None else [chosen]
        if own:  # as many more, so that their own hits can be left out
            plan = replace(plan, limit=plan.limit + plan.offset + len(own), offset=0)
        question = Question(
            self._collection.name, plan, using, orjson.dumps(condition, option=orjson.OPT_SORT_KEYS),
            wanted.with_payload, wanted.vectors,
        )  # fmt: skip
        found = await self._serving.batcher.query(
            self._collection, question, vector, _parsed(condition), self._timeout_s
        )
        if not own:
            return found[0]
        others = [hit for hit in found[0] if hit.id not in own]
        return others[wanted.offset : wanted.offset + wanted.limit]

    async def _diverse(
        self, vector: Float32, mmr: query_forms.Mmr, query: Prefetch, using: str, wanted: Wanted, condition: FilterJson
    ) -> list[Hit]:
        candidates = mmr.candidates_limit or wanted.limit
        if candidates > MOST_DIVERSE:
            raise OutOfRange(f"'query.mmr' compares at most {MOST_DIVERSE} candidates; {candidates} were asked for.")
        names = tuple(dict.fromkeys((*wanted.vectors, using)))
        hits = await self._nearest(vector, query, using, replace(wanted, limit=candidates, offset=0, vectors=names),
                                   condition, [])  # fmt: skip
        if not hits:
            return []
        vectors = np.stack([hit.vectors[using] for hit in hits if hit.vectors])
        distance = self._collection.config.vectors[using].distance
        diversity = 0.5 if mmr.diversity is None else mmr.diversity
        order = await anyio.to_thread.run_sync(
            diverse, distance, vector, vectors, diversity, wanted.limit + wanted.offset
        )
        return [_showing(hits[place], wanted.vectors) for place in order[wanted.offset :]]

    async def _recommended(
        self, given: query_forms.RecommendInput, query: Prefetch, using: str, place: Place, wanted: Wanted,
        condition: FilterJson,
    ) -> list[Hit]:  # fmt: skip
        positive, mentioned = await vectors_of(given.positive or [], place, "query.recommend.positive[{}]")
        negative, disliked = await vectors_of(given.negative or [], place, "query.recommend.negative[{}]")
        own = [*mentioned, *disliked]
        strategy = given.strategy or "average_vector"
        if strategy == "average_vector":
            if not len(positive):
                raise MalformedRequest("Parameter 'query.recommend.positive': averaging needs at least one example.")
            mean = positive.mean(axis=0)
            vector = mean if not len(negative) else 2 * mean - negative.mean(axis=0)
            return await self._nearest(vector[None], query, using, wanted, condition, own)
        if not len(positive) and not len(negative):
            raise MalformedRequest("Parameter 'query.recommend': give at least one positive or negative example.")
        by = judged.best_score if strategy == "best_score" else judged.sum_scores
        return await self._judged(by(positive, negative), query, using, wanted, but_not(condition, own))

    async def _by_pairs(
        self, form: query_forms.Discover | query_forms.Context, query: Prefetch, using: str, place: Place,
        wanted: Wanted, condition: FilterJson,
    ) -> list[Hit]:  # fmt: skip
        pairs = form.context if isinstance(form, query_forms.Context) else form.discover.context
        if isinstance(form, query_forms.Context) and not pairs:
            raise MalformedRequest("Parameter 'query.context': give at least one pair of examples.")
        positive, mentioned = await vectors_of([pair.positive for pair in pairs], place, "query.context[{}].positive")
        negative, disliked = await vectors_of([pair.negative for pair in pairs], place, "query.context[{}].negative")
        own = [*mentioned, *disliked]
        if isinstance(form, query_forms.Context):
            return await self._judged(judged.context(positive, negative), query, using, wanted, but_not(condition, own))
        target, aimed = await vectors_of([form.discover.target], place, "query.discover.target")
        examples = judged.discovery(target, positive, negative)
        return await self._judged(examples, query, using, wanted, but_not(condition, [*own, *aimed]))

    async def _judged(
        self, examples: judged.Examples, query: Prefetch, using: str, wanted: Wanted, condition: FilterJson
    ) -> list[Hit]:
        plan, parsed = self._plan(query, wanted), _parsed(condition)
        return await self._run(
            lambda: self._collection.query_by_examples(
                examples, plan, using, parsed, wanted.with_payload, wanted.vectors
            )
        )

    async def _listed(
        self, form: query_forms.Ordered | query_forms.Sample | None, query: Prefetch, wanted: Wanted,
        condition: FilterJson,
    ) -> list[Hit]:  # fmt: skip
        """Points in the order of a value or of their ids, or at random; their score is 1."""
        count = self._plan(query, wanted).limit + wanted.offset
        parsed, shown = _parsed(condition), (wanted.with_payload, wanted.vectors)
        collection = self._collection
        if isinstance(form, query_forms.Ordered):
            order = order_of(form.order_by)
            pairs = await self._run(lambda: collection.ordered(order, count, parsed, *shown))
            return [_listed(record, value) for record, value in pairs[wanted.offset :]]
        if isinstance(form, query_forms.Sample):
            records = await self._run(lambda: collection.sample(wanted.limit, parsed, *shown))
            return [_listed(record) for record in records]
        records, _ = await self._run(lambda: collection.scroll(count, None, parsed, *shown))
        return [_listed(record) for record in records[wanted.offset :]]

    async def _fused(
        self, form: query_forms.Fusion | query_forms.Rrf, sources: list[list[Hit]], query: Prefetch, wanted: Wanted
    ) -> list[Hit]:
        if isinstance(form, query_forms.Rrf):
            weights = form.rrf.weights or []
            if weights and len(weights) != len(sources):
                raise MalformedRequest(f"'query.rrf.weights' has {len(weights)} numbers for {len(sources)} prefetches.")
            ranked = fusion.by_reciprocal_rank(sources, form.rrf.k or fusion.DEFAULT_K, weights)
        else:
            fuse = fusion.by_reciprocal_rank if form.fusion == "rrf" else fusion.by_distribution
            ranked = fuse(sources)
        plan = self._plan(query, wanted)
        least = -math.inf if query.score_threshold is None else query.score_threshold
        hits = [hit for hit in ranked[: plan.limit + plan.offset] if hit.score >= least][plan.offset :]
        if not wanted.with_payload and not wanted.vectors:
            return hits
        shown = await anyio.to_thread.run_sync(
            self._collection.retrieve, [hit.id for hit in hits], wanted.with_payload, wanted.vectors
        )
        by_id = {record.id: record for record in shown}
        both = [(hit, by_id[hit.id]) for hit in hits if hit.id in by_id]
        return [replace(hit, payload=record.payload, vectors=record.vectors) for hit, record in both]

    def _plan(self, query: Prefetch, wanted: Wanted) -> SearchPlan:
        params = with_defaults(query.params, self._collection.config)
        most = self._serving.settings.max_limit
        return plan_of(params, wanted.limit, wanted.offset, most, query.score_threshold)

    async def _run(self, work: Callable[[], Result]) -> Result:
        return await self._serving.batcher.run(self._collection.name, work, self._timeout_s)


def _count(query: Prefetch) -> int:
    return sum(1 + _count(one) for one in query.prefetch or [])


def _parsed(condition: FilterJson) -> Filter | None:
    return None if condition is None else Filter.parse(condition)


def _listed(record: Record, value: int | float | None = None) -> Hit:
    return Found(record.id, record.version, 1.0, record.payload, record.vectors, value)


def _showing(hit: Hit, names: tuple[str, ...]) -> Hit:
    vectors = {name: vector for name, vector in (hit.vectors or {}).items() if name in names}
    return replace(hit, vectors=vectors if names else None)
