"""The tables of the points database: made in a new file, and brought up to date in one of an older format."""

import sqlite3

from index_store.errors import DamagedData

FORMAT = 5
COUNTERS = ("next_row", "version", "points")

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

# Came later, in the same format: versions that do not know the table leave it alone, and read all else as it is.
_UPLOADS = """
CREATE TABLE uploads (
    key TEXT PRIMARY KEY, stored INTEGER NOT NULL, total INTEGER NOT NULL, first_id NOT NULL, last_id NOT NULL,
    is_numbered INTEGER NOT NULL, checksum INTEGER NOT NULL, version INTEGER NOT NULL
) WITHOUT ROWID
"""


def create(db: sqlite3.Connection) -> None:
    """Make all tables, in a transaction."""
    for statement in _SCHEMA.split(";\n"):
        db.execute(statement)
    db.executemany("INSERT INTO meta VALUES (?, ?)", [("format", FORMAT), *zip(COUNTERS, (0, 0, 0), strict=True)])


def stored_format(db: sqlite3.Connection, name: str) -> int:
    """The format of a database, FORMAT or one that `upgrade` takes; raises DamagedData."""
    try:
        found = db.execute("SELECT value FROM meta WHERE key = 'format'").fetchone()
    except sqlite3.DatabaseError as error:
        raise DamagedData(f"{name} cannot be read: {error}.") from error
    if found is None or not 1 <= found[0] <= FORMAT:
        told = None if found is None else found[0]
        raise DamagedData(f"{name} is of format {told}; this version reads format {FORMAT}.")
    return int(found[0])


def upgrade(db: sqlite3.Connection, found: int) -> None:
    """Bring a database of an older format up to date, in a transaction.

    Format 1 had no codings, those of 2 were of the first model, 3 had no absent vectors, 4 no drafts.
    """
    missing = {1: ("codings", "absent"), 2: ("absent",), 3: ("absent",)}.get(found, ())
    for statement in _SCHEMA.split(";\n"):
        if any(f"TABLE {name} " in statement for name in missing):
            db.execute(statement)
    if found == 2:
        db.execute("ALTER TABLE codings ADD COLUMN sha256 TEXT")
        db.execute("ALTER TABLE codings ADD COLUMN lists TEXT")
    db.execute("ALTER TABLE segments ADD COLUMN draft INTEGER NOT NULL DEFAULT 0")
    db.execute("UPDATE meta SET value = ? WHERE key = 'format'", (FORMAT,))


def lacks_uploads(db: sqlite3.Connection) -> bool:
    """Whether a database is from before uploads could be resumed."""
    return db.execute("SELECT 1 FROM sqlite_master WHERE name = 'uploads'").fetchone() is None


def add_uploads(db: sqlite3.Connection) -> None:
    """Make their table, in a transaction."""
    db.execute(_UPLOADS)
