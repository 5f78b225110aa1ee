"""The payload indexes of one collection: declared, kept right by commits, built by upkeep, asked by filters.

What is in memory is one immutable `State`, replaced whole at the end of a commit: a filter takes it together with a
reader's snapshot of the same version.
"""

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from pathlib import Path

import orjson
from pyroaring import BitMap

from index_store.filters import Key
from index_store.filters.filter import FieldCondition
from index_store.filters.words import MatchPhrase, MatchText
from index_store.payload_indexes import tables
from index_store.payload_indexes.late_reader import LateReader
from index_store.payload_indexes.lookup import Look, can_answer, look_up, united
from index_store.payload_indexes.postings import SOME, Postings, postings
from index_store.payload_indexes.recent_terms import RecentTerms
from index_store.payload_indexes.run_numbers import RunNumbers
from index_store.payload_indexes.schema import IndexSchema
from index_store.payload_indexes.tables import Run
from index_store.points import IDS_A_STATEMENT, Points
from index_store.selection import Bounds, Moment, live_rows
from index_store.storage import Storage

logger = logging.getLogger(__name__)

LEAST_RUN = 1024
"""Rows not yet covered that are worth a run: fewer are judged by their payloads in a millisecond or two."""

RUN_ROWS = 1 << 16
MERGED_ROWS = 1 << 18
"""Runs grow no larger: writing one holds up commits, below half a second for terms that are all different."""

FAN_IN = 4
NO_ROWS = BitMap()


@dataclass(frozen=True)
class Index:
    """One key's index."""

    key: Key
    schema: IndexSchema
    runs: tuple[Run, ...] = ()

    @cached_property
    def covered(self) -> BitMap:
        """The rows that some run tells the truth about."""
        return BitMap.union(NO_ROWS, *(run.covered for run in self.runs))

    @cached_property
    def together(self) -> tuple[tuple[Run, ...], ...]:
        """The runs as they are asked: those without stale rows together, since no row is in two of them."""
        whole = tuple(run for run in self.runs if not run.stale)
        return (*((whole,) if whole else ()), *((run,) for run in self.runs if run.stale))


@dataclass(frozen=True)
class Reach:
    """What an index can tell of the rows that are points: not of those uncovered; and whether it knows of others."""

    uncovered: BitMap
    has_dead: bool


@dataclass(frozen=True)
class State:
    """What held at one moment of the database: after operation `version`, and `stamp` changes of runs.

    live is None until a filter was asked for the first time.
    """

    version: int
    stamp: int
    indexes: dict[str, Index] = field(default_factory=dict)
    live: BitMap | None = None
    _reaches: dict[str, Reach] = field(default_factory=dict, init=False, repr=False, compare=False)

    def reach(self, name: str, live: BitMap) -> Reach:
        """That of the index of a key; that of the state's own live rows is remembered."""
        if live is not self.live:
            return _reach(self.indexes[name], live)
        found = self._reaches.get(name)
        if found is None:
            found = self._reaches[name] = _reach(self.indexes[name], live)
        return found


def _reach(index: Index, live: BitMap) -> Reach:
    return Reach(live - index.covered, not index.covered.issubset(live))


