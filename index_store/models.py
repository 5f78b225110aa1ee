"""Stored checkpoints: put once they load, loaded once for all collections that use them."""

import hashlib
import time
from pathlib import Path
from threading import RLock

from index_store.catalogue import Catalogue, ModelRecord
from index_store.errors import DamagedData, ModelExists, ModelNotFound
from index_store.names import check_name
from index_store.storage import Storage
from model import Codec, load_codec, save_codec
from model.errors import InvalidCheckpoint

_LONGEST_NAME = 200
_SUFFIX = ".safetensors"
_ARCHIVE_MAGIC = b"PK\x03\x04"


class Models:
    """The checkpoints of one data folder."""

    def __init__(self, storage: Storage, folder: Path, catalogue: Catalogue, device: str) -> None:
        self._storage, self._folder, self._catalogue, self._device = storage, folder, catalogue, device
        self._lock = RLock()
        self._codecs: dict[str, Codec] = {}
        storage.make_folder(folder)
        named = {record.name + _SUFFIX for record in catalogue.models()}
        for file in set(storage.names(folder)) - named:  # what a kill left between a file and its entry
            storage.remove(folder / file)

    def put(self, name: str, source: str | Path | bytes, sha256: str | None) -> ModelRecord:
        """Store a checkpoint once `load_codec` accepts it; the authors' archives are kept as our safetensors.

        Raises InvalidConfig (the name), ModelExists, InvalidCheckpoint, DiskFull.
        """
        check_name(name, "model", _LONGEST_NAME)
        data = source if isinstance(source, bytes) else _read(Path(source))
        given = hashlib.sha256(data).hexdigest()
        if sha256 is not None and sha256.lower() != given:
            raise InvalidCheckpoint(f"The file's SHA-256 is {given}, not {sha256} as announced: send it again.")
        with self._lock:
            self._refuse_existing(name)
            unfinished, path = self._folder / f"{name}.unfinished", self._folder / (name + _SUFFIX)
            try:
                codec = self._stored(data, unfinished)
                self._storage.sync(unfinished)
                self._storage.rename(unfinished, path)
            finally:
                self._storage.remove(unfinished)
            self._storage.sync_folder(self._folder)
            record = _record(name, codec, self._storage.size(path))
            self._catalogue.add_model(record)
            return record

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
        """A model's codec, loaded once; raises ModelNotFound, DamagedData."""
        with self._lock:
            if name not in self._codecs:
                record = self.get(name)
                try:
                    codec = load_codec(self.path(name), self._device)
                except InvalidCheckpoint as error:
                    raise DamagedData(f"The stored model '{name}' does not load any more: {error}") from error
                if codec.sha256 != record.sha256:
                    raise DamagedData(f"The stored model '{name}' is not the file that was put (SHA-256 differs).")
                self._codecs[name] = codec
            return self._codecs[name]

    def remove(self, name: str) -> None:
        """Forget a model; raises ModelNotFound. The caller has made sure that nobody uses it."""
        with self._lock:
            path = self.path(name)
            self._catalogue.remove_model(name)
            self._codecs.pop(name, None)
            self._storage.remove(path)

    def forget_codec(self, name: str) -> None:
        """Let a codec's memory go; it is loaded again when it is needed."""
        with self._lock:
            self._codecs.pop(name, None)

    def ram_bytes(self) -> int:
        """The memory of all loaded codecs."""
        return sum(codec.size_bytes for codec in list(self._codecs.values()))

    def _stored(self, data: bytes, path: Path) -> Codec:
        """Write a checkpoint to `path` in our format, and load it from there."""
        self._storage.remove(path)
        self._storage.write_at(path, 0, memoryview(data))
        codec = load_codec(path, "cpu")
        if data.startswith(_ARCHIVE_MAGIC):
            save_codec(codec, path)
            codec = load_codec(path, "cpu")
        return codec

    def _refuse_existing(self, name: str) -> None:
        if any(record.name == name for record in self._catalogue.models()):
            raise ModelExists(f"There is a model '{name}' already: delete it first, or choose another name.")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidCheckpoint(f"The checkpoint cannot be read: {error.strerror}.") from error


def _record(name: str, codec: Codec, size_bytes: int) -> ModelRecord:
    kind = "QINCo2 with IVF" if codec.ivf_lists else "QINCo2"
    return ModelRecord(
        name, codec.sha256, kind, codec.dim, codec.steps, codec.codewords, codec.ivf_lists, size_bytes, time.time()
    )
