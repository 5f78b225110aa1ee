"""id ↔ row, payloads, tombstones, segments and watermarks of one collection: the SQLite database that decides.

What a transaction here has committed is true; files that say more are cut back or deleted. One connection writes,
guarded by the collection's lock; readers borrow connections from a small pool and see the last commit.
"""

import itertools
import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from pyroaring import BitMap

from index_store import faults
from index_store.answers import Payload, PointId, Rows
from index_store.errors import DamagedData, DiskFull, InvalidPoints

FORMAT = 5
IDS_A_STATEMENT = 500
CACHE_KIB = 2048
COPIED_PAGES = 1024
_SIGN = 1 << 63

_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE points (row INTEGER PRIMARY KEY, id NOT NULL UNIQUE, version INTEGER NOT NULL, payload TEXT);
CREATE TABLE tombstones (row INTEGER PRIMARY KEY);
CREATE TABLE absent (vector TEXT NOT NULL, row INTEGER NOT NULL, PRIMARY KEY (vector, row)) WITHOUT ROWID;
CREATE TABLE watermarks (vector TEXT PRIMARY KEY, encoded_upto INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE segments (
    file TEXT PRIMARY KEY, vector TEXT NOT NULL,
    first_row INTEGER NOT NULL, stop_row INTEGER NOT NULL, count INTEGER NOT NULL, draft INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE codings (
    vector TEXT PRIMARY KEY, steps INTEGER NOT NULL, tables TEXT, sha256 TEXT, lists TEXT
) WITHOUT ROWID;
CREATE TABLE batches (
    vector TEXT NOT NULL, first_row INTEGER NOT NULL, count INTEGER NOT NULL, checksum INTEGER NOT NULL,
    PRIMARY KEY (vector, first_row)
) WITHOUT ROWID;
"""

StoredId = int | bytes
T = TypeVar("T")


@dataclass(frozen=True)
class SegmentEntry:
    """A segment that a transaction has named: it holds the live rows of first_row..stop_row−1."""

    file: str
    first_row: int
    stop_row: int
    count: int
    draft: bool = False


@dataclass(frozen=True)
class CodingEntry:
    """How a vector index reads its codes.

    steps    of the model's codes it keeps · tables  the file of its own shortlist decoders, if any
    sha256   of the model's checkpoint; None: the one that the collection was made with
    lists    the file of its centroids, where it has some of its own by another name than `lists.bin`
    """

    steps: int
    tables: str | None
    sha256: str | None = None
    lists: str | None = None


@dataclass(frozen=True)
class PointEntry:
    """A row's point."""

    row: int
    id: PointId
    version: int
    payload: Payload | None


@dataclass(frozen=True)
class Touched:
    """Rows that a transaction has made points, has removed, or has given another payload."""

    added: BitMap = field(default_factory=BitMap)
    gone: BitMap = field(default_factory=BitMap)
    changed: BitMap = field(default_factory=BitMap)


class Points:
    """The database of one collection. `touched` is what the last transaction did to points, so far."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.touched = Touched()
        is_new = not path.exists()
        self.db = _connect(path)
        self._readers: list[sqlite3.Connection] = []
        if is_new:
            with self.transaction():
                for statement in _SCHEMA.split(";\n"):
                    self.db.execute(statement)
                self.db.executemany(
                    "INSERT INTO meta VALUES (?, ?)", [("format", FORMAT), *zip(COUNTERS, (0, 0, 0), strict=True)]
                )
        try:
            found = self._meta("format")
        except sqlite3.DatabaseError as error:
            raise DamagedData(f"{path.name} cannot be read: {error}.") from error
        if found in (1, 2, 3, 4):
            found = self._upgrade(found)
        if found != FORMAT:
            raise DamagedData(f"{path.name} is of format {found}; this version reads format {FORMAT}.")

    def close(self) -> None:
        """Close every connection."""
        while self._readers:
            self._readers.pop().close()
        self.db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit what is written inside, or nothing of it. The caller holds the collection's lock.

        Raises DiskFull, DiskUnavailable; after any other error of SQLite's it is unknown what the disk holds.
        """
        try:
            self.db.execute("BEGIN IMMEDIATE")
            self.touched = Touched()
            yield
            self.db.execute("COMMIT")
        except BaseException as error:
            if self.db.in_transaction:
                self.db.execute("ROLLBACK")
            if isinstance(error, sqlite3.Error):
                raise faults.of_database(error) from error
            raise

    @contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """A reader's connection in one consistent moment. Raises DiskUnavailable, DamagedData."""
        try:
            reader = self._reader()
            reader.execute("BEGIN")
        except sqlite3.Error as error:
            raise self._unreadable(error) from error
        try:
            yield reader
        except sqlite3.DatabaseError as error:
            raise self._unreadable(error) from error
        finally:
            if reader.in_transaction:
                reader.execute("ROLLBACK")
            self._readers.append(reader)

    def _reader(self) -> sqlite3.Connection:
        try:
            return self._readers.pop()
        except IndexError:
            return _connect(self._path)

    def _unreadable(self, error: sqlite3.Error) -> Exception:
        """Why a reader failed, as an error of ours; the error itself where it tells of neither disk nor damage."""
        known = faults.of_database(error)
        code = getattr(error, "sqlite_errorcode", None)
        if known is not error:
            return known
        if code is None or code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_IOERR):
            return DamagedData(f"{self._path.name} cannot be read: {error}.", self._path)
        return error

    def counters(self, reader: sqlite3.Connection | None = None) -> dict[str, int]:
        """next_row (rows below it are taken), version (the last operation's id), points (how many there are)."""
        found = dict((reader or self.db).execute("SELECT key, value FROM meta").fetchall())
        return {key: int(found[key]) for key in COUNTERS}

    def check_counters(self) -> None:
        """Raise DamagedData when rows are in use that the row counter does not cover: files are cut back to it."""
        (stop,) = self.db.execute(
            "SELECT IFNULL(MAX(stop), 0) FROM (SELECT MAX(row) + 1 AS stop FROM points "
            "UNION ALL SELECT MAX(stop_row) FROM segments UNION ALL SELECT MAX(encoded_upto) FROM watermarks "
            "UNION ALL SELECT MAX(first_row + count) FROM batches)"
        ).fetchone()
        if stop > self.counters()["next_row"]:
            raise DamagedData(f"{self._path.name} is damaged: its row counter is below row {stop - 1}.", self._path)

    def set_counters(self, **counters: int) -> None:
        """Write counters, in a transaction."""
        self.db.executemany("UPDATE meta SET value = ? WHERE key = ?", [(v, k) for k, v in counters.items()])

    def insert(self, first: int, ids: Sequence[StoredId], payloads: Sequence[str | None] | None, version: int) -> Rows:
        """Give `ids` the rows from `first` on, in a transaction; returns the rows they had before, now tombstones."""
        taken = self.remove_ids(ids)
        self.touched.added.update(range(first, first + len(ids)))
        texts: Iterable[str | None] = payloads if payloads is not None else (None for _ in ids)
        self.db.executemany(
            "INSERT INTO points VALUES (?, ?, ?, ?)",
            ((first + place, key, version, text) for place, (key, text) in enumerate(zip(ids, texts, strict=True))),
        )
        return taken

    def remove_ids(self, ids: Sequence[StoredId]) -> Rows:
        """Forget points by id, in a transaction; returns their rows, now tombstones."""
        rows: list[int] = []
        for some in _pieces(ids):
            marks = ",".join("?" * len(some))
            rows += [row for (row,) in self.db.execute(f"DELETE FROM points WHERE id IN ({marks}) RETURNING row", some)]
        return self._bury(rows)

    def remove_rows(self, rows: Sequence[int]) -> Rows:
        """Forget points by row, in a transaction; returns those that were there, now tombstones."""
        gone: list[int] = []
        for some in _pieces(rows):
            marks = ",".join("?" * len(some))
            sql = f"DELETE FROM points WHERE row IN ({marks}) RETURNING row"
            gone += [row for (row,) in self.db.execute(sql, some)]
        return self._bury(gone)

    def _bury(self, rows: list[int]) -> Rows:
        self.db.executemany("INSERT INTO tombstones VALUES (?)", ((row,) for row in rows))
        self.touched.gone.update(rows)
        return np.array(rows, np.uint32)

    def rows_of(self, ids: Sequence[StoredId], reader: sqlite3.Connection) -> dict[StoredId, int]:
        """id → row of those that are there."""
        found: dict[StoredId, int] = {}
        for some in _pieces(ids):
            marks = ",".join("?" * len(some))
            found.update(reader.execute(f"SELECT id, row FROM points WHERE id IN ({marks})", some).fetchall())
        return found

    def ids_from(
        self, first: StoredId | None, count: int, chosen: BitMap | None, reader: sqlite3.Connection
    ) -> list[tuple[int, StoredId]]:
        """(row, id) of the first `count` points from an id on, by id, of those rows that are `chosen` (None: all)."""
        found = reader.execute("SELECT row, id FROM points WHERE id >= ? ORDER BY id", (_least(first),))
        return list(itertools.islice((one for one in found if chosen is None or one[0] in chosen), count))

    def ids_of(
        self, rows: Sequence[int], first: StoredId | None, count: int, reader: sqlite3.Connection
    ) -> list[tuple[int, StoredId]]:
        """The same of few `rows`, which are looked up."""
        found: list[tuple[int, StoredId]] = []
        for some in _pieces(rows):
            marks = ",".join("?" * len(some))
            sql = f"SELECT row, id FROM points WHERE row IN ({marks}) AND id >= ?"
            found += reader.execute(sql, [*some, _least(first)]).fetchall()
        return sorted(found, key=lambda one: (isinstance(one[1], bytes), one[1]))[:count]

    def entries(self, rows: Sequence[int], with_payload: bool, reader: sqlite3.Connection) -> dict[int, PointEntry]:
        """row → point of those rows that are points now."""
        found: dict[int, PointEntry] = {}
        column = "payload" if with_payload else "NULL"
        for some in _pieces(rows):
            marks = ",".join("?" * len(some))
            for row, key, version, text in reader.execute(
                f"SELECT row, id, version, {column} FROM points WHERE row IN ({marks})", some
            ):
                found[row] = PointEntry(row, id_from_stored(key), version, json.loads(text) if text else None)
        return found

    def payload_texts(self, chosen: BitMap | None, reader: sqlite3.Connection) -> Iterator[tuple[int, str]]:
        """(row, JSON text) of all payloads, of those rows that are `chosen` (None: all)."""
        if chosen is None or len(chosen) > IDS_A_STATEMENT:
            found = reader.execute("SELECT row, payload FROM points WHERE payload IS NOT NULL")
            yield from (one for one in found if chosen is None or one[0] in chosen)
        else:
            marks = ",".join("?" * len(chosen))
            sql = f"SELECT row, payload FROM points WHERE row IN ({marks}) AND payload IS NOT NULL"
            yield from reader.execute(sql, chosen.to_array().tolist())

    def change_payloads(self, rows: Sequence[int], change: Callable[[Payload], Payload], version: int) -> None:
        """Put what `change` makes of each row's payload in its place, in a transaction."""
        self.touched.changed.update(rows)
        for some in _pieces(rows):
            marks = ",".join("?" * len(some))
            found = self.db.execute(f"SELECT row, payload FROM points WHERE row IN ({marks})", some).fetchall()
            texts = payload_texts([change(json.loads(text) if text else {}) for _, text in found])
            self.db.executemany(
                "UPDATE points SET payload = ?, version = ? WHERE row = ?",
                ((text, version, row) for text, (row, _) in zip(texts, found, strict=True)),
            )

    def touch(self, rows: Sequence[int], version: int) -> None:
        """Note the last operation that changed these points, in a transaction."""
        self.db.executemany("UPDATE points SET version = ? WHERE row = ?", ((version, row) for row in rows))

    def add_absent(self, vector: str, rows: Sequence[int]) -> None:
        """Note rows whose points lack a named vector, in a transaction."""
        self.db.executemany("INSERT OR IGNORE INTO absent VALUES (?, ?)", ((vector, row) for row in rows))

    def absent(self, vector: str) -> Rows:
        """All rows whose points lack a named vector."""
        found = self.db.execute("SELECT row FROM absent WHERE vector = ?", (vector,))
        return np.fromiter((row for (row,) in found), np.uint32)

    def has_rows_between(self, first: int, stop: int) -> bool:
        """Whether any of the rows first..stop−1 is a point."""
        found = self.db.execute("SELECT 1 FROM points WHERE row >= ? AND row < ? LIMIT 1", (first, stop)).fetchone()
        return found is not None

    def largest_id(self) -> int | None:
        """The largest integer id."""
        with self.snapshot() as reader:  # blobs sort after integers: the bound leaves them out and uses the index
            found = reader.execute("SELECT MAX(id) FROM points WHERE id <= ?", (_SIGN - 1,)).fetchone()[0]
        return None if found is None else int(found) + _SIGN

    def tombstones(self) -> Rows:
        """All tombstones."""
        return np.fromiter((row for (row,) in self.db.execute("SELECT row FROM tombstones")), np.uint32)

    def purge_tombstones(self, rows: Sequence[int]) -> None:
        """Forget tombstones that no file holds any more, in a transaction."""
        self.db.executemany("DELETE FROM tombstones WHERE row = ?", ((row,) for row in rows))
        self.db.executemany("DELETE FROM absent WHERE row = ?", ((row,) for row in rows))

    def watermark(self, vector: str) -> int:
        """The row up to which a vector index is encoded."""
        found = self.db.execute("SELECT encoded_upto FROM watermarks WHERE vector = ?", (vector,)).fetchone()
        return int(found[0]) if found else 0

    def set_watermark(self, vector: str, row: int) -> None:
        """Move a watermark, in a transaction."""
        self.db.execute("INSERT OR REPLACE INTO watermarks VALUES (?, ?)", (vector, row))

    def segments(self, vector: str) -> list[SegmentEntry]:
        """The segments of a vector index, oldest rows first."""
        found = self.db.execute(
            "SELECT file, first_row, stop_row, count, draft FROM segments WHERE vector = ? ORDER BY first_row",
            (vector,),
        )
        return [SegmentEntry(*entry) for entry in found]

    def replace_segments(self, vector: str, old: Iterable[str], new: Iterable[SegmentEntry]) -> None:
        """Forget `old` files and name `new` ones, in a transaction."""
        self.db.executemany("DELETE FROM segments WHERE file = ?", ((file,) for file in old))
        self.db.executemany(
            "INSERT INTO segments VALUES (?, ?, ?, ?, ?, ?)",
            ((one.file, vector, one.first_row, one.stop_row, one.count, one.draft) for one in new),
        )

    def coding(self, vector: str) -> CodingEntry | None:
        """How a vector index reads its codes; None: as the model's checkpoint says."""
        found = self.db.execute(
            "SELECT steps, tables, sha256, lists FROM codings WHERE vector = ?", (vector,)
        ).fetchone()
        return CodingEntry(*found) if found else None

    def set_coding(self, vector: str, entry: CodingEntry) -> None:
        """Read codes in another way from now on, in a transaction."""
        self.db.execute(
            "INSERT OR REPLACE INTO codings VALUES (?, ?, ?, ?, ?)",
            (vector, entry.steps, entry.tables, entry.sha256, entry.lists),
        )

    def rename_codes(self, vector: str, name: str) -> None:
        """Let the codes of `vector` be those of `name` in place of what that had, in a transaction."""
        self.forget_codes(name)
        for table in _OF_CODES:
            self.db.execute(f"UPDATE {table} SET vector = ? WHERE vector = ?", (name, vector))

    def forget_codes(self, vector: str) -> None:
        """Name no codes of `vector` any more, in a transaction."""
        for table in _OF_CODES:
            self.db.execute(f"DELETE FROM {table} WHERE vector = ?", (vector,))

    def files_of(self, vector: str) -> set[str]:
        """The files that the codes of a vector index are in, and are read with."""
        coding = self.coding(vector)
        with_them = set() if coding is None else {coding.tables, coding.lists}
        return {one.file for one in self.segments(vector)} | {file for file in with_them if file is not None}

    def add_batch(self, vector: str, first: int, count: int, checksum: int) -> None:
        """Note the checksum of originals, in a transaction."""
        self.db.execute("INSERT INTO batches VALUES (?, ?, ?, ?)", (vector, first, count, checksum))

    def batches(self, vector: str, first: int) -> list[tuple[int, int, int]]:
        """(first row, count, checksum) of each batch of originals that begins at row `first` or later."""
        return self.db.execute(
            "SELECT first_row, count, checksum FROM batches WHERE vector = ? AND first_row >= ?", (vector, first)
        ).fetchall()

    def forget_batches(self, vector: str, first: int, stop: int) -> None:
        """Drop the checksums of a deleted stripe, in a transaction."""
        self.db.execute(
            "DELETE FROM batches WHERE vector = ? AND first_row >= ? AND first_row < ?", (vector, first, stop)
        )

    def copy_to(self, path: Path, reader: sqlite3.Connection) -> None:
        """Copy the database as `reader` sees it, while others write; raises DiskFull."""
        copy = sqlite3.connect(path)
        try:
            reader.backup(copy, pages=COPIED_PAGES, sleep=0)
        except sqlite3.OperationalError as error:
            raise DiskFull(f"The database could not be copied: {error}. Is the disk full?") from error
        finally:
            copy.close()

    def disk_bytes(self) -> int:
        """The size of the database and its write-ahead log."""
        log = self._path.with_name(self._path.name + "-wal")
        return sum(path.stat().st_size for path in (self._path, log) if path.exists())

    def _upgrade(self, found: int) -> int:
        """Format 1 had no codings, those of 2 were of the first model, 3 had no absent vectors, 4 no drafts."""
        missing = {1: ("codings", "absent"), 2: ("absent",), 3: ("absent",)}.get(found, ())
        with self.transaction():
            for statement in _SCHEMA.split(";\n"):
                if any(f"TABLE {name} " in statement for name in missing):
                    self.db.execute(statement)
            if found == 2:
                self.db.execute("ALTER TABLE codings ADD COLUMN sha256 TEXT")
                self.db.execute("ALTER TABLE codings ADD COLUMN lists TEXT")
            self.db.execute("ALTER TABLE segments ADD COLUMN draft INTEGER NOT NULL DEFAULT 0")
            self.set_counters(format=FORMAT)
        return FORMAT

    def _meta(self, key: str) -> int | None:
        found = self.db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return int(found[0]) if found else None


COUNTERS = ("next_row", "version", "points")
_OF_CODES = ("segments", "watermarks", "codings")


def stored_ids(ids: Sequence[PointId] | NDArray[np.uint64]) -> list[StoredId]:
    """Ids as SQLite keeps them: integers less 2^63, in the same order; UUIDs as 16 bytes. Raises InvalidPoints."""
    if isinstance(ids, np.ndarray):
        if ids.ndim != 1 or ids.dtype.kind not in "ui" or (ids.dtype.kind == "i" and ids.size and int(ids.min()) < 0):
            raise InvalidPoints("Ids are unsigned 64-bit integers or UUIDs.")
        numbers: list[StoredId] = (ids.astype(np.uint64) ^ np.uint64(_SIGN)).view(np.int64).tolist()
        return numbers
    return [_stored_id(one) for one in ids]


def id_from_stored(key: StoredId) -> PointId:
    """The id as users know it."""
    return UUID(bytes=key) if isinstance(key, bytes) else key + _SIGN


def payload_texts(payloads: Sequence[Payload | None]) -> list[str | None]:
    """Payloads as JSON texts, or InvalidPoints naming the first that is none."""
    texts: list[str | None] = []
    for place, payload in enumerate(payloads):
        if payload is not None and not isinstance(payload, dict):
            kind = type(payload).__name__
            raise InvalidPoints(f"Point {place} of the request: a payload is a JSON object, not {kind}.")
        try:
            text = json.dumps(payload, ensure_ascii=False, separators=(",", ":"), allow_nan=False) if payload else None
            texts.append(text if text is None else text.encode("utf-8").decode("utf-8"))
        except (TypeError, ValueError, RecursionError) as error:
            raise InvalidPoints(f"Point {place} of the request: its payload is not JSON ({error}).") from error
    return texts


def _stored_id(one: PointId) -> StoredId:
    if isinstance(one, UUID):
        return one.bytes
    if isinstance(one, bool) or not isinstance(one, (int, np.integer)) or not 0 <= one < 2 * _SIGN:
        raise InvalidPoints(f"An id is an integer from 0 to 2^64 − 1 or a UUID, not {one!r}.")
    return int(one) - _SIGN


def _least(first: StoredId | None) -> StoredId:
    """Where to begin: integers sort before UUIDs."""
    return -_SIGN if first is None else first


def _pieces(values: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(values), IDS_A_STATEMENT):
        yield values[start : start + IDS_A_STATEMENT]


def _connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=60)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    return db