class PayloadIndexes:
    """`lock` is the collection's: whatever changes the database or the state happens under it.

    folder: where files without names may be
    """

    def __init__(self, points: Points, lock: "threading.RLock", storage: Storage, folder: Path) -> None:
        self._points, self._lock = points, lock
        self._storage, self._folder = storage, folder
        self._terms = RecentTerms()
        self._upkeep = threading.Lock()
        self._changed_meanwhile = BitMap()  # rows whose payload changed while upkeep works on a run
        with lock, points.transaction():
            tables.create(points.db)
        self.state = State(*tables.moment_of(points.db), {index.key.text: index for index in self._stored()})

    def state_at(self, reader: sqlite3.Connection) -> State | None:
        """The state, if it is of the moment that a reader sees."""
        state = self.state
        return state if tables.moment_of(reader) == (state.version, state.stamp) else None

    def moment(self, reader: sqlite3.Connection, vectors: frozenset[str]) -> Moment:
        """What filters are asked about; without indexes where the reader sees another moment than the state is of."""
        state = self.state_at(reader)
        if state is None:
            return Moment(lambda: reader, live_rows(reader), vectors, prepared=_tokenized(self.state))
        return self.moment_of(state, lambda: reader, vectors)

    def late_reader(self, state: State) -> LateReader:
        """What reads the database at the moment that a state is of, if need be."""
        return LateReader(self._points, (state.version, state.stamp))

    def moment_of(self, state: State, opened: Callable[[], sqlite3.Connection], vectors: frozenset[str]) -> Moment:
        """What filters are asked about as a state has it; `opened` gives a reader of the same moment."""
        live = state.live
        if live is None:
            live = live_rows(opened())
            with self._lock:
                if self.state is state:
                    self.state = replace(state, live=live)
        return self._moment(state, opened, vectors, live, NO_ROWS)

    def moment_within(self, vectors: frozenset[str]) -> Moment:
        """The same inside the open transaction, after what it has done so far."""
        state, db, touched = self.state, self._points.db, self._points.touched
        live = live_rows(db) if state.live is None else (state.live | touched.added) - touched.gone
        return self._moment(state, lambda: db, vectors, live, touched.changed)

    def committing(self) -> None:
        """The open transaction is about to end: no run covers the rows whose payload it has changed."""
        changed = self._points.touched.changed
        for index in self.state.indexes.values() if changed else ():
            for run in index.runs:
                if not run.covered.isdisjoint(changed):
                    tables.mark_stale(self._points.db, run, changed)

    def committed(self, version: int) -> None:
        """The transaction is over, and was operation `version`."""
        state, touched = self.state, self._points.touched
        live = None if state.live is None else (state.live | touched.added) - touched.gone
        indexes = state.indexes
        if touched.changed:
            self._changed_meanwhile |= touched.changed
            indexes = {name: _with_stale(index, touched.changed) for name, index in indexes.items()}
        self.state = State(version, state.stamp, indexes, live)

    def create(self, name: str, schema: IndexSchema) -> None:
        """Declare an index, instead of one that the key had; `step` builds it. Raises InvalidFilter for a bad key."""
        key = Key.parse(name)
        with self._lock:
            held = self.state.indexes.get(name)
            if held is not None and held.schema.to_json() == schema.to_json():
                return
            with self._points.transaction():
                tables.forget_runs(self._points.db, [run.id for run in held.runs] if held else [])
                tables.declare(self._points.db, name, schema)
                stamp = tables.stamp(self._points.db)
            self._set(stamp, {**self.state.indexes, name: Index(key, schema)})

    def delete(self, name: str) -> bool:
        """Forget an index; False when the key has none."""
        with self._lock:
            held = self.state.indexes.get(name)
            if held is None:
                return False
            with self._points.transaction():
                tables.forget_runs(self._points.db, [run.id for run in held.runs])
                tables.undeclare(self._points.db, name)
                stamp = tables.stamp(self._points.db)
            self._set(stamp, {other: index for other, index in self.state.indexes.items() if other != name})
            return True

    def step(self) -> int:
        """Make or merge one run where it is worth it; returns how many rows went into it."""
        with self._upkeep:
            return next((done for name in list(self.state.indexes) if (done := self._step(name))), 0)

    def described(self) -> dict[str, tuple[IndexSchema, int]]:
        """Each key's schema, and how many points have a value there as far as runs cover them."""
        with self._points.snapshot() as reader:
            state = self.state
            live = live_rows(reader) if state.live is None else state.live
            return {name: (index.schema, _valued(reader, index, live)) for name, index in state.indexes.items()}

    def _stored(self) -> Iterable[Index]:
        for name, schema in tables.declared(self._points.db):
            yield Index(Key.parse(name), schema, tables.runs(self._points.db, name, self._numbers))

    def _set(self, stamp: int, indexes: dict[str, Index]) -> None:
        self.state = replace(self.state, stamp=stamp, indexes=indexes)

    def _step(self, name: str) -> int:
        started = time.perf_counter()
        with self._points.snapshot() as reader:
            with self._lock:
                self._changed_meanwhile = BitMap()
                index, live = self.state.indexes.get(name), self.state.live
                tables.moment_of(reader)  # the reader's moment begins with its first look
            if index is None:
                return 0
            rows = (live_rows(reader) if live is None else live) - index.covered
            old: tuple[Run, ...] = ()
            if len(rows) >= LEAST_RUN:
                made = _made(reader, index, BitMap(islice(rows, RUN_ROWS)))
            else:
                old = _to_merge(index.runs)
                if not old:
                    return 0
                made = tables.merged(reader, index.schema, old, live_rows(reader) if live is None else live)
        if not self._replace(index, old, made):
            return 0
        logger.info("Indexed '%s' of %d rows in %.1f s", name, len(made.rows), time.perf_counter() - started)
        return max(1, len(made.rows))

    def _numbers(self) -> RunNumbers:
        return RunNumbers(self._storage, self._folder)

    def _replace(self, index: Index, old: tuple[Run, ...], made: Postings) -> bool:
        """Put a new run in the place of old ones, unless the index is another by now."""
        name, db = index.key.text, self._points.db
        with self._lock:
            now = self.state.indexes.get(name)
            if now is None or now.schema is not index.schema:
                return False
            ids = {run.id for run in old}
            with self._points.transaction():
                tables.forget_runs(db, ids)
                numbers = self._numbers()
                run = tables.write_run(db, name, made, made.rows & self._changed_meanwhile, numbers)
                stamp = tables.stamp(db)
            runs = (*(one for one in now.runs if one.id not in ids), run)
            self._set(stamp, {**self.state.indexes, name: replace(now, runs=runs)})
            return True

    def _moment(
        self,
        state: State,
        opened: Callable[[], sqlite3.Connection],
        vectors: frozenset[str],
        live: BitMap,
        changed: BitMap,
    ) -> Moment:
        """`changed` rows are as if no run covered them."""

        def bounds(condition: FieldCondition) -> Bounds | None:
            index = state.indexes.get(condition.key.text)
            if index is None or not can_answer(index.schema, condition):
                return None
            reach, surely = state.reach(condition.key.text, live), list[BitMap]()
            undecided: list[BitMap] = [reach.uncovered] if reach.uncovered else []
            for runs in index.together:
                found = look_up(Look(opened, index.schema, runs, self._terms), condition)
                surely.append(found.sure & runs[0].covered if runs[0].stale else found.sure)
                if found.possible is not found.sure:
                    undecided.append(found.possible & runs[0].covered if runs[0].stale else found.possible)
            sure = united(surely)
            if reach.has_dead:
                sure = sure & live
            if changed:
                sure, undecided = sure - changed, [*undecided, changed]
            return Bounds(sure, sure | (BitMap.union(*undecided) & live) if undecided else sure)

        return Moment(opened, live, vectors, bounds, _tokenized(state))


