"""What all request bodies share: names as Qdrant has them, and fields refused by their name."""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo

NAME = r"^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,254}$"
Name = Annotated[str, Field(pattern=NAME)]
SHA256 = "^[0-9a-fA-F]{64}$"
# What a sentence says of a text that has to match.
PATTERNS = {
    NAME: "1 to 255 letters, digits, '_', '-' and '.', not starting with a dot",
    SHA256: "a SHA-256 of 64 hexadecimal digits",
}


CODES = (
    "is a kind of code that is not made here. Leave it out, and vectors become QINCo2 codes of 16 bytes once there are "
    "enough; or say by 'product' how many times smaller than its vector a code is to be."
)
ONE_SHARD = "is for several shards, and there is one here; leave it out."
INSTEAD = {
    "scalar": CODES,
    "binary": CODES,
    "turbo": CODES,
    "sparse_vectors": "is not served: vectors are dense here. Declare 'vectors' alone.",
    "multivector_config": "is not served: a point has one vector of a name here. Leave it out.",
    "shard_key": ONE_SHARD,
    "sharding_method": ONE_SHARD,
    "strict_mode_config": "is not served: the QINCO_MAX_… settings bound requests to all collections. Leave it out.",
}
HARMLESS = {"sharding_method": "auto", "strict_mode_config": {"enabled": False}}
"""What says no more than leaving it out."""


def _refuse(value: Any, field: ValidationInfo) -> Any:
    name = field.field_name or ""
    if value not in (None, {}, [], HARMLESS.get(name)):
        raise ValueError(INSTEAD.get(name, "is not served; leave it out."))
    return None


# Qdrant's clients know these; a null, and nothing in brackets, is the same as leaving them out.
NotServed = Annotated[None, BeforeValidator(_refuse, json_schema_input_type=None)]


MOST_BYTES = 64


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
