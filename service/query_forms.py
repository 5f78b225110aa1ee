"""The forms that a query takes, each a checked body; which one it is, the key in it says."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from service.bodies import checked
from service.errors import MalformedRequest, NotServed
from service.schemas.body import Body
from service.schemas.points import OrderBy


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, dict) else value


class Mmr(Body):
    """Hits that are not too near to one another, of so many candidates."""

    diversity: float | None = Field(default=None, ge=0, le=1)
    candidates_limit: int | None = Field(default=None, ge=1, le=16_384)


class Nearest(Body):
    nearest: Any
    mmr: Mmr | None = None


class RecommendInput(Body):
    positive: list[Any] | None = None
    negative: list[Any] | None = None
    strategy: Literal["average_vector", "best_score", "sum_scores"] | None = None


class Recommend(Body):
    recommend: RecommendInput


class Pair(Body):
    positive: Any
    negative: Any


Pairs = Annotated[list[Pair], BeforeValidator(_as_list), Field(max_length=1000)]


class DiscoverInput(Body):
    target: Any
    context: Pairs


class Discover(Body):
    discover: DiscoverInput


class Context(Body):
    context: Pairs


class Ordered(Body):
    order_by: OrderBy


class Sample(Body):
    sample: Literal["random"]


class Fusion(Body):
    fusion: Literal["rrf", "dbsf"]


class RrfInput(Body):
    k: int | None = Field(default=None, ge=1)
    weights: list[float] | None = None


class Rrf(Body):
    rrf: RrfInput


Form = Nearest | Recommend | Discover | Context | Ordered | Sample | Fusion | Rrf

FORMS: dict[str, type[Form]] = {
    "nearest": Nearest,
    "recommend": Recommend,
    "discover": Discover,
    "context": Context,
    "order_by": Ordered,
    "sample": Sample,
    "fusion": Fusion,
    "rrf": Rrf,
}
UNSERVED = {
    "formula": "formulas are",
    "indices": "sparse vectors are",
    "text": "documents and texts are",
    "image": "images are",
    "object": "objects to embed are",
    "relevance_feedback": "relevance feedback is",
}


def form_of(query: Any) -> Form | None:
    """The form of a query; None when there is none. Raises MalformedRequest, OutOfRange, NotServed."""
    if query is None:
        return None
    if not isinstance(query, dict):
        return Nearest(nearest=query)
    known = [name for name in FORMS if name in query]
    if not known:
        refuse_unserved(query, "query")
        raise MalformedRequest(f"Parameter 'query' is a vector, an id, or an object with one of {', '.join(FORMS)}.")
    if len(known) > 1:
        raise MalformedRequest(f"Parameter 'query' has {' and '.join(known)}; it takes one of them.")
    return checked(FORMS[known[0]], query, ("query",))


def refuse_unserved(given: dict[str, Any], where: str) -> None:
    """Raises NotServed for what Qdrant knows and is not done here."""
    for name, told in UNSERVED.items():
        if name in given:
            raise NotServed(f"Parameter '{where}.{name}': {told} not served; send dense vectors or ids.")
