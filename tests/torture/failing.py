"""A life on a disk that fails: full, read-only, without file descriptors, or with syncs that fail, from any call on.

`python -m tests.torture.failing FAULTS` lives in the process that the recorder sits under; FAULTS is the file that the
two share. A line of JSON on standard input, {"folder": F, "seed": n, "steps": n, "kind": K}, is a life, and is answered
by a line: [steps struck, of these refused], or {"failed": why}. At each step the fault is armed at a random call, and
lifted after the step: a step that was refused has changed nothing, what was there is still answered, the next write and
delete succeed, but after a failed sync, which a restart must mend.
"""

import json
import mmap
import random
import struct
import sys
import traceback
from pathlib import Path

import numpy as np

from index_store import Store
from index_store.errors import DiskFull, DiskUnavailable, ReadOnly
from model.errors import QincoError
from tests.torture import workload
from tests.torture.check import check, difference
from tests.torture.kept_codecs import keep_codecs
from tests.torture.oracle import Oracle
from tests.torture.recorded import small_stripes

KINDS = {"full": 1, "sync": 2, "files": 3, "read-only": 4}
CALLS = 12  # within so many calls of a kind the fault begins
FOR_EVER = 1 << 40
TOLD = (DiskFull, DiskUnavailable, ReadOnly)


class Faults:
    """What the recorder is to let fail."""

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            self._shared = mmap.mmap(file.fileno(), 24)

    def arm(self, kind: int, after: int) -> None:
        self._shared[:] = struct.pack("<qqq", kind, after, FOR_EVER)

    def lift(self) -> None:
        self._shared[:] = bytes(24)

    def has_struck(self) -> bool:
        return struct.unpack("<qqq", self._shared[:])[2] not in (FOR_EVER, 0)


def live(faults: Faults, folder: Path, seed: int, count: int, kind: str) -> tuple[int, int]:
    """A life; how many steps a fault struck, and how many of those were refused. Raises AssertionError."""
    rng, oracle, struck, refused = random.Random(seed), Oracle(), 0, 0
    store = Store.open(folder / "data", threads=1)
    beginning = len(workload.MODELS) + len(workload.KINDS)
    is_there = False  # what was not dropped is not made again
    for place, step in enumerate(workload.steps(seed, count)):
        if is_there and step.what == "create":
            is_there = False
            continue
        if place >= beginning:
            faults.arm(KINDS[kind], rng.randrange(CALLS))
        error = _done(store, step)
        has_struck = faults.has_struck()
        faults.lift()
        struck += has_struck
        refused += error is not None
        after = oracle.copy()
        if step.effect is not None:
            step.effect(after)
        if error is None:
            oracle = after
        else:
            assert has_struck, f"step {place}, {step.what}, was refused without a fault: {error}"
            assert kind == "sync" or not isinstance(error, ReadOnly), f"{step.what} must be writable again: {error}"
        if kind == "sync" and error is not None:
            store.close()
            store = Store.open(folder / "data", threads=1)  # which of the two the disk holds is known only now
            oracle = after if difference(store, after) is None else oracle
        if step.what == "create" and oracle is not after:
            step.act(store)  # what comes later needs it, and it must be possible by now
            oracle = after
        is_there = step.what == "drop" and oracle is not after
        check(store, [oracle])
        _write_and_delete(store)
    store.close()
    store = Store.open(folder / "data", threads=1)
    check(store, [oracle])
    store.close()
    return struck, refused


def _done(store: Store, step: workload.Step) -> QincoError | None:
    try:
        step.act(store)
        return None
    except TOLD as error:
        return error


def _write_and_delete(store: Store) -> None:
    """Once the fault is lifted, a point can be written and deleted, which leaves all as it is."""
    for name in store.collections():
        store.collection(name).upsert([10**9], {"default": np.ones((1, workload.DIM), np.float32)})
        store.collection(name).delete([10**9])


def main() -> None:
    small_stripes()
    keep_codecs()
    faults = Faults(Path(sys.argv[1]))
    for line in sys.stdin:
        task = json.loads(line)
        try:
            told: object = live(faults, Path(task["folder"]), task["seed"], task["steps"], task["kind"])
        except Exception:  # the process's edge: the next life is to be lived all the same
            faults.lift()
            told = {"failed": traceback.format_exc()[-3000:]}
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
