"""A data folder, held by one process: its catalogue, models and collections."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import faiss

from index_store.aliases import AliasAction, Aliases
from index_store.catalogue import Catalogue, CollectionEntry, ModelRecord
from index_store.coding import check_codec, check_effort
from index_store.collection import Collection
from index_store.config import NO_MODEL, CodesConfig, CollectionConfig, SelfTraining
from index_store.errors import (
    CollectionExists,
    CollectionNotFound,
    DamagedData,
    ModelInUse,
    ModelNotFound,
    OutcomeUnknown,
)
from index_store.jobs import Jobs
from index_store.list_graphs import GraphState
from index_store.machine import Machine
from index_store.models import Models
from index_store.names import check_name
from index_store.seal import open_seal, seal
from index_store.snapshots import SnapshotRecord, Snapshots
from index_store.storage import Storage, of_this_request
from model.errors import QincoError

if TYPE_CHECKING:
    from model import Codec

logger = logging.getLogger(__name__)


class Store:
    """Opens a folder, and every collection in it; `jobs` remembers work on them. Any thread may call any method."""

    @classmethod
    def open(
        cls,
        folder: str | Path,
        device: str = "cpu",
        threads: int = 2,
        max_pending: int = 200_000,
        storage: Storage | None = None,
        recent_queries: int = 0,
        pair_table_bytes: int | None = None,
    ) -> Store:
        """Take the folder (FolderInUse when another process has it) and load what it holds.

        device: where codecs run ("cpu", "cuda:0") · threads: for PyTorch, Faiss and scans, of the whole process
        recent_queries: how many of late each vector of a collection remembers, for measuring recall
        pair_table_bytes: most that a model's table for `rerank` may take; None for 64 MB
        """
        files = storage or Storage()
        return cls(Path(folder), device, threads, max_pending, files, recent_queries, pair_table_bytes)

    def __init__(
        self, folder: Path, device: str, threads: int, max_pending: int, storage: Storage, recent_queries: int,
        pair_table_bytes: int | None,
    ) -> None:  # fmt: skip
        faiss.omp_set_num_threads(threads)
        self._storage, self._folder, self._max_pending = storage, folder / "collections", max_pending
        storage.make_folder(folder)
        self._lock_file = storage.lock(folder / "lock")
        self._catalogue_file = folder / "catalogue.sqlite3"
        self._changes = threading.RLock()
        self._collections: dict[str, Collection] = {}
        self._damaged: dict[str, str] = {}
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="scan")
        self._machine = Machine(storage, self._pool, threads, recent_queries)
        try:
            self._catalogue = self._open_catalogue(folder)
            self._aliases = Aliases(self._catalogue)
            self.jobs = Jobs(self._catalogue)
            self._models = Models(storage, folder / "models", self._catalogue, device, threads, pair_table_bytes)
            self.snapshots = Snapshots(storage, folder / "snapshots", self._folder, self._models)
            self._open_collections()
        except BaseException:
            storage.unlock(self._lock_file)
            raise

    def close(self) -> None:
        """Close every collection and let the folder go."""
        with self._changes:
            for collection in self._collections.values():
                collection.close()
            self._collections = {}
            self._models.close()
            self._catalogue.close()
            seal(self._storage, self._catalogue_file)
            self._pool.shutdown()
            self._storage.unlock(self._lock_file)

    def create_collection(self, name: str, config: CollectionConfig) -> Collection:
        """Make an empty collection.

        Raises CollectionExists, InvalidConfig, ModelNotFound, DimensionMismatch, UnsupportedOption.
        """
        check_name(name, "collection")
        codecs = []  # held until the collection holds them, so that none is loaded twice
        for vector in config.vectors:
            check_name(vector, "vector")
            codec = self._codec_for(config, vector)
            if codec is not None:
                check_codec(codec, config.vectors[vector])
                check_effort(codec, config.codes_of(vector))
                codecs.append(codec)
        with self._changes:
            if name in self._collections or name in self._damaged:
                raise CollectionExists(f"There is a collection '{name}' already: delete it, or choose another name.")
            self._refuse_alias(name)
            entry = CollectionEntry(name, str(uuid4()), config)
            with of_this_request():
                collection = self._made(entry)
            self._collections = {**self._collections, name: collection}
            return collection

    def collection(self, name: str) -> Collection:
        """The collection of this name or alias; raises CollectionNotFound, DamagedData when it could not be loaded."""
        name = self._aliases.held.get(name, name)
        if name in self._damaged:
            raise DamagedData(f"The collection '{name}' could not be loaded: {self._damaged[name]}")
        if name not in self._collections:
            raise CollectionNotFound(f"There is no collection '{name}'.")
        return self._collections[name]

    def damage(self, name: str) -> tuple[CollectionConfig, str] | None:
        """What a collection was declared to hold that could not be loaded, and why not; None for any other name."""
        name = self._aliases.held.get(name, name)
        why = self._damaged.get(name)
        found = [entry.config for entry in self._catalogue.collections() if entry.name == name and why is not None]
        return None if why is None or not found else (found[0], why)

    def collections(self) -> list[str]:
        """The names of all collections, sorted; also of those that could not be loaded."""
        return sorted({*self._collections, *self._damaged})

    def change_aliases(self, actions: Sequence[AliasAction]) -> None:
        """Apply all actions or none; raises InvalidConfig, CollectionNotFound, CollectionExists, AliasNotFound."""
        with self._changes:
            self._aliases.change(actions, lambda name: name in self._collections or name in self._damaged)

    def aliases(self) -> dict[str, str]:
        """alias → collection."""
        return dict(self._aliases.held)

    def reconfigure(self, name: str, change: Callable[[CollectionConfig], CollectionConfig]) -> None:
        """Change a collection's metadata, and with what beam and candidates it encodes from now on.

        Raises CollectionNotFound, InvalidConfig, UnsupportedOption; then nothing was changed.
        """
        with self._changes:
            collection = self.collection(name)
            config = change(collection.config)
            collection.check_encoding(config)
            self._catalogue.set_config(collection.name, config)
            collection.reconfigure(config)

    def delete_collection(self, name: str) -> None:
        """Remove a collection, its aliases and its files; raises CollectionNotFound, also for an alias."""
        with self._changes:
            entry = next((one for one in self._catalogue.collections() if one.name == name), None)
            if entry is None:
                raise CollectionNotFound(f"There is no collection '{name}'.")
            self._aliases.forget(name)
            self._catalogue.remove_collection(name)
            collection = self._collections.get(name)
            self._collections = {other: one for other, one in self._collections.items() if other != name}
            self._damaged.pop(name, None)
        if collection is not None:
            collection.abandon()
        self._storage.remove_folder(self._folder / entry.folder)
        trained = [codes.auto.model for codes in entry.config.codes.values() if codes.auto is not None]
        self._remove_unused({model for model in trained if model is not None})

    def create_snapshot(self, name: str) -> SnapshotRecord:
        """Take a snapshot of a collection while writes go on; raises CollectionNotFound, DamagedData, DiskFull."""
        with of_this_request():
            return self.snapshots.create(self.collection(name))

    def restore_snapshot(self, name: str, archive: Path, sha256: str | None = None) -> None:
        """Make a collection what an archive holds, whether or not there is one of this name.

        Raises InvalidConfig (the name), InvalidSnapshot, DiskFull; then all is as before.
        """
        with of_this_request():
            self.snapshots.restore(name, archive, sha256, self._opened, self._put_in_place)

    def put_model(self, name: str, source: str | Path | bytes, sha256: str | None = None) -> ModelRecord:
        """Store a checkpoint (a path, or its bytes) under a name once `load_codec` has accepted it.

        Raises InvalidConfig (the name), ModelExists, InvalidCheckpoint (also when `sha256` is another), DiskFull.
        """
        with of_this_request():
            return self._models.put(name, source, sha256)

    def models(self) -> list[ModelRecord]:
        """All stored models, by name."""
        return self._models.all()

    def model(self, name: str) -> ModelRecord:
        """One stored model; raises ModelNotFound."""
        return self._models.get(name)

    def list_graph(self, name: str) -> GraphState | None:
        """How far the graph over a model's lists is; None for a model that needs none."""
        return self._models.graph(name)

    def model_path(self, name: str) -> Path:
        """Where its checkpoint lies; raises ModelNotFound."""
        return self._models.path(name)

    def delete_model(self, name: str) -> None:
        """Remove a model; raises ModelNotFound, ModelInUse."""
        with self._changes:
            record = self._models.get(name)
            using = [one.name for one in self._collections.values() if record.sha256 in one.codes.models_needed()]
            if using:
                raise ModelInUse(f"The model '{name}' is used by the collection '{using[0]}': delete that first.")
            for entry in self._catalogue.collections():
                if name in {entry.config.codes_of(vector).model for vector in entry.config.vectors}:
                    raise ModelInUse(f"The model '{name}' is used by the collection '{entry.name}': delete that first.")
            self._models.remove(name)

    def check_reencode(self, name: str, using: str, codes: CodesConfig) -> None:
        """Raise CollectionNotFound, ModelNotFound, or why a collection cannot be encoded so, as `reencode` would."""
        self.collection(name).codes.check_encode_anew(self._models.codec(codes.model), codes, using)

    def reencode(self, name: str, using: str, codes: CodesConfig, report: Callable[[float], None]) -> None:
        """Encode a collection's vectors by another model, while it serves by the codes it has; then switch.

        codes   the model, and what beam and candidates to encode with · report  hears the share that is done; what it
        raises stops the work: a later call goes on, `forget_encoding_anew` gives it up
        Raises also DiskFull, ReadOnly.
        """
        collection = self.collection(name)
        collection.codes.encode_anew(self._models.codec(codes.model), codes, using, report)
        self._note_models(collection)

    def note_self_training(self, name: str, using: str, next_at: int, model: str | None) -> None:
        """Note when a collection trains next, and the model that it has made now, if any.

        Of the models that it made, only the one that its codes are of is kept.
        """
        with self._changes:
            collection = self.collection(name)
            auto = collection.config.codes_of(using).auto
            if auto is None:
                return
            made = {one for one in (auto.model, model) if one is not None}
            kept = {collection.info(using).model} & made
            noted = replace(auto, next_at=next_at, model=next(iter(kept), None))
            self.reconfigure(name, lambda config: _with_auto(config, using, noted))
            self._remove_unused(made - kept)

    def _remove_unused(self, models: set[str]) -> None:
        for model in models:
            with suppress(ModelNotFound, ModelInUse):
                self.delete_model(model)

    def codec(self, name: str) -> Codec:
        """A stored model's codec; raises ModelNotFound, DamagedData."""
        return self._models.codec(name)

    def training_mse(self, name: str) -> dict[int, float]:
        """steps → squared error a vector of a model on vectors like those it was trained on, as far as it tells."""
        return self._models.training_mse(name)

    def models_ram_bytes(self) -> int:
        """The memory of all codecs, of what they share once."""
        codecs = [codec for one in list(self._collections.values()) for codec in one.codes.codecs()]
        if not codecs:
            return 0
        from model import size_bytes

        return size_bytes(codecs)

    def _open_catalogue(self, folder: Path) -> Catalogue:
        path = self._catalogue_file
        if not path.exists() and self._storage.names(self._folder):
            raise DamagedData("The data folder holds collections but no catalogue: put catalogue.sqlite3 back.")
        self._storage.make_folder(self._folder)
        open_seal(self._storage, path)
        catalogue = Catalogue(path)
        self._storage.sync_folder(folder)
        return catalogue

    def _open_collections(self) -> None:
        entries = self._catalogue.collections()
        for left in set(self._storage.names(self._folder)) - {entry.folder for entry in entries}:
            self._storage.remove_folder(self._folder / left)  # deleted, or never named, when the process ended
        for entry in entries:
            started = time.perf_counter()
            try:
                self._collections[entry.name] = self._opened(entry)
                self._note_models(self._collections[entry.name])
            except (QincoError, OSError) as error:
                self._damaged[entry.name] = _why(error)
                logger.error("Could not load collection %s: %s", entry.name, error)
            else:
                logger.info("Loaded collection %s in %.1f s", entry.name, time.perf_counter() - started)

    def _note_models(self, collection: Collection) -> None:
        """Let the catalogue name the models that a collection's codes are of; its own database decides which."""
        with self._changes:
            for entry in self._catalogue.collections():
                if entry.name == collection.name and entry.config != collection.config:
                    self._catalogue.set_config(entry.name, collection.config)

    def _made(self, entry: CollectionEntry) -> Collection:
        """A new collection, open and in the catalogue; where that fails nothing of it stays."""
        folder = self._folder / entry.folder
        try:
            self._storage.make_folder(folder)
            collection = self._opened(entry)
            try:
                self._catalogue.add_collection(entry, time.time())
            except BaseException:
                collection.abandon()
                raise
        except OutcomeUnknown:
            raise  # the next start may find it in the catalogue
        except BaseException:
            self._storage.remove_folder(folder)
            raise
        return collection

    def _put_in_place(self, entry: CollectionEntry, collection: Collection) -> None:
        """Serve a collection that was opened from now on, in the place of the one that has its name."""
        with self._changes:
            self._refuse_alias(entry.name)
            for vector in entry.config.vectors:
                self._codec_for(entry.config, vector)  # nobody may have deleted it meanwhile
            old = [one.folder for one in self._catalogue.collections() if one.name == entry.name]
            self._catalogue.replace_collection(entry, time.time())
            before = self._collections.get(entry.name)
            self._collections = {**self._collections, entry.name: collection}
            self._damaged.pop(entry.name, None)
        if before is not None:
            before.abandon()
        for folder in old:
            self._storage.remove_folder(self._folder / folder)

    def _refuse_alias(self, name: str) -> None:
        if name in self._aliases.held:
            raise CollectionExists(f"'{name}' is an alias of '{self._aliases.held[name]}': choose another name.")

    def _opened(self, entry: CollectionEntry) -> Collection:
        folder = self._folder / entry.folder
        return Collection(entry.name, folder, entry.config, self._machine, self._models, self._max_pending)

    def _codec_for(self, config: CollectionConfig, vector: str) -> Codec | None:
        model = config.codes_of(vector).model
        return None if model == NO_MODEL else self._models.codec(model)


def _with_auto(config: CollectionConfig, using: str, auto: SelfTraining) -> CollectionConfig:
    return replace(config, codes={**config.codes, using: replace(config.codes_of(using), auto=auto)})


def _why(error: QincoError | OSError) -> str:
    """What is wrong, without the path that the system's errors tell."""
    if isinstance(error, QincoError):
        return str(error)
    return f"{Path(error.filename or 'a file').name} cannot be read ({error.strerror})."
