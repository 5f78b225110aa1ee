"""Runs in SQLite, beside the points: a term's rows and a block of numbers are one row of a table each."""

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from pyroaring import BitMap

from index_store.payload_indexes.postings import OTHERS, Numbers, Postings, kind_of_number
from index_store.payload_indexes.run_numbers import RunNumbers
from index_store.payload_indexes.schema import NUMBERS, IndexSchema
from index_store.row_set import bitmap_of_plain

BLOCK = 1024
"""Numbers a block."""

_STAMP = "payload_runs"

SCHEMA = (
    "CREATE TABLE IF NOT EXISTS payload_indexes (field TEXT PRIMARY KEY, schema TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS payload_runs (run INTEGER PRIMARY KEY AUTOINCREMENT, field TEXT NOT NULL,"
    " rows BLOB NOT NULL, stale BLOB NOT NULL)",
    "CREATE TABLE IF NOT EXISTS payload_terms (run INTEGER NOT NULL, term BLOB NOT NULL, rows BLOB NOT NULL,"
    " PRIMARY KEY (run, term)) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS payload_numbers (run INTEGER NOT NULL, place INTEGER NOT NULL, low NOT NULL,"
    " high NOT NULL, members BLOB NOT NULL, vals BLOB NOT NULL, rows BLOB NOT NULL, lons BLOB,"
    " PRIMARY KEY (run, place)) WITHOUT ROWID",
)


@dataclass(frozen=True)
class Run:
    """Postings of some rows; those that are stale have changed since and are as if it did not cover them.

    others   rows with a value that is not of the index's kind, which it does not know
    numbers  of the kinds that have them, once they were asked for
    """

    id: int
    rows: BitMap
    stale: BitMap
    others: BitMap
    numbers: RunNumbers

    @cached_property
    def covered(self) -> BitMap:
        """The rows that it tells the truth about."""
        return self.rows - self.stale if self.stale else self.rows


def create(db: sqlite3.Connection) -> None:
    """Make the tables where they are not there."""
    for statement in SCHEMA:
        db.execute(statement)


def moment_of(db: sqlite3.Connection) -> tuple[int, int]:
    """The last operation, and how often runs have changed: what is in memory is of the same moment, or not used."""
    found = dict(db.execute("SELECT key, value FROM meta WHERE key IN ('version', ?)", (_STAMP,)).fetchall())
    return int(found["version"]), int(found.get(_STAMP, 0))


def stamp(db: sqlite3.Connection) -> int:
    """Note, in a transaction, that runs have changed; returns how often they have."""
    now = moment_of(db)[1] + 1
    db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (_STAMP, now))
    return now


def declared(db: sqlite3.Connection) -> list[tuple[str, IndexSchema]]:
    """All indexes: key and schema."""
    found = db.execute("SELECT field, schema FROM payload_indexes").fetchall()
    return [(field, IndexSchema.parse(json.loads(text))) for field, text in found]


def declare(db: sqlite3.Connection, field: str, schema: IndexSchema) -> None:
    """Remember an index, in a transaction."""
    db.execute("INSERT OR REPLACE INTO payload_indexes VALUES (?, ?)", (field, json.dumps(schema.to_json())))


def undeclare(db: sqlite3.Connection, field: str) -> None:
    """Forget an index, in a transaction."""
    db.execute("DELETE FROM payload_indexes WHERE field = ?", (field,))


def runs(db: sqlite3.Connection, field: str, numbers: Callable[[], RunNumbers]) -> tuple[Run, ...]:
    """The runs of an index."""
    found = db.execute("SELECT run, rows, stale FROM payload_runs WHERE field = ?", (field,))
    return tuple(
        Run(id, BitMap.deserialize(rows), BitMap.deserialize(stale), rows_of(db, id, OTHERS), numbers())
        for id, rows, stale in found.fetchall()
    )


def write_run(db: sqlite3.Connection, field: str, made: Postings, stale: BitMap, numbers: RunNumbers) -> Run:
    """Store postings, in a transaction."""
    sql = "INSERT INTO payload_runs (field, rows, stale) VALUES (?, ?, ?)"
    id = db.execute(sql, (field, _packed(made.rows), stale.serialize())).lastrowid
    assert id is not None
    entries = ((id, term, _packed(rows)) for term, rows in sorted(made.terms.items()))
    db.executemany("INSERT INTO payload_terms VALUES (?, ?, ?)", entries)
    if made.numbers is not None:
        db.executemany("INSERT INTO payload_numbers VALUES (?, ?, ?, ?, ?, ?, ?, ?)", _in_blocks(id, made.numbers))
    return Run(id, made.rows, stale, made.terms.get(OTHERS, BitMap()), numbers)


