"""Request bodies, as Qdrant names them; a field that is not served is refused by its name."""

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    model_validator,
)

from service.durations import seconds

NAME = r"^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,254}$"
Name = Annotated[str, Field(pattern=NAME)]


def _refuse(value: Any) -> Any:
    if value not in (None, {}, []):
        raise ValueError("is not served by this version; leave it out.")
    return None


# Qdrant's clients know these; a null, and nothing in brackets, is the same as leaving them out.
NotServed = Annotated[None, BeforeValidator(_refuse, json_schema_input_type=None)]


MOST_BYTES = 64


def _duration(text: str) -> str:
    seconds(text)
    return text


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


# --- collections


class CodesParams(Body):
    """How vectors become codes: our own part of a collection's declaration."""

    model: Name = "auto"
    originals: Literal["float32", "float16", "uint8", "int8", "none"] | None = None
    beam: int | None = Field(default=None, ge=1, le=1024)
    candidates: int | None = Field(default=None, ge=0, le=65_536)
    bytes: int | None = Field(default=None, ge=1, le=MOST_BYTES)
    train_at: int | None = Field(default=None, ge=512, le=100_000_000)


class ProductQuantization(Body):
    """Qdrant's own name for codes; how many bytes a vector's has follows from the compression."""

    compression: Literal["x16", "x32", "x64"]
    always_ram: bool | None = None


class QuantizationConfig(Body):
    """Read as the size of a code; the scalar and binary kinds are not ours."""

    product: ProductQuantization | None = None
    scalar: NotServed = None
    binary: NotServed = None
    turbo: NotServed = None


class VectorParams(Body):
    """One vector of a collection. The index settings are kept and reported, and change nothing."""

    size: int = Field(ge=1, le=65_536)
    distance: Literal["Cosine", "Dot", "Euclid", "Manhattan"]
    datatype: Literal["float32", "float16", "uint8"] | None = None
    on_disk: bool | None = None
    memory: Any = None
    hnsw_config: dict[str, Any] | None = None
    quantization_config: QuantizationConfig | None = None
    multivector_config: NotServed = None


def _one_or_named(value: Any) -> str:
    """Named vectors are objects in an object; the declaration of one vector has plain values too."""
    is_named = isinstance(value, dict) and value and all(isinstance(one, dict) for one in value.values())
    return "[named]" if is_named else "[one]"


class CreateCollection(Body):
    vectors: Annotated[
        Annotated[VectorParams, Tag("[one]")] | Annotated[dict[str, VectorParams], Tag("[named]")],
        Discriminator(_one_or_named),
    ]
    codes: (
        Annotated[
            Annotated[CodesParams, Tag("[one]")] | Annotated[dict[str, CodesParams], Tag("[named]")],
            Discriminator(_one_or_named),
        ]
        | None
    ) = None
    search: "SearchParams | None" = None
    metadata: dict[str, Any] | None = None
    # Accepted, reported, without effect: there is one shard, one replica and no HNSW graph here.
    hnsw_config: dict[str, Any] | None = None
    optimizers_config: dict[str, Any] | None = None
    wal_config: dict[str, Any] | None = None
    shard_number: int | None = Field(default=None, ge=1)
    replication_factor: int | None = Field(default=None, ge=1)
    write_consistency_factor: int | None = Field(default=None, ge=1)
    on_disk_payload: bool | None = None
    payload: Any = None
    id_tracker: Any = None
    quantization_config: QuantizationConfig | None = None
    sparse_vectors: NotServed = None
    sharding_method: NotServed = None
    strict_mode_config: NotServed = None


class VectorDiff(Body):
    """Kept and reported; changes nothing."""

    hnsw_config: dict[str, Any] | None = None
    on_disk: bool | None = None
    memory: Any = None
    quantization_config: NotServed = None


class EncodingParams(Body):
    """With what beam and candidates is encoded from now on; null: as the checkpoint says."""

    beam: int | None = Field(default=None, ge=1, le=1024)
    candidates: int | None = Field(default=None, ge=0, le=65_536)


