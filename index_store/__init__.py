"""Where codes live and how they are found: the public face of the room."""

from index_store.answers import CollectionInfo, Hit, PointId, Record
from index_store.catalogue import JobRecord, ModelRecord
from index_store.collection import Collection
from index_store.config import CodesConfig, CollectionConfig, SelfTraining, VectorConfig
from index_store.filters import Filter
from index_store.measured import Measured, OperatingPoint
from index_store.payload_indexes import IndexSchema
from index_store.plan import SearchPlan, SearchTrace
from index_store.recall import Recall
from index_store.snapshots import SnapshotRecord
from index_store.store import Store
from index_store.uploads import UploadProgress

__all__ = [
    "CodesConfig",
    "Collection",
    "CollectionConfig",
    "CollectionInfo",
    "Filter",
    "Hit",
    "IndexSchema",
    "JobRecord",
    "Measured",
    "ModelRecord",
    "OperatingPoint",
    "PointId",
    "Recall",
    "Record",
    "SearchPlan",
    "SearchTrace",
    "SelfTraining",
    "SnapshotRecord",
    "Store",
    "UploadProgress",
    "VectorConfig",
]
