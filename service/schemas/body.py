"""What all request bodies share: names as Qdrant has them, and fields refused by their name."""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

NAME = r"^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,254}$"
Name = Annotated[str, Field(pattern=NAME)]


def _refuse(value: Any) -> Any:
    if value not in (None, {}, []):
        raise ValueError("is not served by this version; leave it out.")
    return None


# Qdrant's clients know these; a null, and nothing in brackets, is the same as leaving them out.
NotServed = Annotated[None, BeforeValidator(_refuse, json_schema_input_type=None)]


MOST_BYTES = 64


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
