"""One moment of a collection, packed into an archive with the checkpoints it needs while writes go on, and unpacked.

Under the collection's lock its files get second names in a folder of their own, which takes no time: segments never
change, and of originals only rows below the counter are taken, which never change either. The database is copied from a
reader's snapshot that begins under the same lock. Everything slow happens after the lock is let go.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from index_store.archive import ArchiveWriter, unpack
from index_store.catalogue import ModelRecord
from index_store.config import CollectionConfig
from index_store.errors import InvalidSnapshot
from index_store.holdings import NEXT, Holdings
from index_store.names import check_name
from index_store.storage import Storage
from model.errors import QincoError

DATABASE = "points.sqlite3"
_MODELS = "models"

Files = list[tuple[Path, int, str]]  # where it lies, how much of it, what it is unpacked as


def capture(held: Holdings, folder: Path, config: Callable[[], CollectionConfig]) -> tuple[Files, CollectionConfig]:
    """The files of one moment, linked or copied into an empty folder, and what `config` gives then. Raises DiskFull."""
    with ExitStack() as stack:
        with held.lock:
            of_then = config()
            reader = stack.enter_context(held.points.snapshot())
            held.points.counters(reader)  # its moment begins with the first look
            files = list(_linked(held, folder))
        held.points.copy_to(folder / DATABASE, reader)
    return [(folder / DATABASE, held.storage.size(folder / DATABASE), DATABASE), *files], of_then


def pack(
    storage: Storage, archive: Path, files: Files, name: str, config: CollectionConfig, models: dict[Path, ModelRecord]
) -> str:
    """Write an archive of captured files and the checkpoints that `config` names; returns its SHA-256."""
    writer = ArchiveWriter(storage, archive)
    for source, size, path in files:
        writer.add(source, size, path)
    for source, record in models.items():
        writer.add(source, storage.size(source), f"{_MODELS}/{record.name}")
    records = [asdict(record) for record in models.values()]
    return writer.finish({"collection": name, "config": config.to_json(), "models": records})


def unpacked(storage: Storage, archive: Path, folder: Path) -> tuple[CollectionConfig, dict[Path, ModelRecord]]:
    """Unpack into an empty folder: a collection's files, its config, and where its checkpoints lie.

    Raises InvalidSnapshot, DiskFull.
    """
    manifest = unpack(storage, archive, folder)
    try:
        config = CollectionConfig.from_json(manifest["config"])
        for vector, declared in config.vectors.items():
            check_name(vector, "vector")
            if type(declared.size) is not int:
                raise TypeError(f"a vector of {declared.size} numbers")
        records = [ModelRecord(**one) for one in manifest["models"]]
        for record in records:
            check_name(record.name, "model")
            if not isinstance(record.sha256, str):
                raise TypeError("a checksum that is no text")
        return config, {folder / _MODELS / record.name: record for record in records}
    except (KeyError, TypeError, AttributeError, QincoError) as error:
        raise InvalidSnapshot(f"The snapshot is of a collection that this version does not know ({error}).") from error


def link_models(storage: Storage, sources: dict[Path, ModelRecord], folder: Path) -> dict[Path, ModelRecord]:
    """Second names for checkpoints, which last when their models are removed. Raises FileNotFoundError, DiskFull."""
    storage.make_folder(folder / _MODELS)
    linked = {}
    for source, record in sources.items():
        target = folder / _MODELS / record.name
        storage.link(source, target)
        linked[target] = record
    return linked


def remove_models(storage: Storage, folder: Path) -> None:
    """Remove the checkpoints that were unpacked, once they are stored."""
    storage.remove_folder(folder / _MODELS)


def _linked(held: Holdings, folder: Path) -> Iterator[tuple[Path, int, str]]:
    """Second names for all files but the database, each with the size that is of this moment."""
    storage, sizes = held.storage, dict[Path, int]()
    for index in held.indexes.values():
        sizes |= index.originals.sizes_below(held.next_row)
    codes = held.points.codes
    needed = {file for name in held.indexes for one in (name, name + NEXT) for file in codes.files_of(one)}
    for source in _files_below(storage, held.folder):
        if source.suffix == ".vec" and source not in sizes:
            continue  # begun by a write that is not committed
        path = source.relative_to(held.folder)
        target = folder / path
        storage.make_folder(target.parent)
        try:
            storage.link(source, target)
        except FileNotFoundError:
            if source.name in needed:
                raise
            continue  # of codes that others took the place of: removed just now, without the lock
        yield target, sizes.get(source, storage.size(target)), path.as_posix()


def _files_below(storage: Storage, folder: Path) -> Iterator[Path]:
    for name in storage.names(folder):
        path = folder / name
        if path.is_dir():
            yield from _files_below(storage, path)
        elif not name.startswith(DATABASE) and path.suffix not in (".tmp", ".damaged"):
            yield path
