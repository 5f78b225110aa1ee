"""Which collections, models and jobs exist: one SQLite database a data folder."""

import json
import sqlite3
import threading
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from index_store import faults
from index_store.config import CollectionConfig
from index_store.errors import DamagedData, OutcomeUnknown
from index_store.storage import Storage

FORMAT = 2
MOST_JOBS = 1000

_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE collections (
    name TEXT PRIMARY KEY, folder TEXT NOT NULL UNIQUE, config TEXT NOT NULL, created REAL NOT NULL
);
CREATE TABLE models (
    name TEXT PRIMARY KEY, sha256 TEXT NOT NULL, kind TEXT NOT NULL, dim INTEGER NOT NULL, steps INTEGER NOT NULL,
    codewords INTEGER NOT NULL, ivf_lists INTEGER NOT NULL, size_bytes INTEGER NOT NULL, created REAL NOT NULL,
    converted_from TEXT
);
"""
_JOBS = """
CREATE TABLE jobs (
    id TEXT PRIMARY KEY, kind TEXT NOT NULL, collection TEXT NOT NULL, parameters TEXT NOT NULL, state TEXT NOT NULL,
    created REAL NOT NULL, ended REAL, result TEXT, error TEXT
) WITHOUT ROWID;
"""
# Made where it is missing, whatever the format: a version that knows no aliases loses nothing by not reading them.
_ALIASES = "CREATE TABLE IF NOT EXISTS aliases (alias TEXT PRIMARY KEY, collection TEXT NOT NULL) WITHOUT ROWID;"
_FROM_1_TO_2 = f"ALTER TABLE models ADD COLUMN converted_from TEXT; {_JOBS}"


@dataclass(frozen=True)
class ModelRecord:
    """A stored checkpoint, as it was when it was put.

    sha256 and size_bytes are the stored file's; created is in seconds since 1970; converted_from is the SHA-256 of the
    authors' file that was sent, None where the file was ours and is stored as it came.
    """

    name: str
    sha256: str
    kind: str
    dim: int
    steps: int
    codewords: int
    ivf_lists: int
    size_bytes: int
    created: float
    converted_from: str | None = None


@dataclass(frozen=True)
class JobRecord:
    """Work in the background.

    state      waiting · running · done · failed · cancelled · interrupted, when the server ended before it did
    progress   the share that is done, from 0 to 1
    created, ended    in seconds since 1970
    figures    what is known of a running job beyond that, of late; log: the same as it went
    """

    id: str
    kind: str
    collection: str
    parameters: dict[str, Any]
    state: str
    progress: float
    created: float
    ended: float | None = None
    result: dict[str, Any] | None = None
    error: str | None = None
    figures: dict[str, Any] | None = None
    log: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class CollectionEntry:
    """A collection's name, the name of its folder, and its config."""

    name: str
    folder: str
    config: CollectionConfig


