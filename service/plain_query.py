"""A query that is one vector and nothing else to find first, read without the checks that other forms need.

What surrounds the vector, `limit` and `params` and so on, is the same in thousands of queries: it is checked as any
other body is, once, and remembered. Whatever is unusual or wrong is left to the general way, which knows what to say.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray
from pydantic import ValidationError

from index_store import Collection, CollectionConfig
from index_store.filters import Filter
from index_store.metric import LONGEST
from model.errors import QincoError
from service.collection_changes import with_defaults
from service.payload_selection import check_selection, wants_payload
from service.query_batcher import Question
from service.questions import DEFAULT_LIMIT, plan_of, vector_named
from service.schemas.points import WithPayload
from service.schemas.queries import Query

MOST_REMEMBERED, LONGEST_REMEMBERED_BYTES = 256, 4096


@dataclass(frozen=True)
class Surroundings:
    """What a query says beside its vector; `config` is what it was checked against."""

    config: CollectionConfig
    question: Question
    filter: Filter | None
    with_payload: WithPayload
    dim: int


@dataclass(frozen=True)
class PlainQuery:
    """A vector float32 [dim], and what is asked about it."""

    surroundings: Surroundings
    vector: NDArray[np.float32]


class PlainQueries:
    """Reads them; one for a service."""

    def __init__(self, max_limit: int) -> None:
        self._max_limit = max_limit
        self._remembered: OrderedDict[tuple[str, bytes], Surroundings] = OrderedDict()  # the longest unused first

    def read(self, collection: Collection, body: Any) -> PlainQuery | None:
        """A body as JSON values; None for any that is no plain query, or has something wrong."""
        if type(body) is not dict:
            return None
        rest = dict(body)
        given = rest.pop("query", None)
        if type(given) is dict and given.keys() == {"nearest"}:
            given = given["nearest"]
        if type(given) is not list or not set(map(type, given)) <= {int, float}:
            return None
        surroundings = self._surroundings(collection, rest)
        if surroundings is None or len(given) != surroundings.dim:
            return None
        try:
            with np.errstate(over="ignore"):
                vector = np.array(given, np.float32)
                squared = float(vector.dot(vector))
        except OverflowError:
            return None
        return PlainQuery(surroundings, vector) if squared <= LONGEST**2 else None  # nor infinite, nor not a number

    def _surroundings(self, collection: Collection, rest: dict[str, Any]) -> Surroundings | None:
        config, key = collection.config, (collection.name, orjson.dumps(rest))
        found = self._remembered.get(key)
        if found is not None and found.config is config:
            self._remembered.move_to_end(key)
            return found
        try:
            found = _checked(collection, config, rest, self._max_limit)
        except (QincoError, ValidationError):
            return None
        if found is not None and len(key[1]) <= LONGEST_REMEMBERED_BYTES:
            self._remembered[key] = found
            if len(self._remembered) > MOST_REMEMBERED:
                self._remembered.popitem(last=False)
        return found


def _checked(
    collection: Collection, config: CollectionConfig, rest: dict[str, Any], max_limit: int
) -> Surroundings | None:
    """None where more than the nearest to a vector is asked for; raises what is wrong."""
    body = Query.model_validate(rest)
    params = with_defaults(body.params, config)
    more = (body.prefetch, body.lookup_from, body.with_vector or None, params.target_recall)
    if any(one is not None for one in more):
        return None
    using = vector_named(body.using, collection)
    plan = plan_of(
        params, DEFAULT_LIMIT if body.limit is None else body.limit, body.offset or 0, max_limit, body.score_threshold
    )
    check_selection(body.with_payload)
    condition = body.filter or None
    question = Question(
        collection.name,
        plan,
        using,
        orjson.dumps(condition, option=orjson.OPT_SORT_KEYS),
        wants_payload(body.with_payload),
    )
    parsed = None if condition is None else Filter.parse(condition)
    return Surroundings(config, question, parsed, body.with_payload, config.vectors[using].size)
