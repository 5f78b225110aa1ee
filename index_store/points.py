"""id ↔ row, payloads and tombstones of one collection: the SQLite database that decides, `codes` what is encoded.

What a transaction here has committed is true; files that say more are cut back or deleted. One connection writes,
guarded by the collection's lock; readers borrow connections from a small pool and see the last commit.
"""

import itertools
import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import orjson
from pyroaring import BitMap

from index_store import faults, points_schema
from index_store.answers import Payload, PointId, Rows
from index_store.code_tables import CodeTables
from index_store.errors import DamagedData, DiskFull
from index_store.stored_forms import (
    LARGEST_INTEGER,
    SIGN,
    SMALLEST_INTEGER,
    StoredId,
    id_from_stored,
    payload_texts,
)

IDS_A_STATEMENT = 500
CACHE_KIB = 2048
COPIED_PAGES = 1024

T = TypeVar("T")


class PointEntry(NamedTuple):
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
        """Open a database, or make it; raises DamagedData."""
        self._path = path
        self.touched = Touched()
        is_new = not path.exists()
        self.db = _connect(path)
        self.codes = CodeTables(self.db)
        self._readers: list[sqlite3.Connection] = []
        try:
            self._bring_up_to_date(is_new)
        except BaseException:
            self.db.close()
            raise

    def _bring_up_to_date(self, is_new: bool) -> None:
        if is_new:
            with self.transaction():
                points_schema.create(self.db)
        found = points_schema.stored_format(self.db, self._path.name)
        if found != points_schema.FORMAT:
            with self.transaction():
                points_schema.upgrade(self.db, found)
        if points_schema.lacks_uploads(self.db):
            with self.transaction():
                points_schema.add_uploads(self.db)

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
        with self._borrowed() as reader:
            reader.execute("BEGIN")
            try:
                yield reader
            finally:
                if reader.in_transaction:
                    reader.execute("ROLLBACK")

    def entries_now(self, rows: Sequence[int], with_payload: bool) -> dict[int, PointEntry]:
        """row → point of those rows that are points, all at one moment. Raises what `snapshot` does."""
        if len(rows) > IDS_A_STATEMENT:
            with self.snapshot() as reader:
                return self.entries(rows, with_payload, reader)
        try:  # one statement has a moment of its own, for a third of the time; as `_borrowed`, without a generator
            reader = self._reader()
            try:
                return self.entries(rows, with_payload, reader)
            finally:
                self._readers.append(reader)
        except sqlite3.DatabaseError as error:
            raise self._unreadable(error) from error

    @contextmanager
    def _borrowed(self) -> Iterator[sqlite3.Connection]:
        try:
            reader = self._reader()
            try:
                yield reader
            finally:
                self._readers.append(reader)
        except sqlite3.DatabaseError as error:
            raise self._unreadable(error) from error

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
        return {key: int(found[key]) for key in points_schema.COUNTERS}

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
        self.touched.added.update(range(first, first + len(ids)))
        if payloads is None and _are_in_a_row(ids):
            return self._insert_in_a_row(first, ids, version)
        taken = self.remove_ids(ids)
        texts: Iterable[str | None] = payloads if payloads is not None else (None for _ in ids)
        self.db.executemany(
            "INSERT INTO points VALUES (?, ?, ?, ?)",
            ((first + place, key, version, text) for place, (key, text) in enumerate(zip(ids, texts, strict=True))),
        )
        return taken

    def _insert_in_a_row(self, first: int, ids: Sequence[StoredId], version: int) -> Rows:
        """The same for ids that each are one more than the last, without payloads: a fraction of the time.

        A few statements that work for long leave the interpreter to queries; one answer for each row would take it,
        and give it back, fifty thousand times for each chunk of an upload.
        """
        there, span = "FROM points WHERE id BETWEEN ? AND ?", (ids[0], ids[-1])
        (told,) = self.db.execute(f"SELECT json_group_array(row) {there}", span).fetchone()
        taken = np.array(orjson.loads(told), np.uint32)
        if len(taken):
            self.db.execute(f"INSERT INTO tombstones SELECT row {there}", span)
            self.db.execute(f"DELETE {there}", span)
            self.touched.gone.update(taken)
        self.db.execute(
            "WITH RECURSIVE places(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM places WHERE n + 1 < ?) "
            "INSERT INTO points SELECT ? + n, ? + n, ?, NULL FROM places",
            (len(ids), first, ids[0], version),
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
        made = tuple.__new__  # what PointEntry itself calls: each query makes ten
        for some in _pieces(rows):
            stored = reader.execute(_entries_sql(len(some), with_payload), some).fetchall()
            for row, key, version, text in stored:
                id = key + SIGN if type(key) is int else id_from_stored(key)
                found[row] = made(PointEntry, (row, id, version, json.loads(text) if text else None))
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
            found = reader.execute("SELECT MAX(id) FROM points WHERE id <= ?", (LARGEST_INTEGER,)).fetchone()[0]
        return None if found is None else int(found) - SMALLEST_INTEGER

    def tombstones(self) -> Rows:
        """All tombstones."""
        return np.fromiter((row for (row,) in self.db.execute("SELECT row FROM tombstones")), np.uint32)

    def purge_tombstones(self, rows: Sequence[int]) -> None:
        """Forget tombstones that no file holds any more, in a transaction."""
        self.db.executemany("DELETE FROM tombstones WHERE row = ?", ((row,) for row in rows))
        self.db.executemany("DELETE FROM absent WHERE row = ?", ((row,) for row in rows))

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


@cache
def _entries_sql(count: int, with_payload: bool) -> str:
    """Rows by a join: `row IN (…)` sorts them into a table of its own first, for a third of the whole time."""
    column, values = "payload" if with_payload else "NULL", ",".join(["(?)"] * count)
    wanted = f"WITH wanted(one) AS (VALUES {values})"
    return f"{wanted} SELECT row, id, version, {column} FROM wanted CROSS JOIN points WHERE row = one"


def _are_in_a_row(ids: Sequence[StoredId]) -> bool:
    if not ids or type(ids[0]) is not int or type(ids[-1]) is not int or ids[-1] - ids[0] != len(ids) - 1:
        return False
    return ids == list(range(ids[0], ids[-1] + 1))


def _least(first: StoredId | None) -> StoredId:
    """Where to begin: integers sort before UUIDs."""
    return SMALLEST_INTEGER if first is None else first


def _pieces(values: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(values), IDS_A_STATEMENT):
        yield values[start : start + IDS_A_STATEMENT]


def _connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=60)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    except BaseException:
        db.close()
        raise
    return db