class Catalogue:
    """The database; each call is one transaction, from any thread."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        if not path.exists() or not path.stat().st_size:
            _make(path)
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            found = self._format()
            if found == (1,):
                self._db.executescript(f"BEGIN; {_FROM_1_TO_2} UPDATE meta SET value = 2 WHERE key = 'format'; COMMIT;")
                found = self._format()
            self._db.execute(_ALIASES)
        except sqlite3.DatabaseError as error:
            raise DamagedData(f"The catalogue cannot be read: {error}.") from error
        if found != (FORMAT,):
            raise DamagedData(f"The catalogue is of format {found}; this version reads format {FORMAT}.")

    def close(self) -> None:
        """Close the database."""
        self._db.close()

    def collections(self) -> list[CollectionEntry]:
        """All collections by name."""
        found = self._run("SELECT name, folder, config FROM collections ORDER BY name")
        return [CollectionEntry(name, folder, CollectionConfig.from_json(json.loads(c))) for name, folder, c in found]

    def add_collection(self, entry: CollectionEntry, created: float) -> None:
        """Name a collection; from here on it exists."""
        config = json.dumps(entry.config.to_json())
        self._run("INSERT INTO collections VALUES (?, ?, ?, ?)", (entry.name, entry.folder, config, created))

    def replace_collection(self, entry: CollectionEntry, created: float) -> None:
        """Name a collection, in place of the one that had its name, if any did."""
        config = json.dumps(entry.config.to_json())
        self._run("INSERT OR REPLACE INTO collections VALUES (?, ?, ?, ?)", (entry.name, entry.folder, config, created))

    def set_config(self, name: str, config: CollectionConfig) -> None:
        """Note what a collection is declared to hold now."""
        self._run("UPDATE collections SET config = ? WHERE name = ?", (json.dumps(config.to_json()), name))

    def remove_collection(self, name: str) -> None:
        """Forget a collection; from here on it does not exist."""
        self._run("DELETE FROM collections WHERE name = ?", (name,))

    def aliases(self) -> dict[str, str]:
        """alias → collection."""
        return dict(self._run("SELECT alias, collection FROM aliases"))

    def set_aliases(self, aliases: dict[str, str]) -> None:
        """Put these in the place of all that there were, at once."""
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                self._db.execute("DELETE FROM aliases")
                self._db.executemany("INSERT INTO aliases VALUES (?, ?)", aliases.items())
                self._db.execute("COMMIT")
            except BaseException as error:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                if isinstance(error, sqlite3.OperationalError):
                    raise _told(error) from error
                raise

    def models(self) -> list[ModelRecord]:
        """All models by name."""
        return [ModelRecord(*row) for row in self._run("SELECT * FROM models ORDER BY name")]

    def add_model(self, record: ModelRecord) -> None:
        """Name a model."""
        self._run("INSERT INTO models VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", astuple(record))

    def remove_model(self, name: str) -> None:
        """Forget a model."""
        self._run("DELETE FROM models WHERE name = ?", (name,))

    def jobs(self) -> list[JobRecord]:
        """All jobs that are remembered, the newest first."""
        found = self._run(
            "SELECT id, kind, collection, parameters, state, created, ended, result, error FROM jobs "
            "ORDER BY created DESC, id"
        )
        return [
            JobRecord(
                id, kind, collection, json.loads(parameters), state, 1.0 if state == "done" else 0.0, created, ended,
                None if result is None else json.loads(result), error,
            )
            for id, kind, collection, parameters, state, created, ended, result, error in found
        ]  # fmt: skip

    def put_job(self, job: JobRecord) -> None:
        """Remember a job as it is now, and forget those that ended long before it."""
        result = None if job.result is None else json.dumps(job.result)
        self._run(
            "INSERT OR REPLACE INTO jobs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (job.id, job.kind, job.collection, json.dumps(job.parameters), job.state, job.created, job.ended, result,
             job.error),
        )  # fmt: skip
        self._run(
            "DELETE FROM jobs WHERE ended IS NOT NULL "
            "AND id NOT IN (SELECT id FROM jobs ORDER BY created DESC LIMIT ?)",
            (MOST_JOBS,),
        )

    def _format(self) -> Any:
        return self._db.execute("SELECT value FROM meta WHERE key = 'format'").fetchone()

    def _run(self, sql: str, values: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        with self._lock:
            try:
                return self._db.execute(sql, values).fetchall()
            except sqlite3.OperationalError as error:
                raise _told(error) from error


def _make(path: Path) -> None:
    """An empty catalogue, put in place whole: of one half made a power cut may leave what SQLite opens no more."""
    storage, unfinished = Storage(), path.with_name(f"{path.name}.new")
    for suffix in ("", "-journal", "-wal", "-shm"):  # what a kill left
        storage.remove(unfinished.with_name(unfinished.name + suffix))
    db = sqlite3.connect(unfinished, isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.executescript(f"BEGIN; {_SCHEMA} {_JOBS} INSERT INTO meta VALUES ('format', {FORMAT}); COMMIT;")
    db.close()
    storage.sync(unfinished)
    storage.rename(unfinished, path)
    storage.sync_folder(path.parent)


def _told(error: sqlite3.OperationalError) -> Exception:
    """A full disk or one that cannot be used as an error of ours; of any other the next start knows what was kept."""
    known = faults.of_database(error)
    if known is not error:
        return known
    return OutcomeUnknown(f"The catalogue could not be written ({error}): look at the disk, and restart the server.")