def mark_stale(db: sqlite3.Connection, run: Run, rows: BitMap) -> None:
    """More of a run's rows are stale, in a transaction."""
    stale = run.stale | (run.rows & rows)
    db.execute("UPDATE payload_runs SET stale = ? WHERE run = ?", (stale.serialize(), run.id))


def forget_runs(db: sqlite3.Connection, ids: Iterable[int]) -> None:
    """Drop runs, in a transaction."""
    for table in ("payload_runs", "payload_terms", "payload_numbers"):
        db.executemany(f"DELETE FROM {table} WHERE run = ?", ((id,) for id in ids))


def merged(db: sqlite3.Connection, schema: IndexSchema, some: Sequence[Run], live: BitMap) -> Postings:
    """The postings of several runs together, less what is stale or dead."""
    kept = {run.id: run.covered & live for run in some}
    terms: dict[bytes, BitMap] = {}
    for run in some:
        for term, packed in db.execute("SELECT term, rows FROM payload_terms WHERE run = ?", (run.id,)):
            rows = BitMap.deserialize(packed) & kept[run.id]
            if rows:
                terms[term] = terms[term] | rows if term in terms else rows
    parts = [_within(part, kept[run.id]) for run in some for part in _blocks(db, schema, run.id)]
    return Postings(BitMap.union(*kept.values()), terms, _joined(parts, schema) if schema.kind in NUMBERS else None)


def rows_of(db: sqlite3.Connection, run: int, term: bytes) -> BitMap:
    """The rows of one term."""
    found = stored_rows_of(db, run, term)
    return BitMap() if found is None else BitMap.deserialize(found)


def stored_rows_of(db: sqlite3.Connection, run: int, term: bytes) -> bytes | None:
    """The same as they are stored; None for none."""
    found = db.execute("SELECT rows FROM payload_terms WHERE run = ? AND term = ?", (run, term)).fetchone()
    return found[0] if found else None


def rows_of_many(db: sqlite3.Connection, run: int, test: str, given: Sequence[bytes]) -> BitMap:
    """The rows of all terms that pass a test in SQL."""
    found = db.execute(f"SELECT rows FROM payload_terms WHERE run = ? AND {test}", (run, *given)).fetchall()
    return BitMap.union(*(BitMap.deserialize(rows) for (rows,) in found)) if found else BitMap()


def numbers_of(db: sqlite3.Connection, schema: IndexSchema, run: int) -> Numbers:
    """The numbers of a run."""
    return _joined(list(_blocks(db, schema, run)), schema)


def _blocks(db: sqlite3.Connection, schema: IndexSchema, run: int) -> Iterator[Numbers]:
    dtype = kind_of_number(schema)
    sql = "SELECT vals, rows, lons FROM payload_numbers WHERE run = ? ORDER BY place"
    for values, rows, lons in db.execute(sql, (run,)):
        degrees = None if lons is None else np.frombuffer(lons, np.float64)
        yield Numbers(np.frombuffer(values, dtype), np.frombuffer(rows, np.uint32), degrees)


def _in_blocks(id: int, numbers: Numbers) -> Iterator[tuple[object, ...]]:
    for place, first in enumerate(range(0, len(numbers.values), BLOCK)):
        part = slice(first, first + BLOCK)
        values, rows = numbers.values[part], numbers.rows[part]
        lons = None if numbers.lons is None else numbers.lons[part].tobytes()
        ends = values[0].item(), values[-1].item()
        yield id, place, *ends, b"", values.tobytes(), rows.tobytes(), lons  # older versions kept bitmaps, too


def _within(numbers: Numbers, kept: BitMap) -> Numbers:
    """The numbers of rows that are kept."""
    here = contained(numbers.rows, kept)
    return Numbers(numbers.values[here], numbers.rows[here], None if numbers.lons is None else numbers.lons[here])


def contained(rows: NDArray[np.uint32], kept: BitMap) -> NDArray[np.bool_]:
    """Whether each of rows [n] is in a set."""
    return np.isin(rows, np.asarray((bitmap_of_plain([rows]) & kept).to_array(), np.uint32))


def _joined(parts: list[Numbers], schema: IndexSchema) -> Numbers:
    """All together, in the order of their values."""
    values = np.concatenate([np.zeros(0, kind_of_number(schema)), *(part.values for part in parts)])
    rows = np.concatenate([np.zeros(0, np.uint32), *(part.rows for part in parts)])
    order = np.argsort(values, kind="stable")
    if schema.kind != "geo":
        return Numbers(values[order], rows[order])
    lons = np.concatenate([np.zeros(0), *(part.lons for part in parts if part.lons is not None)])
    return Numbers(values[order], rows[order], lons[order])


def _packed(rows: BitMap) -> bytes:
    rows.run_optimize()
    return bytes(rows.serialize())
