"""Bodies that read, change, count and order points."""

from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BeforeValidator, Field

from service.schemas.body import Body, NotServed


class IncludeKeys(Body):
    include: list[str]


class ExcludeKeys(Body):
    exclude: list[str]


WithPayload = bool | list[str] | IncludeKeys | ExcludeKeys | None
WithVector = bool | list[str] | None
# Qdrant takes either name of it.
ShowVector = Annotated[WithVector, Field(validation_alias=AliasChoices("with_vector", "with_vectors"))]


class CreateFieldIndex(Body):
    """A payload index: the key, and its type or an object with `type` and options."""

    field_name: str
    field_schema: str | dict[str, Any] | None = None


class Retrieve(Body):
    ids: list[Any]
    with_payload: WithPayload = True
    with_vector: ShowVector = False
    shard_key: NotServed = None


class Count(Body):
    filter: dict[str, Any] | None = None
    exact: bool | None = True
    shard_key: NotServed = None


def _key_alone(value: Any) -> Any:
    return {"key": value} if isinstance(value, str) else value


class _OrderBy(Body):
    """`start_from` is a number, or a date."""

    key: str
    direction: Literal["asc", "desc"] | None = None
    start_from: int | float | str | None = None


OrderBy = Annotated[_OrderBy, BeforeValidator(_key_alone)]


class Facet(Body):
    key: str
    limit: int | None = Field(default=None, ge=1)
    filter: dict[str, Any] | None = None
    exact: bool | None = None
    shard_key: NotServed = None


class Scroll(Body):
    offset: int | str | None = None
    limit: int | None = Field(default=None, ge=1)
    filter: dict[str, Any] | None = None
    with_payload: WithPayload = True
    with_vector: ShowVector = False
    order_by: OrderBy | None = None
    shard_key: NotServed = None


class Selected(Body):
    """Which points a change is for: either ids or a filter."""

    points: list[Any] | None = None
    filter: dict[str, Any] | None = None
    shard_key: NotServed = None


class DeletePoints(Selected):
    pass


class SetPayload(Selected):
    """`key` is the path of the object that is set; a null deletes."""

    payload: dict[str, Any]
    key: str | None = None


class OverwritePayload(SetPayload):
    pass


class DeletePayload(Selected):
    keys: list[str]


class ClearPayload(Selected):
    pass


class PointVectors(Body):
    id: Any
    vector: Any


class UpdateVectors(Body):
    points: list[PointVectors]
    update_filter: dict[str, Any] | None = None
    shard_key: NotServed = None


class DeleteVectors(Selected):
    vector: list[str]


class Batch(Body):
    """Several changes; each is an object with one key that names its kind."""

    operations: list[dict[str, Any]] = Field(max_length=10_000)


class PointsOptions(Body):
    """What may stand beside the points of an upsert."""

    update_filter: dict[str, Any] | None = None
    update_mode: Literal["upsert", "insert_only", "update_only"] | None = None
    shard_key: NotServed = None
