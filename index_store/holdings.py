"""What a collection holds: the points database, a vector index a name, tombstones, and the views that queries see.

`lock` guards whatever changes these: a commit to the database and the publication of its views happen under it, so that
whoever holds it sees both agree. `upkeep` is held, before it, by the one thread that encodes or merges.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pyroaring import BitMap

from index_store import measured
from index_store.code_tables import CodingEntry
from index_store.config import CodesConfig, CollectionConfig
from index_store.drift import Drift
from index_store.errors import DamagedData, ReadOnly
from index_store.filters import Filter
from index_store.machine import Machine
from index_store.measured import Measured
from index_store.models import Models
from index_store.observed import Observed
from index_store.originals import Piece
from index_store.payload_indexes import Changed, PayloadIndexes
from index_store.points import Points
from index_store.row_set import RowSet
from index_store.seal import open_seal, seal
from index_store.selection import Moment, rows_matching
from index_store.survivors import Remembered, Survivors
from index_store.vector_index import VectorIndex
from index_store.view import View

if TYPE_CHECKING:
    from model import Codec

logger = logging.getLogger(__name__)

NEXT = "/next"  # what follows a vector's name in the database for codes being made anew; no name has a slash
_TRIES = 3
_KEYS_OF_LATE = 20


class Unindexed:
    """Filters since the start that asked for keys without an index that could answer; the keys of late."""

    def __init__(self) -> None:
        self.filters = 0
        self.keys: dict[str, None] = {}

    def note(self, keys: set[str]) -> None:
        """One more such filter."""
        self.filters += 1
        self.keys = dict.fromkeys([*self.keys, *keys][-_KEYS_OF_LATE:])


class Holdings:
    """Opened from a folder; every attribute is replaced, never changed in place, so readers need no lock."""

    def __init__(self, folder: Path, config: CollectionConfig, machine: Machine, models: Models) -> None:
        """Raises DamagedData."""
        machine.storage.make_folder(folder)
        self.folder, self.storage = folder, machine.storage
        self.lock = threading.RLock()
        self.upkeep = threading.Lock()
        self.read_only_because: str | None = None
        self.damage: str | None = None  # found since the start, in what queries can do without
        self.is_rewriting = False  # by a job that has, or waits for, `upkeep`: nobody else is to wait for it
        self._database = folder / "points.sqlite3"
        open_seal(machine.storage, self._database)
        self.points = Points(self._database)
        try:
            self._read(config, machine, models)
        except BaseException:
            self.points.close()
            raise

    def _read(self, config: CollectionConfig, machine: Machine, models: Models) -> None:
        self.storage.sync_folder(self.folder)
        self.points.check_counters()
        self.unindexed = Unindexed()
        self.payloads = PayloadIndexes(self.points, self.lock, self.storage, self.folder)
        self._remembered = Remembered()
        with self.lock, self.points.transaction():
            measured.create(self.points.db)
        self.measured = {name: measured.load(self.points.db, name) for name in config.vectors}
        counters = self.points.counters()
        self.next_row, self.version, self.count = (counters[key] for key in ("next_row", "version", "points"))
        self.dead = RowSet().with_rows(self.points.tombstones())
        self.absent = {name: RowSet().with_rows(self.points.absent(name)) for name in config.vectors}
        self.indexes: dict[str, VectorIndex] = {}
        self.next: dict[str, VectorIndex] = {}  # codes being made anew, by the vector whose codes they will be
        for name, vector in config.vectors.items():
            codes = in_force(config.codes_of(name), self.points.codes.coding(name), models)
            codec = models.codec(codes.model) if codes.has_model else None
            self.indexes[name] = VectorIndex(name, vector, codes, self.folder / "vectors" / name, machine, codec)
            if codes.has_model:
                self.indexes[name].drift = Drift(models.training_mse(codes.model))
        self.views: dict[str, View] = {}
        self._mapped: dict[str, tuple[Piece, ...]] = {}
        self.unchecked = dict.fromkeys(self.indexes, 0)  # originals below these rows were not looked at since the start
        self.observed = Observed()
        self._machine, self._models = machine, models

    def index_beside(self, name: str, codes: CodesConfig, codec: Codec) -> VectorIndex:
        """Another index over the originals of a vector, empty, for codes of another codec."""
        of = self.indexes[name]
        folder = self.folder / "vectors" / name
        made = VectorIndex(name + NEXT, of.config, codes, folder, self._machine, codec, of.originals)
        made.drift = Drift(self._models.training_mse(codes.model))
        return made

    def cut_back(self) -> None:
        """Cut the originals back to what the row counter covers."""
        for index in self.indexes.values():
            index.originals.cut_back(self.next_row)

    def publish(self) -> None:
        """Let queries see what is held now. The caller holds the lock."""
        self.views = {
            name: index.view_at(
                self.version, self.next_row, self.hidden(name), self._mapped.get(name) or self._seen(name)
            )
            for name, index in self.indexes.items()
        }

    def wait_for_commit(self) -> None:
        """Return once a commit that is under way has published its views."""
        with self.lock:
            pass

    def forget_mapped(self) -> None:
        """Let go of what was mapped ahead: it is in the views now, or was not committed."""
        self._mapped = {}

    def map_ahead(self, stop: int) -> None:
        """Map rows that are about to be committed: showing them cannot fail afterwards. Raises DiskUnavailable."""
        self._mapped = {name: index.map_pending(stop, self._seen(name)) for name, index in self.indexes.items()}

    def _seen(self, name: str) -> tuple[Piece, ...]:
        return self.views[name].pending if name in self.views else ()

    def hidden(self, name: str) -> RowSet:
        """Rows that are no points any more, or whose points lack this vector."""
        return self.dead.union(self.absent[name])

    def look(self, using: str, condition: Filter | None) -> tuple[View, Survivors | None]:
        """A view, and which of its rows pass the filter; None without one."""
        if condition is None:
            return self.views[using], None
        state, view = self.payloads.state, self.views[using]
        survivors = self._remembered.get(condition, state) if view.version == state.version else None
        if survivors is not None:
            if survivors.unindexed:
                self.unindexed.note(set(survivors.unindexed))
            return view, survivors
        for _ in range(_TRIES):
            seen = self._look_once(using, condition)
            if seen is not None:
                return seen
        with self.lock:  # writes kept coming in between: let them wait
            seen = self._look_once(using, condition)
            assert seen is not None
            return seen

    def _look_once(self, using: str, condition: Filter) -> tuple[View, Survivors] | None:
        """None when the state of the indexes, the view, and the database, where it was read, were not of one moment."""
        state, view = self.payloads.state, self.views[using]
        if view.version != state.version:
            return None
        try:
            with self.payloads.late_reader(state) as reader:
                moment = self.payloads.moment_of(state, reader, frozenset(self.indexes))
                survivors = self._matching(condition, moment)
        except Changed:
            return None
        now = self.payloads.state  # the same moment's may be another object: what is live was found meanwhile
        if (now.version, now.stamp) == (state.version, state.stamp):
            self._remembered.put(condition, now, survivors)
        return view, survivors

    def rows_matching(self, condition: Filter) -> BitMap:
        """The rows of the points that match now."""
        with self.points.snapshot() as reader:
            return self._matching(condition, self.moment(reader)).rows

    def _matching(self, condition: Filter, moment: Moment) -> Survivors:
        rows = rows_matching(condition, moment)
        if moment.unindexed and self.payloads.state_at(moment.reader) is not None:
            self.unindexed.note(moment.unindexed)
        return Survivors(rows, frozenset(moment.unindexed))

    def moment(self, reader: sqlite3.Connection) -> Moment:
        """What filters are asked about; `reader` is in a transaction."""
        vectors = frozenset(self.indexes)
        if reader is self.points.db:
            return self.payloads.moment_within(vectors)
        return self.payloads.moment(reader, vectors)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit what is written inside, or nothing of it. The caller holds the lock.

        Raises DiskFull, DiskUnavailable; ReadOnly where it is unknown what the disk holds, and from then on.
        """
        try:
            with self.points.transaction():
                yield
        except sqlite3.Error as error:
            self.turn_read_only(f"Committing points failed ({error}).")
            raise ReadOnly(f"{self.read_only_because} Restart the server.") from error

    def note_damage(self, damage: str) -> None:
        """Tell users that something on the disk is damaged, while reads and writes go on."""
        self.damage = damage
        logger.error("Found damage: %s", damage)

    def remember(self, using: str, one: Measured) -> None:
        """Keep a measurement of recall instead of the last of its limit."""
        with self.lock, self.points.transaction():
            measured.store(self.points.db, using, one)
        self.measured = {**self.measured, using: {**self.measured[using], one.limit: one}}

    def turn_read_only(self, because: str) -> None:
        """Take no writes until the next start."""
        self.read_only_because = because
        logger.error("Turned read-only: %s", because)

    def pending(self) -> int:
        """Rows that wait to be encoded, of the vector index that is furthest behind."""
        coded = [index.watermark for index in self.indexes.values() if index.codec is not None]
        coded += [index.watermark for index in self.next.values() if index.is_catching_up]
        return self.next_row - min(coded) if coded else 0

    def close(self) -> None:
        """Close the database, and seal it; waits for upkeep to end."""
        with self.upkeep, self.lock:
            self.points.close()
            if self.read_only_because is None:
                seal(self.storage, self._database)

    def abandon(self) -> None:
        """Close a database that is to be removed, or could not be taken up; waits for upkeep to end."""
        with self.upkeep, self.lock:
            self.points.close()


def in_force(codes: CodesConfig, entry: CodingEntry | None, models: Models) -> CodesConfig:
    """The codes with the model that the points database says they are of; the catalogue learns of a new one later.

    Raises DamagedData when that model is not stored.
    """
    if entry is None or entry.sha256 is None:
        return codes
    found = [one.name for one in models.all() if one.sha256 == entry.sha256]
    if not found:
        raise DamagedData(f"The model of the codes is gone: put the file whose SHA-256 is {entry.sha256} back.")
    return codes if codes.model in found else replace(codes, model=found[0])
