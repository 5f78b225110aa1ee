"""Reads every byte of a data folder that no server holds, and tells what does not check: file, offset, and why.

It changes nothing. What a start would rebuild by itself, as a damaged segment where originals are kept, is told too;
but not what follows from other files and is checked and made anew when it is used: row → slot files, graphs over lists.
"""

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from index_store import coding, lists, segment
from index_store.archive import sha256_of
from index_store.errors import DamagedData
from index_store.holdings import NEXT
from index_store.originals import Originals
from index_store.seal import check_pages, check_seal, connect_to_read
from index_store.storage import Storage

CATALOGUE, DATABASE = "catalogue.sqlite3", "points.sqlite3"


@dataclass(frozen=True)
class Damage:
    """One thing that does not check. `file` is relative to the data folder; `offset` where it begins, if known."""

    file: str
    offset: int | None
    what: str


@dataclass
class Verdict:
    """What was looked at, and what of it is damaged."""

    collections: int = 0
    models: int = 0
    files: int = 0
    size_bytes: int = 0
    damages: list[Damage] = field(default_factory=list)


def verify(folder: Path) -> Verdict:
    """Check a data folder; raises FolderInUse while a server holds it, DamagedData where there is none at all."""
    storage = Storage()
    if not (folder / CATALOGUE).exists():
        raise DamagedData(f"{folder} is not a data folder: it holds no {CATALOGUE}.")
    lock = storage.lock(folder / "lock")
    try:
        checking = _Checking(storage, folder)
        checking.catalogue()
        return checking.verdict
    finally:
        storage.unlock(lock)


Ask = Callable[..., list[tuple[Any, ...]]]


class _Checking:
    def __init__(self, storage: Storage, folder: Path) -> None:
        self._storage, self._folder = storage, folder
        self.verdict = Verdict()

    def catalogue(self) -> None:
        path = self._folder / CATALOGUE
        if not self._exists(path) or not self._database(path):
            return
        try:
            with _rows(path) as ask:
                models = ask("SELECT name, sha256 FROM models")
                collections = ask("SELECT name, folder, config FROM collections")
        except (sqlite3.Error, ValueError) as error:
            self._tell(path, None, f"{path.name} cannot be read: {error}.")
            return
        for name, sha256 in models:
            self.verdict.models += 1
            self._model(self._folder / "models" / f"{name}.safetensors", sha256)
        for name, folder, config in collections:
            self.verdict.collections += 1
            self._collection(self._folder / "collections" / folder, name, json.loads(config))

    def _model(self, path: Path, sha256: str) -> None:
        if self._exists(path) and sha256_of(self._storage, path) != sha256:
            self._tell(path, None, f"The model {path.stem} is not the file that was stored: its SHA-256 differs.")

    def _collection(self, folder: Path, name: str, config: dict[str, Any]) -> None:
        path = folder / DATABASE
        if not self._exists(path) or not self._database(path):
            return
        try:
            with _rows(path) as ask:
                for vector, told in config["vectors"].items():
                    codes = config["codes"].get(vector, {})
                    self._vector(ask, folder / "vectors" / vector, vector, told["size"], codes.get("originals"))
        except (sqlite3.Error, ValueError) as error:
            self._tell(path, None, f"The collection {name}: {path.name} cannot be read: {error}.")

    def _vector(self, ask: Ask, folder: Path, vector: str, dim: int, kept: str | None) -> None:
        self._originals(ask, folder / "originals", vector, dim, kept or "float32")
        both = vector, vector + NEXT
        for file, first, stop in ask("SELECT file, first_row, stop_row FROM segments WHERE vector IN (?, ?)", *both):
            segments = folder / "segments"
            if self._exists(segments / file):
                self._check(segments / file, partial(segment.load, self._storage, segments, file, first, stop))
        centroids = [folder / "lists.bin"] if (folder / "lists.bin").exists() else []
        for tables, own in ask("SELECT tables, lists FROM codings WHERE vector IN (?, ?)", *both):
            path = folder / "shortlist" / (tables or "")
            if tables and self._exists(path):
                self._check(path, partial(coding.read_checked, self._storage, path))
            centroids += [folder / own] if own else []
        for path in centroids:
            if self._exists(path):
                self._check(path, partial(lists.load, self._storage, path))

    def _originals(self, ask: Ask, folder: Path, vector: str, dim: int, kept: str) -> None:
        is_kept = kept != "none"
        originals = Originals(self._storage, folder, dim, kept if is_kept else "float32")
        ((stop,),) = ask("SELECT value FROM meta WHERE key = 'next_row'")
        for path, size in originals.sizes_below(stop).items():
            self._count(path)
            self._check(path, partial(originals.check_stripe, path, size))
        ((watermark,),) = ask("SELECT IFNULL(MAX(encoded_upto), 0) FROM watermarks WHERE vector = ?", vector)
        for first, end in originals.missing(stop):
            needed = first if is_kept else max(first, watermark)
            if ask("SELECT 1 FROM points WHERE row >= ? AND row < ? LIMIT 1", needed, end):
                path, _ = originals.place(first)
                self._tell(path, None, f"{path.name} is gone, with rows from {first} on.")
        for first, count, checksum in ask("SELECT first_row, count, checksum FROM batches WHERE vector = ?", vector):
            if originals.holds(first, count) and originals.checksum(first, count) != checksum:
                path, offset = originals.place(first)
                self._tell(path, offset, f"Rows {first} to {first + count - 1} do not match their checksum.")

    def _database(self, path: Path) -> bool:
        """Whether a database can be read on; what is wrong with it is told."""

        def look() -> None:
            if not check_seal(self._storage, path) or self._storage.size(path.with_name(path.name + "-wal")):
                check_pages(path, "integrity_check")

        return self._check(path, look)

    def _exists(self, path: Path) -> bool:
        if path.exists():
            self._count(path)
            return True
        self._tell(path, None, f"{path.name} is gone.")
        return False

    def _check(self, path: Path, check: Callable[[], object]) -> bool:
        try:
            check()
            return True
        except DamagedData as error:
            self._tell(error.file or path, error.offset, str(error))
        except OSError as error:
            self._tell(path, None, f"{path.name} cannot be read: {error.strerror}.")
        return False

    def _count(self, path: Path) -> None:
        self.verdict.files += 1
        self.verdict.size_bytes += self._storage.size(path)

    def _tell(self, file: Path, offset: int | None, what: str) -> None:
        self.verdict.damages.append(Damage(file.relative_to(self._folder).as_posix(), offset, what))


@contextmanager
def _rows(path: Path) -> Iterator[Ask]:
    """Ask a database without changing it."""
    db = connect_to_read(path)
    try:
        yield lambda sql, *values: db.execute(sql, values).fetchall()
    finally:
        db.close()
