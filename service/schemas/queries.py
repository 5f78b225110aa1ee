"""Bodies of queries, alone and in batches, by groups and as matrices."""

from typing import Annotated, Any

from pydantic import AfterValidator, AliasChoices, BeforeValidator, Field

from service.schemas.body import Body, NotServed
from service.schemas.points import ShowVector, WithPayload, WithVector


def _only_false(value: bool | None) -> bool | None:
    if value:
        raise ValueError("true is not served: every point is searched, indexed or not.")
    return value


class QuantizationParams(Body):
    ignore: bool | None = None
    rescore: bool | None = None
    oversampling: float | None = Field(default=None, ge=1, le=1000)


class SearchParams(Body):
    """How hard to look; what is left out takes the collection's default."""

    exact: bool | None = None
    quantization: QuantizationParams | None = None
    nprobe: int | None = Field(default=None, ge=1, le=2**31)
    shortlist: int | None = Field(default=None, ge=1, le=1_000_000)
    rerank: int | None = Field(default=None, ge=1, le=1_000_000)
    hnsw_ef: int | None = Field(default=None, ge=1, le=2**31)
    indexed_only: Annotated[bool | None, AfterValidator(_only_false)] = None
    target_recall: float | None = Field(default=None, gt=0, le=1)
    acorn: NotServed = None
    idf: NotServed = None


class LookupFrom(Body):
    """Where ids in a query are looked up, if not in the collection and the vector that are searched."""

    collection: str
    vector: str | None = None
    shard_key: NotServed = None


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, dict) else value


class Prefetch(Body):
    """A query whose hits another query chooses from, or fuses with others."""

    query: Any = None
    using: str | None = None
    filter: dict[str, Any] | None = None
    params: SearchParams | None = None
    score_threshold: float | None = Field(default=None, allow_inf_nan=False)
    limit: int | None = Field(default=None, ge=1)
    prefetch: Annotated["list[Prefetch] | None", BeforeValidator(_as_list)] = Field(default=None, max_length=64)
    lookup_from: LookupFrom | None = None


class Query(Prefetch):
    offset: int | None = Field(default=None, ge=0)
    with_payload: WithPayload = None
    with_vector: ShowVector = None
    shard_key: NotServed = None


class WithLookup(Body):
    collection: str
    with_payload: WithPayload = True
    with_vectors: Annotated[WithVector, Field(validation_alias=AliasChoices("with_vectors", "with_vector"))] = False


class QueryGroups(Prefetch):
    """`limit` groups of at most `group_size` hits, by the value at a key."""

    group_by: str
    group_size: int | None = Field(default=None, ge=1)
    with_payload: WithPayload = None
    with_vector: ShowVector = None
    with_lookup: str | WithLookup | None = None
    shard_key: NotServed = None


class Matrix(Body):
    """Nearness between points of a sample."""

    filter: dict[str, Any] | None = None
    sample: int | None = Field(default=None, ge=2)
    limit: int | None = Field(default=None, ge=1)
    using: str | None = None
    shard_key: NotServed = None


class QueryBatch(Body):
    searches: list[Query] = Field(max_length=10_000)
