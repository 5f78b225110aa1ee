"""Bodies of Qdrant's older calls, search, recommend and discover: each is a query in other words."""

from typing import Any, Generic, TypeVar

from pydantic import Field

from service.schemas.body import Body, NotServed
from service.schemas.points import ShowVector, WithPayload
from service.schemas.queries import LookupFrom, Query, QueryGroups, SearchParams, WithLookup


class NamedVector(Body):
    """vector  numbers; an object is a sparse one, which the query that it becomes refuses by name"""

    name: str
    vector: list[Any] | dict[str, Any]


class NearVector(Body):
    vector: list[Any] | NamedVector

    def asked(self) -> dict[str, Any]:
        """What is looked for, as a query says it."""
        if isinstance(self.vector, NamedVector):
            return {"query": {"nearest": self.vector.vector}, "using": self.vector.name}
        return {"query": {"nearest": self.vector}}


class Examples(Body):
    using: str | None = None
    lookup_from: LookupFrom | None = None


class LikeExamples(Examples):
    positive: list[Any] | None = None
    negative: list[Any] | None = None
    strategy: str | None = None

    def asked(self) -> dict[str, Any]:
        """What is looked for, as a query says it."""
        return {"query": {"recommend": {key: getattr(self, key) for key in ("positive", "negative", "strategy")}}}


class BetweenExamples(Examples):
    target: Any = None
    context: list[Any] | None = None

    def asked(self) -> dict[str, Any]:
        """What is looked for, as a query says it."""
        pairs = self.context or []
        if self.target is None:
            return {"query": {"context": pairs}}
        return {"query": {"discover": {"target": self.target, "context": pairs}}}


class Lasting(Body):
    """What an older call shares with a query."""

    filter: dict[str, Any] | None = None
    params: SearchParams | None = None
    score_threshold: float | None = Field(default=None, allow_inf_nan=False)
    limit: int | None = Field(default=None, ge=1)
    with_payload: WithPayload = None
    with_vector: ShowVector = None
    shard_key: NotServed = None


class OneList(Lasting):
    offset: int | None = Field(default=None, ge=0)

    def as_query(self) -> Query:
        return Query(**_same_words(self, Query))


class Grouped(Lasting):
    group_by: str
    group_size: int | None = Field(default=None, ge=1)
    with_lookup: str | WithLookup | None = None

    def as_query(self) -> QueryGroups:
        return QueryGroups(**_same_words(self, QueryGroups))


class Search(NearVector, OneList):
    pass


class SearchGroups(NearVector, Grouped):
    pass


class RecommendPoints(LikeExamples, OneList):
    pass


class RecommendGroups(LikeExamples, Grouped):
    pass


class DiscoverPoints(BetweenExamples, OneList):
    pass


One = TypeVar("One", bound=OneList)


class Batch(Body, Generic[One]):
    searches: list[One] = Field(max_length=10_000)


def _same_words(body: Any, kind: type[Query | QueryGroups]) -> dict[str, Any]:
    shared = {name: getattr(body, name) for name in kind.model_fields if name in type(body).model_fields}
    return shared | body.asked()
