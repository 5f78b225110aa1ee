"""Snapshots taken while a collection is written to, encoded, merged and encoded anew: each is one moment of it."""

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from index_store import CodesConfig, Collection, Store
from index_store.errors import InvalidSnapshot
from tests.builders import clustered
from tests.torture import damage, workload
from tests.torture.check import Wrong, difference
from tests.torture.oracle import Oracle

NAME, COPY = "lists", "copy"
MODELS = ("lists", "bare")


class Life:
    """One client's changes, and what the collection holds after each, by the operation's id."""

    def __init__(self, collection: Collection, seed: int) -> None:
        self._collection, self._rng = collection, random.Random(seed)
        self.states = {0: Oracle({COPY: {}})}
        self.acknowledged = 0

    def step(self) -> None:
        """One change; its state is known before it can be seen."""
        after = self.states[self.acknowledged].copy()
        ids = self._rng.sample(range(workload.IDS), self._rng.choice([1, 5, 30]))
        if self._rng.random() < 0.3:
            after.delete(COPY, ids)
            self.states[self.acknowledged + 1] = after
            found = self._collection.delete(ids)
        else:
            vectors = clustered(len(ids), workload.DIM, seed=self._rng.randrange(2**31))
            payloads = [{"seen": self._rng.randrange(1000)} for _ in ids]
            after.upsert(COPY, ids, vectors, list(payloads))
            self.states[self.acknowledged + 1] = after
            found = self._collection.upsert(np.array(ids, np.uint64), {"default": vectors}, payloads)
        assert found == self.acknowledged + 1, "there is one writer"
        self.acknowledged = found

    def forget(self, before: int) -> None:
        """States that no snapshot can be of any more."""
        for version in [one for one in list(self.states) if one < before]:
            del self.states[version]


def snapshots_under_writes(folder: Path, seed: int, rounds: int) -> int:
    """Take and put back so many; each must be one moment between its beginning and its end. Returns how many."""
    store, rng = Store.open(folder / "data", threads=1), random.Random(seed)
    try:
        for step in workload.steps(seed, 0):
            step.act(store)
        life = Life(store.collection(NAME), seed)
        with _going_on(life.step), _going_on(lambda: _upkeep(store, rng)):
            for _ in range(rounds):
                first = life.acknowledged
                record = store.create_snapshot(NAME)
                archive = store.snapshots.path(NAME, record.name)
                store.restore_snapshot(COPY, archive, record.sha256)
                _check(store, life, first)
                _damage(store, archive, rng)
                _check(store, life, first)
                store.snapshots.delete(NAME, record.name)
                life.forget(first)
        return rounds
    finally:
        store.close()


def _check(store: Store, life: Life, first: int) -> None:
    found = store.collection(COPY).view().version
    if not first <= found <= life.acknowledged + 1:
        raise Wrong(f"the snapshot is of operation {found}, taken between {first} and {life.acknowledged}")
    told = difference(damage.only(store, COPY), life.states[found])
    if told:
        raise Wrong(f"at operation {found}: {told}")


def _damage(store: Store, archive: Path, rng: random.Random) -> None:
    """A damaged archive is refused, and what was put back stays; or the damage lay where nothing is read."""
    spoil = rng.choice([damage.flip, damage.cut_short])
    data = bytearray(archive.read_bytes())
    spoil(data, rng)
    spoilt = archive.with_suffix(".spoilt")
    spoilt.write_bytes(data)
    try:
        store.restore_snapshot(COPY, spoilt)
    except InvalidSnapshot:
        pass
    finally:
        spoilt.unlink()


def _upkeep(store: Store, rng: random.Random) -> None:
    collection = store.collection(NAME)
    if rng.random() < 0.05:
        now = collection.info().model
        store.reencode(NAME, "default", CodesConfig(model=MODELS[now == MODELS[0]]), lambda share: None)
    elif not collection.encode_pending(50):
        collection.merge()


@contextmanager
def _going_on(act: Callable[[], object]) -> Iterator[None]:
    """Do it again and again in a thread meanwhile; what it raises is raised here."""
    is_over, failed = threading.Event(), list[BaseException]()

    def run() -> None:
        try:
            while not is_over.is_set():
                act()
        except BaseException as error:  # the thread's edge
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
    if failed:
        raise failed[0]
