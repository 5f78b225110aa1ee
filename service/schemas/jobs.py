"""Bodies that start work in the background."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from service.durations import seconds
from service.schemas.body import MOST_BYTES, Body, Name


def _duration(text: str) -> str:
    seconds(text)
    return text


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
