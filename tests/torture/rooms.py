"""What is done to a life of a data folder, and what must hold after it: each room counts what it tried."""

import random
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from index_store import Store
from tests.torture import images, workload
from tests.torture.check import check
from tests.torture.images import Disk
from tests.torture.oracle import Oracle
from tests.torture.recording import Change, Recorder

STEPS = 25
STATE_CHANGES = "wtcdrulx"


@contextmanager
def laid_out(disk: Disk) -> Iterator[Path]:
    """A disk as a folder, in memory where there is room."""
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None))
    try:
        disk.lay_out(folder)
        yield folder
    finally:
        shutil.rmtree(folder)


def allowed(seed: int, steps: int, changes: Sequence[Change]) -> list[Oracle]:
    """How a folder may be found after these changes of a life: with the step under way, and without."""
    done, begun = images.notes(changes)
    return _oracles(seed, steps, len(done), begun is not None)


@lru_cache(maxsize=64)
def _oracles(seed: int, steps: int, done: int, has_begun: bool) -> list[Oracle]:
    oracle, life = Oracle(), workload.steps(seed, steps)
    for step in life[:done]:
        _apply(step, oracle)
    if not has_begun:
        return [oracle]
    after = oracle.copy()
    _apply(life[done], after)
    return [oracle, after]


def opens(disk: Disk, oracles: list[Oracle]) -> None:
    """Raise unless a store opens on a disk as one of the oracles, twice."""
    with laid_out(disk) as folder:
        for _ in range(2):
            store = Store.open(folder / "data", threads=1)
            try:
                check(store, oracles)
            finally:
                store.close()


def killed_at_every_point(recorder: Recorder, seed: int, steps: int = STEPS, every: int = 1) -> int:
    """A kill after each change to a file, `every` so manieth; returns how many folders were opened."""
    changes = recorder.life(seed, steps, f"killed-{seed}")
    disk, tried = Disk(), 0
    for place, change in enumerate(changes):
        disk.apply(change)
        if change.kind in STATE_CHANGES and place % every == 0:
            _told(f"life {seed}, killed after change {place}", disk, allowed(seed, steps, changes[: place + 1]))
            tried += 1
    return tried


def killed_while_recovering(recorder: Recorder, seed: int, steps: int = STEPS, moments: int = 5, every: int = 1) -> int:
    """A kill at a few moments, and then after each change that the next start makes."""
    name = f"recovering-{seed}"
    changes = recorder.life(seed, steps, name)
    rng, tried = random.Random(seed), 0
    for moment in sorted(rng.sample(range(len(changes)), moments)):
        disk = Disk()
        for change in changes[: moment + 1]:
            disk.apply(change)
        oracles = allowed(seed, steps, changes[: moment + 1])
        with laid_out(disk) as folder:
            again = recorder.root / f"{name}-{moment}"
            shutil.copytree(folder, again)
        disk.numbers = {}
        renumbered = _renumbered(disk)
        for place, change in enumerate(recorder.opening(again.name)):
            renumbered.apply(change)
            if change.kind in STATE_CHANGES and place % every == 0:
                _told(f"life {seed}, killed after {moment}, start killed after {place}", renumbered, oracles)
                tried += 1
    return tried


def without_power(
    recorder: Recorder, seed: int, steps: int = STEPS, cuts: int = 50, careless: str | None = None
) -> int:
    """Power cuts at random moments, each leaving what was synced and anything of the rest."""
    changes = recorder.life(seed, steps, f"power-{seed}-{careless}", careless)
    rng = random.Random(seed)
    for cut in range(cuts):
        moment = rng.randrange(len(changes)) + 1
        disk = images.after_power_cut(changes[:moment], random.Random(f"{seed} {cut}"))
        _told(f"life {seed}, power cut {cut} after {moment}", disk, allowed(seed, steps, changes[:moment]))
    return cuts


def _renumbered(disk: Disk) -> Disk:
    """The same disk with numbers that no recording uses: below zero."""
    new = {file: -1 - place for place, file in enumerate({*disk.contents, *disk.folders} - {images.ROOT})}
    new[images.ROOT] = images.ROOT
    return Disk(
        {new[file]: bytearray(data) for file, data in disk.contents.items()},
        {(new[folder], name): new[file] for (folder, name), file in disk.names.items()},
        {new[folder] for folder in disk.folders},
    )


def _told(where: str, disk: Disk, oracles: list[Oracle]) -> None:
    try:
        opens(disk, oracles)
    except BaseException as error:
        raise AssertionError(f"{where}: {type(error).__name__}: {error}") from error


def _apply(step: workload.Step, oracle: Oracle) -> None:
    if step.effect is not None:
        step.effect(oracle)
