"""The snapshots of a data folder: made, listed, deleted, and put in the place of collections.

`snapshots/COLLECTION/NAME.snapshot` is an archive, `NAME.snapshot.sha256` beside it the SHA-256 that it had when it was
made. They stay when their collection is deleted.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from index_store import backup
from index_store.archive import sha256_of
from index_store.catalogue import CollectionEntry, ModelRecord
from index_store.config import CodesConfig, CollectionConfig
from index_store.errors import (
    DamagedData,
    InvalidSnapshot,
    ModelExists,
    ModelNotFound,
    OutcomeUnknown,
    SnapshotNotFound,
)
from index_store.names import check_name
from index_store.plausible import check_plausible
from index_store.storage import Storage

if TYPE_CHECKING:
    from index_store.collection import Collection
    from index_store.models import Models

SUFFIX = ".snapshot"
_SHA256 = ".sha256"
_UNFINISHED = ".tmp"
_LONGEST_PREFIX = 100
_TRIES = 3


@dataclass(frozen=True)
class SnapshotRecord:
    """A snapshot: `created` in seconds since 1970, the SHA-256 of the whole archive."""

    name: str
    size_bytes: int
    sha256: str
    created: float


class Snapshots:
    """The snapshots of one data folder; any thread may call any method."""

    def __init__(self, storage: Storage, folder: Path, collections: Path, models: "Models") -> None:
        """folder: where they lie · collections: where the folders of collections lie, this work's own among them."""
        self._storage, self._folder, self._collections, self._models = storage, folder, collections, models
        self._one_at_a_time = threading.Lock()  # each reads or writes as much as the disk gives
        for of in storage.names(folder):
            for left in storage.names(folder / of):
                if left.endswith(_UNFINISHED):
                    storage.remove(folder / of / left)

    def create(self, collection: "Collection") -> SnapshotRecord:
        """Take a snapshot of one moment, while writes go on. Raises DiskFull, DamagedData."""
        stamp = time.strftime("%Y-%m-%d-%H-%M-%S", time.gmtime())
        name = f"{collection.name[:_LONGEST_PREFIX]}-{stamp}-{uuid4().hex[:8]}{SUFFIX}"
        folder = self._folder / collection.name
        captured = self._collections / str(uuid4())
        unfinished = folder / (name + _UNFINISHED)
        with self._one_at_a_time:
            self._storage.make_folder(folder)
            try:
                files, config, models = self._captured(collection, captured)
                sha256 = backup.pack(self._storage, unfinished, files, collection.name, config, models)
                self._write_sha256(folder / (name + _SHA256), sha256)
                self._storage.rename(unfinished, folder / name)
                self._storage.sync_folder(folder)
            except BaseException:
                self._storage.remove(unfinished)
                self._storage.remove(folder / (name + _SHA256))
                raise
            finally:
                self._storage.remove_folder(captured)
        return self._record(folder / name)

    def all(self, collection: str) -> list[SnapshotRecord]:
        """The snapshots of a collection, also of one that was deleted, the oldest first."""
        check_name(collection, "collection")
        folder = self._folder / collection
        found = [self._record(folder / name) for name in self._storage.names(folder) if name.endswith(SUFFIX)]
        return sorted(found, key=lambda one: (one.created, one.name))

    def path(self, collection: str, name: str) -> Path:
        """Where a snapshot lies; raises SnapshotNotFound."""
        if name not in {one.name for one in self.all(collection)}:
            raise SnapshotNotFound(f"There is no snapshot '{name}' of the collection '{collection}'.")
        return self._folder / collection / name

    def delete(self, collection: str, name: str) -> None:
        """Remove a snapshot; raises SnapshotNotFound."""
        path = self.path(collection, name)
        self._storage.remove(path)
        self._storage.remove(path.with_name(name + _SHA256))
        self._storage.sync_folder(path.parent)

    def restore(
        self,
        name: str,
        archive: Path,
        sha256: str | None,
        open_collection: Callable[[CollectionEntry], "Collection"],
        put_in_place: Callable[[CollectionEntry, "Collection"], None],
    ) -> None:
        """Put the collection of an archive in the place of `name`, once every byte of it has been checked.

        Raises InvalidSnapshot, DiskFull; then the collection that had the name is as it was.
        """
        check_name(name, "collection")
        with self._one_at_a_time:
            if sha256 is not None and sha256.lower() != (found := sha256_of(self._storage, archive)):
                raise InvalidSnapshot(f"The archive's SHA-256 is {found}, not {sha256} as announced: send it again.")
            entry_folder = str(uuid4())
            folder = self._collections / entry_folder
            self._storage.make_folder(folder)
            stored: list[str] = []
            try:
                config, models = backup.unpacked(self._storage, archive, folder)
                config = self._with_models(config, models, stored)
                backup.remove_models(self._storage, folder)
                entry = CollectionEntry(name, entry_folder, config)
                collection = self._verified(entry, open_collection)
                try:
                    put_in_place(entry, collection)
                except BaseException:
                    collection.abandon()
                    raise
            except OutcomeUnknown:
                raise  # the next start may find it in place; what nobody names is removed then
            except BaseException:
                self._storage.remove_folder(folder)
                for model in stored:
                    self._models.remove(model)
                raise

    def _captured(
        self, collection: "Collection", folder: Path
    ) -> tuple[backup.Files, CollectionConfig, dict[Path, ModelRecord]]:
        """One moment of a collection, with the checkpoints of its codes of then, in a folder of their own.

        Another model may take over right after that moment, and the one before be deleted: then a later moment.
        """
        for attempt in range(_TRIES):
            self._storage.make_folder(folder)
            files, config = collection.capture(folder)
            try:
                return files, config, backup.link_models(self._storage, self._models_of(config), folder)
            except (ModelNotFound, FileNotFoundError):
                self._storage.remove_folder(folder)
                if attempt == _TRIES - 1:
                    raise
        raise AssertionError("the last attempt returns or raises")

    def _verified(
        self, entry: CollectionEntry, open_collection: Callable[[CollectionEntry], "Collection"]
    ) -> "Collection":
        try:
            check_plausible(self._collections / entry.folder / backup.DATABASE)
            collection = open_collection(entry)
            try:
                collection.verify()
            except BaseException:
                collection.abandon()
                raise
        except DamagedData as error:
            raise InvalidSnapshot(f"What the snapshot holds does not check: {error}") from error
        return collection

    def _models_of(self, config: CollectionConfig) -> dict[Path, ModelRecord]:
        names = {one.model for one in map(config.codes_of, config.vectors) if one.has_model}
        return {self._models.path(name): self._models.get(name) for name in sorted(names)}

    def _with_models(
        self, config: CollectionConfig, models: dict[Path, ModelRecord], stored: list[str]
    ) -> CollectionConfig:
        """Store the checkpoints that are not there yet; the config with the names they have here."""
        names = {}
        for path, record in models.items():
            names[record.name] = self._stored(path, record, stored)
        codes = {vector: self._renamed(config.codes_of(vector), names) for vector in config.vectors}
        return replace(config, codes=codes)

    def _stored(self, path: Path, record: ModelRecord, stored: list[str]) -> str:
        """The name that a checkpoint has here: its own, or with its SHA-256 where another model has that."""
        for name in (record.name, f"{record.name[:180]}-{record.sha256[:16]}"):
            if any(one.name == name and one.sha256 == record.sha256 for one in self._models.all()):
                return name
            try:
                self._models.put(name, path, record.sha256)
            except ModelExists:
                continue
            stored.append(name)
            return name
        raise ModelExists(f"There are other models named '{record.name}' already: delete one first.")

    @staticmethod
    def _renamed(codes: CodesConfig, names: dict[str, str]) -> CodesConfig:
        if not codes.has_model:
            return codes
        if codes.model not in names:
            raise InvalidSnapshot(f"The snapshot lacks the checkpoint of '{codes.model}'.")
        return replace(codes, model=names[codes.model])

    def _record(self, path: Path) -> SnapshotRecord:
        sha256 = self._storage.read(path.with_name(path.name + _SHA256), 0, 64).decode("ascii", "replace")
        return SnapshotRecord(path.name, self._storage.size(path), sha256, path.stat().st_mtime)

    def _write_sha256(self, path: Path, sha256: str) -> None:
        self._storage.write_at(path, 0, memoryview(f"{sha256}\n".encode()))
        self._storage.sync(path)
