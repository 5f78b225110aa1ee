"""A data folder, held by one process: its catalogue, models and collections."""

from pathlib import Path

from index_store.catalogue import ModelRecord
from index_store.collection import Collection
from index_store.config import CollectionConfig


class Store:
    """Opens a folder, and every collection in it."""

    @classmethod
    def open(cls, folder: str | Path, device: str = "cpu", threads: int = 2, max_pending: int = 200_000) -> "Store":
        """Take the folder (FolderInUse when another process has it) and load what it holds."""
        raise NotImplementedError

    def close(self) -> None:
        """Close every collection and let the folder go."""
        raise NotImplementedError

    def create_collection(self, name: str, config: CollectionConfig) -> Collection:
        """Make an empty collection; raises CollectionExists, InvalidConfig, ModelNotFound, DimensionMismatch."""
        raise NotImplementedError

    def collection(self, name: str) -> Collection:
        """The collection of this name; raises CollectionNotFound, or DamagedData when it could not be loaded."""
        raise NotImplementedError

    def collections(self) -> list[str]:
        """The names of all collections, sorted."""
        raise NotImplementedError

    def delete_collection(self, name: str) -> None:
        """Remove a collection and its files; raises CollectionNotFound."""
        raise NotImplementedError

    def put_model(self, name: str, source: str | Path | bytes, sha256: str | None = None) -> ModelRecord:
        """Store a checkpoint under a name once `load_codec` has accepted it."""
        raise NotImplementedError

    def models(self) -> list[ModelRecord]:
        """All stored models, by name."""
        raise NotImplementedError

    def model(self, name: str) -> ModelRecord:
        """One stored model; raises ModelNotFound."""
        raise NotImplementedError

    def model_path(self, name: str) -> Path:
        """Where its checkpoint lies; raises ModelNotFound."""
        raise NotImplementedError

    def delete_model(self, name: str) -> None:
        """Remove a model; raises ModelNotFound, ModelInUse."""
        raise NotImplementedError
