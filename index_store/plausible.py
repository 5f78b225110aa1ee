"""Whether the database of an unpacked snapshot is one that this service may have written, before anything believes it.

Checksums tell of accidents; whoever makes an archive by hand makes them fit. What is believed of a database is which
files it names, which then are read, put aside and deleted, and how many rows there are, which takes disk and memory.
"""

import sqlite3
from contextlib import closing
from pathlib import Path

from index_store import points_schema
from index_store.errors import InvalidSnapshot
from index_store.names import check_name
from index_store.seal import connect_to_read
from model.errors import QincoError

MOST_ROWS = 1 << 32
# Rows that nothing tells of any more: at most those of a stripe of originals, and of one write.
MOST_UNTOLD = 1 << 21

_ROW = "typeof({0}) <> 'integer' OR {0} NOT BETWEEN 0 AND :next_row - 1"
_BOUND = "typeof({0}) <> 'integer' OR {0} NOT BETWEEN 0 AND :next_row"

# table → what must hold for none of its rows
_WRONG = {
    "meta": "typeof(key) <> 'text' OR typeof(value) <> 'integer' OR value < 0",
    "points": f"{_ROW.format('row')} OR typeof(version) <> 'integer' OR typeof(payload) NOT IN ('text', 'null') "
    "OR NOT (typeof(id) = 'integer' OR typeof(id) = 'blob' AND length(id) = 16)",
    "tombstones": _ROW.format("row"),
    "absent": _ROW.format("row"),
    "watermarks": _BOUND.format("encoded_upto"),
    "segments": f"{_BOUND.format('first_row')} OR {_BOUND.format('stop_row')} OR first_row > stop_row "
    "OR typeof(count) <> 'integer' OR count NOT BETWEEN 0 AND stop_row - first_row",
    "codings": "typeof(steps) <> 'integer' OR steps NOT BETWEEN 1 AND 255 OR typeof(sha256) NOT IN ('text', 'null')",
    "batches": f"{_ROW.format('first_row')} OR typeof(checksum) <> 'integer' "
    "OR typeof(count) <> 'integer' OR count NOT BETWEEN 0 AND :next_row - first_row",
}
_LATER = {"codings", "absent"}  # not in databases of the first formats

_TOLD = """SELECT IFNULL(MAX(stop), 0) FROM (
    SELECT MAX(row) + 1 AS stop FROM points UNION ALL SELECT MAX(row) + 1 FROM tombstones
    UNION ALL SELECT MAX(stop_row) FROM segments UNION ALL SELECT MAX(encoded_upto) FROM watermarks
    UNION ALL SELECT MAX(first_row + count) FROM batches)"""


def check_plausible(database: Path) -> None:
    """Raise InvalidSnapshot unless the tables are ours, their values are in range, and files are named as ours are."""
    try:
        with closing(connect_to_read(database)) as db:
            points_schema.stored_format(db, database.name)
            tables = _tables(db)
            next_row = _next_row(db)
            for table, wrong in _WRONG.items():
                if table in tables or table not in _LATER:
                    _check_values(db, table, wrong, next_row)
            if next_row - int(db.execute(_TOLD).fetchone()[0]) > MOST_UNTOLD:
                raise InvalidSnapshot("The snapshot's database counts rows that it does not tell of.")
            _check_files(db, tables)
    except (sqlite3.Error, OverflowError) as error:
        raise InvalidSnapshot(f"The snapshot's database cannot be read: {error}.") from error


def _tables(db: sqlite3.Connection) -> set[str]:
    """Their names. Views, triggers and tables of SQLite's modules would do other things than they seem to."""
    found = db.execute("SELECT type, name, sql FROM sqlite_master").fetchall()
    for kind, name, sql in found:
        is_automatic = kind == "index" and sql is None
        is_plain = kind == "table" and not str(sql).upper().startswith("CREATE VIRTUAL")
        if not (is_automatic or is_plain):
            raise InvalidSnapshot(
                f"The snapshot's database holds the {kind} '{name}', which this service does not make."
            )
    return {name for kind, name, _ in found if kind == "table"}


def _next_row(db: sqlite3.Connection) -> int:
    found = dict(db.execute("SELECT key, value FROM meta WHERE typeof(value) = 'integer'").fetchall())
    if not set(points_schema.COUNTERS) <= found.keys() or not 0 <= found["next_row"] <= MOST_ROWS:
        raise InvalidSnapshot("The snapshot's database has counters that cannot be.")
    return int(found["next_row"])


def _check_values(db: sqlite3.Connection, table: str, wrong: str, next_row: int) -> None:
    values = {"next_row": next_row} if ":next_row" in wrong else {}
    if db.execute(f"SELECT 1 FROM {table} WHERE {wrong} LIMIT 1", values).fetchone():
        raise InvalidSnapshot(f"The snapshot's database has a row in '{table}' that cannot be.")


def _check_files(db: sqlite3.Connection, tables: set[str]) -> None:
    asked = ["SELECT file FROM segments"]
    if "codings" in tables:
        has_lists = "lists" in {column[1] for column in db.execute("PRAGMA table_info(codings)")}
        asked += [f"SELECT {one} FROM codings WHERE {one} IS NOT NULL" for one in ("tables", "lists")[: 1 + has_lists]]
    for (name,) in db.execute(" UNION ALL ".join(asked)):
        try:
            check_name(name, "file")
        except QincoError as error:
            raise InvalidSnapshot(
                "The snapshot's database names a file that would lie outside of its folder."
            ) from error
