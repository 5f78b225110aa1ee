"""Stored checkpoints: put once they load, loaded once for all collections that use them."""

from __future__ import annotations

import hashlib
import io
import logging
import time
from pathlib import Path
from threading import Lock, RLock
from typing import TYPE_CHECKING, BinaryIO
from uuid import uuid4
from weakref import WeakValueDictionary

from index_store import conversion
from index_store.catalogue import Catalogue, ModelRecord
from index_store.errors import DamagedData, DiskUnavailable, ModelExists, ModelNotFound
from index_store.list_graphs import GraphState, ListGraphs
from index_store.names import check_name
from index_store.storage import Storage
from index_store.warming import warm
from model.errors import InvalidCheckpoint

if TYPE_CHECKING:
    from model import Codec

logger = logging.getLogger(__name__)

_LONGEST_NAME = 200
_SUFFIX, _GRAPH_SUFFIX = ".safetensors", ".graph"
_PIECE_BYTES = 16 << 20


class Models:
    """The checkpoints of one data folder."""

    def __init__(self, storage: Storage, folder: Path, catalogue: Catalogue, device: str, threads: int = 1,
                 pair_table_bytes: int | None = None) -> None:  # fmt: skip
        self._storage, self._folder, self._catalogue, self._device = storage, folder, catalogue, device
        self._threads, self._pair_table_bytes = threads, pair_table_bytes
        self._lock = RLock()
        self._one_conversion = Lock()  # each may take much memory
        self._codecs: WeakValueDictionary[str, Codec] = WeakValueDictionary()
        self._graphs = ListGraphs(storage, threads, self._take_graph)
        storage.make_folder(folder)
        named = {path.name for record in catalogue.models() for path in self._files(record.name)}
        for file in set(storage.names(folder)) - named:  # what a kill left between a file and its entry
            if (folder / file).is_dir():
                storage.remove_folder(folder / file)
            else:
                storage.remove(folder / file)
        for record in catalogue.models():
            self._see_to_graph(record)

    def put(self, name: str, source: str | Path | bytes, sha256: str | None) -> ModelRecord:
        """Store a checkpoint once `load_codec` accepts it; the authors' archives are kept as our safetensors.

        Raises InvalidConfig (the name), ModelExists, InvalidCheckpoint, DiskFull.
        """
        check_name(name, "model", _LONGEST_NAME)
        self._refuse_existing(name)
        arrived = self._folder / f"{uuid4().hex}.arriving"
        self._storage.make_folder(arrived)
        try:
            given = self._received(source, arrived / "given")
            if sha256 is not None and sha256.lower() != given:
                raise InvalidCheckpoint(f"The file's SHA-256 is {given}, not {sha256} as announced: send it again.")
            checkpoint, is_converted = self._in_our_format(arrived, given)
            record = _record(
                name, self._loaded(checkpoint, "cpu"), self._storage.size(checkpoint), given if is_converted else None
            )
            self._storage.sync(checkpoint)
            with self._lock:
                self._refuse_existing(name)
                self._storage.rename(checkpoint, self._folder / (name + _SUFFIX))
                self._storage.sync_folder(self._folder)
                self._catalogue.add_model(record)
                self._see_to_graph(record)
            return record
        finally:
            self._storage.remove_folder(arrived)

    def all(self) -> list[ModelRecord]:
        """All models by name."""
        return self._catalogue.models()

    def get(self, name: str) -> ModelRecord:
        """One model; raises ModelNotFound."""
        found = [record for record in self._catalogue.models() if record.name == name]
        if not found:
            raise ModelNotFound(f"There is no model '{name}': upload it first, or use another.")
        return found[0]

    def path(self, name: str) -> Path:
        """Where a model's checkpoint lies; raises ModelNotFound."""
        return self._folder / (self.get(name).name + _SUFFIX)

    def codec(self, name: str) -> Codec:
        """A model's codec, loaded once for all who hold it at a time; raises ModelNotFound, DamagedData."""
        with self._lock:
            codec = self._codecs.get(name)
            if codec is None:
                record = self.get(name)
                try:
                    codec = self._loaded(self.path(name), self._device)
                except InvalidCheckpoint as error:
                    self._tell_if_unopened(name, error.__cause__)
                    raise DamagedData(f"The stored model '{name}' does not load any more: {error}") from error
                if codec.sha256 != record.sha256:
                    raise DamagedData(f"The stored model '{name}' is not the file that was put (SHA-256 differs).")
                self._codecs[name] = codec
                self._take_graph(name)
            return codec

    def graph(self, name: str) -> GraphState | None:
        """How far the graph over a model's lists is; None for one that needs none."""
        return self._graphs.state(name)

    def training_mse(self, name: str) -> dict[int, float]:
        """steps → squared error a vector on vectors set apart when it was trained, as far as the checkpoint tells."""
        from model.checkpoint.ours import read_training

        record = self.get(name)
        try:
            told = read_training(self.path(name))
        except OSError as error:
            self._tell_if_unopened(name, error)
            raise
        by_steps = {one["steps"]: one["mse"] for one in told.get("steps", [])}
        mse = told.get("quality", {}).get("mse")
        return by_steps or ({} if mse is None else {record.steps: mse})

    def _tell_if_unopened(self, name: str, error: BaseException | None) -> None:
        """Raise DiskUnavailable where a file is there: safetensors says of whatever it cannot open that it is not."""
        if isinstance(error, OSError) and self.path(name).exists():
            raise DiskUnavailable(
                f"The disk cannot be used just now (the file of the model '{name}' cannot be opened): nothing of this "
                "request was kept. Try again once that is mended."
            ) from error

    def remove(self, name: str) -> None:
        """Forget a model; raises ModelNotFound. The caller has made sure that nobody uses it."""
        with self._lock:
            files = self._files(self.get(name).name)
            self._catalogue.remove_model(name)
            self._codecs.pop(name, None)
            self._graphs.forget(name)
            for path in files:
                self._storage.remove(path)

    def close(self) -> None:
        """End what is done in the background."""
        self._graphs.close()

    def _files(self, name: str) -> tuple[Path, Path]:
        """A model's checkpoint, and the graph over its lists, if there is one."""
        checkpoint = self._folder / (name + _SUFFIX)
        return checkpoint, self._folder / (name + _GRAPH_SUFFIX)

    def _loaded(self, checkpoint: Path, device: str) -> Codec:
        """Imports Numba, which a service without models does without: 65 MB, and 0.4 s of its start."""
        from model import load_codec
        from model.kernels.threads import set_threads

        set_threads(self._threads)
        codec = load_codec(checkpoint, device, pair_table_bytes=self._pair_table_bytes)
        if codec.device == "cpu":
            warm()  # here, where no collection's lock is held: writes would wait for imports and compilation
        return codec

    def _see_to_graph(self, record: ModelRecord) -> None:
        """Have the graph over very many lists made, unless it lies there."""
        if not record.ivf_lists or self._device != "cpu":
            return
        from model.coarse import MANY_LISTS

        if record.ivf_lists < MANY_LISTS:
            return
        checkpoint, graph = self._files(record.name)
        if self._storage.size(graph):
            self._graphs.found(record.name)
        else:
            self._graphs.make(record.name, checkpoint, graph, record.sha256)

    def _take_graph(self, name: str) -> None:
        """Let a model's codec, if it is loaded, use the graph that lies beside it; one that is damaged is made anew."""
        with self._lock:
            codec, (_, graph) = self._codecs.get(name), self._files(name)
            if codec is None or codec.coarse is None or codec.coarse.storage is None or not self._storage.size(graph):
                return
            try:
                codec.coarse.take_graph(graph, codec.sha256)
            except InvalidCheckpoint as error:
                logger.warning("The graph over the lists of model %s is made anew: %s", name, error)
                self._storage.remove(graph)
                self._see_to_graph(self.get(name))

    def _received(self, source: str | Path | bytes, path: Path) -> str:
        """Copy a checkpoint to `path`, a piece at a time; returns its SHA-256."""
        digest, offset = hashlib.sha256(), 0
        with _opened(source) as file:
            while piece := file.read(_PIECE_BYTES):
                self._storage.write_at(path, offset, memoryview(piece))
                digest.update(piece)
                offset += len(piece)
        if not offset:
            raise InvalidCheckpoint("The checkpoint is an empty file.")
        return digest.hexdigest()

    def _in_our_format(self, arrived: Path, sha256: str) -> tuple[Path, bool]:
        """The checkpoint that a file means, and whether it had to be converted."""
        given, converted = arrived / "given", arrived / "converted"
        if self._storage.read(given, 0, len(conversion.MAGIC)) != conversion.MAGIC:
            return given, False
        with self._one_conversion:
            conversion.convert(given, converted, sha256)
        return converted, True

    def _refuse_existing(self, name: str) -> None:
        if any(record.name == name for record in self._catalogue.models()):
            raise ModelExists(f"There is a model '{name}' already: delete it first, or choose another name.")


def _opened(source: str | Path | bytes) -> BinaryIO:
    if isinstance(source, bytes):
        return io.BytesIO(source)
    try:
        return Path(source).open("rb")
    except OSError as error:
        raise InvalidCheckpoint(f"The checkpoint cannot be read: {error.strerror}.") from error


def _record(name: str, codec: Codec, size_bytes: int, converted_from: str | None) -> ModelRecord:
    return ModelRecord(
        name, codec.sha256, _kind(codec), codec.dim, codec.steps, codec.codewords, codec.ivf_lists, size_bytes,
        time.time(), converted_from,
    )  # fmt: skip


def _kind(codec: Codec) -> str:
    """As the papers call it; QINCo-LR is computed as the QINCo that it equals."""
    from model import NetworkCodec

    if not isinstance(codec, NetworkCodec):
        return "PQ-QINCo"
    return ("IVF-" if codec.ivf_lists else "") + ("QINCo2" if codec.config.outer_skip else "QINCo")