def _tokenized(state: State) -> Callable[[FieldCondition], FieldCondition] | None:
    """Texts at keys with a text index are cut into words as that says."""
    tokenizers = {name: index.schema.tokenizer for name, index in state.indexes.items() if index.schema.kind == "text"}

    def change(condition: FieldCondition) -> FieldCondition:
        if isinstance(condition, (MatchText, MatchPhrase)) and condition.key.text in tokenizers:
            return replace(condition, tokenizer=tokenizers[condition.key.text])
        return condition

    return change if tokenizers else None


def _with_stale(index: Index, rows: BitMap) -> Index:
    runs = tuple(replace(run, stale=run.stale | (run.rows & rows)) for run in index.runs)
    return replace(index, runs=runs)


def _valued(reader: sqlite3.Connection, index: Index, live: BitMap) -> int:
    """How many points have a value at the key."""
    rows = (tables.rows_of(reader, run.id, SOME) & run.covered for run in index.runs)
    return len(BitMap.union(NO_ROWS, *rows) & live)


def _to_merge(runs: tuple[Run, ...]) -> tuple[Run, ...]:
    """A few runs of about the same size, small enough together; none when there are none."""
    tiers: dict[int, list[Run]] = {}
    for run in runs:
        tiers.setdefault(len(run.rows).bit_length() // 2, []).append(run)
    for tier in sorted(tiers):
        some = tiers[tier][:FAN_IN]
        if len(some) == FAN_IN and sum(len(run.rows) for run in some) <= MERGED_ROWS:
            return tuple(some)
    return ()


def _made(reader: sqlite3.Connection, index: Index, rows: BitMap) -> Postings:
    """The postings of rows, from their payloads."""
    numbers = rows.to_array().tolist()
    found: list[tuple[int, dict[str, object]]] = []
    for start in range(0, len(numbers), IDS_A_STATEMENT):
        some = numbers[start : start + IDS_A_STATEMENT]
        marks = ",".join("?" * len(some))
        for row, text in reader.execute(f"SELECT row, payload FROM points WHERE row IN ({marks})", some):
            found.append((row, orjson.loads(text) if text else {}))
    return postings(index.schema, index.key, found)
