"""Which collections and models exist: one SQLite database a data folder."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ModelRecord:
    """A stored checkpoint, as it was when it was put."""

    name: str
    sha256: str
    kind: str
    dim: int
    steps: int
    codewords: int
    ivf_lists: int
    size_bytes: int
    created: float
