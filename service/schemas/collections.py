"""Bodies that declare and change collections and aliases."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from service.schemas.body import MOST_BYTES, Body, Name, NotServed
from service.schemas.queries import SearchParams


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
    sparse_vectors: NotServed = None  # told first: 'vectors' is empty where there are sparse ones alone
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
    search: SearchParams | None = None
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

    search: SearchParams | None = None
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