class UpdateCollection(Body):
    """`search` and `codes` are ours: parameters of queries that do not say, and how to encode from now on."""

    search: "SearchParams | None" = None
    codes: (
        Annotated[
            Annotated[EncodingParams, Tag("[one]")] | Annotated[dict[str, EncodingParams], Tag("[named]")],
            Discriminator(_one_or_named),
        ]
        | None
    ) = None
    metadata: dict[str, Any] | None = None
    vectors: dict[str, VectorDiff] | None = None
    hnsw_config: dict[str, Any] | None = None
    optimizers_config: dict[str, Any] | None = None
    params: dict[str, Any] | None = None
    quantization_config: NotServed = None
    sparse_vectors: NotServed = None
    strict_mode_config: NotServed = None


class CreateAlias(Body):
    alias_name: Name
    collection_name: str


class DeleteAlias(Body):
    alias_name: str


class RenameAlias(Body):
    old_alias_name: str
    new_alias_name: Name


class AliasOperation(Body):
    """One of the three."""

    create_alias: CreateAlias | None = None
    delete_alias: DeleteAlias | None = None
    rename_alias: RenameAlias | None = None


class ChangeAliases(Body):
    actions: list[AliasOperation]


class Reencode(Body):
    """Fewer steps a code, or codes of another model; `using` names the vector where a collection has several."""

    steps: int | None = Field(default=None, ge=1)
    model: Name | None = None
    beam: int | None = Field(default=None, ge=1, le=1024)
    candidates: int | None = Field(default=None, ge=0, le=65_536)
    using: str | None = None

    @model_validator(mode="after")
    def _one_of_two(self) -> "Reencode":
        if (self.steps is None) == (self.model is None):
            raise ValueError("give either 'steps', to shorten the codes, or 'model', to encode with another.")
        if self.steps is not None and (self.beam, self.candidates) != (None, None):
            raise ValueError("'beam' and 'candidates' go with 'model': codes are not found anew to shorten them.")
        return self


class MeasureRecall(Body):
    """How many queries are asked, and how many hits of each are compared with exact search."""

    sample: int = Field(default=1000, ge=10, le=100_000)
    limit: int = Field(default=10, ge=1, le=1000)
    using: str | None = None


class TrainModel(Body):
    """What to train on a collection's vectors; by default it also encodes them with it."""

    bytes: int = Field(default=16, ge=1, le=MOST_BYTES)
    preset: Literal["XS", "S", "M", "L"] = "XS"
    time_budget: Annotated[str, AfterValidator(_duration)] = "10m"
    name: Name
    apply: bool = True
    using: str | None = None


# --- snapshots


def _local(location: str) -> str:
    if ":" in location or location.startswith("/"):
        raise ValueError(
            "is the name of a snapshot of this server, or COLLECTION/NAME; one from elsewhere is sent to "
            "…/snapshots/upload, since this service fetches nothing."
        )
    return location


class RecoverSnapshot(Body):
    """Which snapshot; `checksum` is the SHA-256 that its archive must have."""

    location: Annotated[str, AfterValidator(_local)]
    checksum: Annotated[str, Field(pattern="^[0-9a-fA-F]{64}$")] | None = None
    priority: Literal["snapshot", "no_sync"] | None = None
    api_key: NotServed = None


# --- points


class IncludeKeys(Body):
    include: list[str]


class ExcludeKeys(Body):
    exclude: list[str]


WithPayload = bool | list[str] | IncludeKeys | ExcludeKeys | None
WithVector = bool | list[str] | None


class CreateFieldIndex(Body):
    """A payload index: the key, and its type or an object with `type` and options."""

    field_name: str
    field_schema: str | dict[str, Any] | None = None


class Retrieve(Body):
    ids: list[Any]
    with_payload: WithPayload = True
    with_vector: WithVector = False
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
    with_vector: WithVector = False
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


# --- queries


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
    with_vector: WithVector = None
    shard_key: NotServed = None


class WithLookup(Body):
    collection: str
    with_payload: WithPayload = True
    with_vectors: WithVector = False


class QueryGroups(Prefetch):
    """`limit` groups of at most `group_size` hits, by the value at a key."""

    group_by: str
    group_size: int | None = Field(default=None, ge=1)
    with_payload: WithPayload = None
    with_vector: WithVector = None
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
