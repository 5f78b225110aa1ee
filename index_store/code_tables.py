"""Which segments, watermarks, codings and checksums of originals a collection has: tables of the points database."""

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass

_OF_CODES = ("segments", "watermarks", "codings")


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


class CodeTables:
    """The tables of one collection, through the connection that writes; the caller holds the collection's lock."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def watermark(self, vector: str) -> int:
        """The row up to which a vector index is encoded."""
        found = self._db.execute("SELECT encoded_upto FROM watermarks WHERE vector = ?", (vector,)).fetchone()
        return int(found[0]) if found else 0

    def set_watermark(self, vector: str, row: int) -> None:
        """Move a watermark, in a transaction."""
        self._db.execute("INSERT OR REPLACE INTO watermarks VALUES (?, ?)", (vector, row))

    def segments(self, vector: str) -> list[SegmentEntry]:
        """The segments of a vector index, oldest rows first."""
        found = self._db.execute(
            "SELECT file, first_row, stop_row, count, draft FROM segments WHERE vector = ? ORDER BY first_row",
            (vector,),
        )
        return [SegmentEntry(*entry) for entry in found]

    def replace_segments(self, vector: str, old: Iterable[str], new: Iterable[SegmentEntry]) -> None:
        """Forget `old` files and name `new` ones, in a transaction."""
        self._db.executemany("DELETE FROM segments WHERE file = ?", ((file,) for file in old))
        self._db.executemany(
            "INSERT INTO segments VALUES (?, ?, ?, ?, ?, ?)",
            ((one.file, vector, one.first_row, one.stop_row, one.count, one.draft) for one in new),
        )

    def coding(self, vector: str) -> CodingEntry | None:
        """How a vector index reads its codes; None: as the model's checkpoint says."""
        found = self._db.execute(
            "SELECT steps, tables, sha256, lists FROM codings WHERE vector = ?", (vector,)
        ).fetchone()
        return CodingEntry(*found) if found else None

    def set_coding(self, vector: str, entry: CodingEntry) -> None:
        """Read codes in another way from now on, in a transaction."""
        self._db.execute(
            "INSERT OR REPLACE INTO codings VALUES (?, ?, ?, ?, ?)",
            (vector, entry.steps, entry.tables, entry.sha256, entry.lists),
        )

    def rename_codes(self, vector: str, name: str) -> None:
        """Let the codes of `vector` be those of `name` in place of what that had, in a transaction."""
        self.forget_codes(name)
        for table in _OF_CODES:
            self._db.execute(f"UPDATE {table} SET vector = ? WHERE vector = ?", (name, vector))

    def forget_codes(self, vector: str) -> None:
        """Name no codes of `vector` any more, in a transaction."""
        for table in _OF_CODES:
            self._db.execute(f"DELETE FROM {table} WHERE vector = ?", (vector,))

    def files_of(self, vector: str) -> set[str]:
        """The files that the codes of a vector index are in, and are read with."""
        coding = self.coding(vector)
        with_them = set() if coding is None else {coding.tables, coding.lists}
        return {one.file for one in self.segments(vector)} | {file for file in with_them if file is not None}

    def add_batch(self, vector: str, first: int, count: int, checksum: int) -> None:
        """Note the checksum of originals, in a transaction."""
        self._db.execute("INSERT INTO batches VALUES (?, ?, ?, ?)", (vector, first, count, checksum))

    def batches(self, vector: str, first: int) -> list[tuple[int, int, int]]:
        """(first row, count, checksum) of each batch of originals that begins at row `first` or later."""
        return self._db.execute(
            "SELECT first_row, count, checksum FROM batches WHERE vector = ? AND first_row >= ?", (vector, first)
        ).fetchall()

    def forget_batches(self, vector: str, first: int, stop: int) -> None:
        """Drop the checksums of a deleted stripe, in a transaction."""
        self._db.execute(
            "DELETE FROM batches WHERE vector = ? AND first_row >= ? AND first_row < ?", (vector, first, stop)
        )
