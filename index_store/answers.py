"""What a collection takes and gives: ids, upserts, records, hits, and what it says of itself."""

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from index_store.measured import Measured

Float32 = NDArray[np.float32]
Rows = NDArray[np.uint32]
PointId = int | UUID
Payload = dict[str, Any]


@dataclass(frozen=True)
class Record:
    """A stored point; `vectors` is filled when asked for, with those that it has."""

    id: PointId
    version: int
    payload: Payload | None = None
    vectors: dict[str, Float32] | None = None


@dataclass(frozen=True)
class Hit:
    """A found point: `score` as users see it, by the collection's distance."""

    id: PointId
    version: int
    score: float
    payload: Payload | None = None
    vectors: dict[str, Float32] | None = None


@dataclass(frozen=True)
class CollectionInfo:
    """What a collection holds and costs.

    state                  exact (no model) · encoding (vectors are pending) · ready
    steps                  symbols of a code; 0 without a model
    code_bytes             of one vector's code; 0 without a model
    ram_bytes_per_vector   code + row + norm; 0 without a model
    encoding_rate          vectors per second, of late; None before the first batch
    unindexed_filters      filters since the start with a key that no payload index could answer for
    unindexed_keys         such keys, of late
    drafts                 vectors whose codes were found in haste, and are to be found again
    recent_mse             squared error a vector of those encoded of late; None before the first since the start
    training_mse           the same of the model on vectors like those it was trained on; None where it does not tell
    recall                 as measured last, of these codes
    devices                stage → device it ran on, of the last query and the last encoding
    damage                 what on the disk does not match its checksum, though queries can do without
    """

    points: int
    pending: int
    segments: int
    state: str
    model: str
    sha256: str | None
    steps: int
    code_bytes: int
    ram_bytes_per_vector: int
    float32_bytes: int
    encoding_rate: float | None
    tombstones: int
    disk_bytes: int
    ram_bytes: int
    drafts: int = 0
    recent_mse: float | None = None
    training_mse: float | None = None
    devices: dict[str, str] = field(default_factory=dict)
    read_only_because: str | None = None
    unindexed_filters: int = 0
    unindexed_keys: tuple[str, ...] = ()
    recall: Measured | None = None
    damage: str | None = None
