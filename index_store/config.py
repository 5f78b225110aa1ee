"""What a collection is declared to hold: its vectors, their codes, and JSON to and fro."""

from dataclasses import asdict, dataclass, field
from typing import Any

from index_store.errors import InvalidConfig

DEFAULT_VECTOR = "default"
DISTANCES = ("Cosine", "Dot", "Euclid", "Manhattan")
ORIGINALS = ("float32", "float16", "uint8", "int8", "none")
NO_MODEL = "none"
MAX_DIM = 65_536


@dataclass(frozen=True)
class VectorConfig:
    """One named vector: how many numbers, and the distance it is searched by."""

    size: int
    distance: str

    def __post_init__(self) -> None:
        if not 1 <= self.size <= MAX_DIM:
            raise InvalidConfig(f"A vector's 'size' must be from 1 to {MAX_DIM}, not {self.size}.")
        if self.distance not in DISTANCES:
            raise InvalidConfig(f"A vector's 'distance' is one of {', '.join(DISTANCES)}, not '{self.distance}'.")


@dataclass(frozen=True)
class SelfTraining:
    """A collection that trains codecs by itself.

    bytes     of a code
    next_at   how many points there are when it trains next
    model     the stored model that it has made, which goes when another takes its place
    """

    bytes: int = 16
    next_at: int = 10_000
    model: str | None = None


@dataclass(frozen=True)
class CodesConfig:
    """How a vector becomes codes, and what is kept of it on disk.

    model                 name of a stored model, or "none": exact search over the originals alone
    originals             as what numbers vectors are kept; "none" keeps them only until they are encoded
    candidates, beam      A and B when encoding; None: the checkpoint's own
    auto                  how it trains codecs by itself; None: it does not
    """

    model: str = NO_MODEL
    originals: str = "float32"
    candidates: int | None = None
    beam: int | None = None
    auto: SelfTraining | None = None

    @property
    def has_model(self) -> bool:
        """Whether there are codes, made with a stored model."""
        return self.model != NO_MODEL

    def __post_init__(self) -> None:
        if self.auto is not None and self.originals == "none":
            raise InvalidConfig("To train a codec by itself a collection needs its originals: they cannot be 'none'.")
        if self.originals not in ORIGINALS:
            raise InvalidConfig(f"'originals' is one of {', '.join(ORIGINALS)}, not '{self.originals}'.")
        if self.model == NO_MODEL and self.originals == "none":
            raise InvalidConfig("Without a model the originals are all there is: 'originals' cannot be 'none'.")
        if self.beam is not None and self.beam < 1:
            raise InvalidConfig(f"'beam' must be at least 1, not {self.beam}.")
        if self.candidates is not None and self.candidates < 0:
            raise InvalidConfig(f"'candidates' must not be negative, as {self.candidates} is.")


@dataclass(frozen=True)
class CollectionConfig:
    """The named vectors of a collection, the codes of each, and the user's own metadata."""

    vectors: dict[str, VectorConfig]
    codes: dict[str, CodesConfig] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.vectors:
            raise InvalidConfig("A collection needs at least one vector.")
        unknown = sorted(set(self.codes) - set(self.vectors))
        if unknown:
            raise InvalidConfig(f"'codes' names the vector '{unknown[0]}', which 'vectors' does not declare.")
        for name, vector in self.vectors.items():
            codes = self.codes_of(name)
            if vector.distance == "Manhattan" and (codes.has_model or codes.auto is not None):
                raise InvalidConfig("Manhattan is served exactly: set 'model' to 'none', or choose another distance.")

    def codes_of(self, name: str) -> CodesConfig:
        """The codes of one vector; those of a vector not mentioned in `codes` are exact, float32."""
        return self.codes.get(name, CodesConfig())

    def to_json(self) -> dict[str, Any]:
        """The same as a JSON object."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "CollectionConfig":
        """The config that `to_json` described."""
        vectors = {name: VectorConfig(**vector) for name, vector in value["vectors"].items()}
        codes = {name: _codes_from_json(one) for name, one in value["codes"].items()}
        return cls(vectors, codes, value["metadata"])


def _codes_from_json(value: dict[str, Any]) -> CodesConfig:
    auto = value.get("auto")
    return CodesConfig(**{**value, "auto": None if auto is None else SelfTraining(**auto)})
