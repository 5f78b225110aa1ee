"""A reader of the database that is borrowed when it is first asked for: most filters are answered from memory."""

import sqlite3
from contextlib import AbstractContextManager

from index_store.payload_indexes import tables
from index_store.points import Points


class Changed(Exception):
    """The database is of another moment than the one that it was to be read at."""


class LateReader:
    """Called, it gives a reader's connection at one moment, always the same; what it borrows ends with the context.

    moment: as `tables.moment_of` has it; where the database is of another by then, Changed is raised
    """

    def __init__(self, points: Points, moment: tuple[int, int]) -> None:
        self._points, self._moment = points, moment
        self._snapshot: AbstractContextManager[sqlite3.Connection] | None = None
        self._reader: sqlite3.Connection | None = None

    def __call__(self) -> sqlite3.Connection:
        if self._reader is None:
            snapshot = self._points.snapshot()
            reader = snapshot.__enter__()
            self._snapshot = snapshot
            if tables.moment_of(reader) != self._moment:
                raise Changed
            self._reader = reader
        return self._reader

    def __enter__(self) -> "LateReader":
        return self

    def __exit__(self, *error: object) -> None:
        if self._snapshot is not None:
            self._snapshot.__exit__(*error)  # type: ignore[arg-type]
