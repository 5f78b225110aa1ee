"""Flipped bits and cut files in a folder that was closed in order: noticed, or harmless; and the others are served."""

import random
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from index_store import Store
from index_store.errors import DamagedData
from index_store.verify import verify
from model.errors import QincoError
from tests.torture import workload
from tests.torture.check import Wrong, difference
from tests.torture.oracle import Oracle

Damage = Callable[[bytearray, random.Random], None]
UNREAD = "lock"  # it holds a number for people


def lived(folder: Path, seed: int, steps: int) -> Oracle:
    """A life in `folder`/data, closed in order; what it must be found as."""
    oracle = Oracle()
    store = Store.open(folder / "data", threads=1)
    for step in workload.steps(seed, steps):
        step.act(store)
        if step.effect is not None:
            step.effect(oracle)
    store.close()
    return oracle


def flip(data: bytearray, rng: random.Random) -> None:
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def cut_short(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(len(data)) // 512 * 512 :]


def damaged(sound: Path, spoilt: Path, oracle: Oracle, damage: Damage, rng: random.Random) -> str:
    """Damage one file of a copy of a folder; what became of it. Raises Wrong when nobody noticed."""
    (file,) = _spoil(sound, spoilt, [sound], damage, rng)
    told = _told([file], spoilt)
    outcome, wrong = _started(spoilt, oracle, file)
    if wrong:
        raise Wrong(f"{file}: {outcome}, told by verify: {sorted(told)}, but {wrong}")
    return f"{outcome}, {'told' if told else 'not told'} by verify"


def each_damaged(sound: Path, spoilt: Path, oracle: Oracle, damage: Damage, rng: random.Random) -> list[str]:
    """Damage one file of every collection's folder; what became of each, as each stands for itself. Raises Wrong."""
    with sqlite3.connect(sound / "data/catalogue.sqlite3") as catalogue:
        names = dict(catalogue.execute("SELECT folder, name FROM collections"))
    catalogue.close()
    files = _spoil(sound, spoilt, [sound / "data/collections" / folder for folder in names], damage, rng)
    told = _told(files, spoilt)
    store = Store.open(spoilt / "data", threads=1)
    try:
        outcomes = []
        for file in files:
            name = names[file.parts[2]]
            refused, wrong = _looked_at(store, oracle, [name])
            is_red = not refused and store.collection(name).info().damage is not None
            if wrong and not is_red:
                raise Wrong(f"{file}: told by verify: {sorted(told)}, but {wrong}")
            is_told = any(file.parts[2] in one for one in told)
            what = "refused" if refused else "red" if is_red else "served"
            outcomes.append(f"{what}, {'told' if is_told else 'not told'} by verify")
        return outcomes
    finally:
        store.close()


def _spoil(sound: Path, spoilt: Path, below: Sequence[Path], damage: Damage, rng: random.Random) -> list[Path]:
    """Copy a folder, with one file damaged below each of these; returns which, relative to the folder."""
    if spoilt.exists():
        shutil.rmtree(spoilt)
    shutil.copytree(sound, spoilt)
    chosen = []
    for folder in below:
        files = [path for path in folder.rglob("*") if path.is_file() and path.stat().st_size and path.name != UNREAD]
        file = rng.choice(sorted(files)).relative_to(sound)
        data = bytearray((spoilt / file).read_bytes())
        damage(data, rng)
        (spoilt / file).write_bytes(data)
        chosen.append(file)
    return chosen


def _told(files: Sequence[Path], spoilt: Path) -> set[str]:
    """Which files verify tells of; raises Wrong where another one is among them."""
    told = {one.file for one in verify(spoilt / "data").damages}
    names = {file.relative_to("data").as_posix() for file in files}
    if told - names - {name.removesuffix(".seal") for name in names}:
        raise Wrong(f"{sorted(names)}: verify tells of {sorted(told)}")
    return told


def _started(folder: Path, oracle: Oracle, file: Path) -> tuple[str, str | None]:
    """What a start makes of a damaged folder, and what it answers wrongly if it does."""
    try:
        store = Store.open(folder / "data", threads=1)
    except DamagedData:
        if "catalogue" not in file.name:
            raise
        return "refused whole", None
    try:
        if store.collections() != sorted(oracle.collections):
            return "served", "other collections"
        refused, wrong = _looked_at(store, oracle, store.collections())
        others = [name for name in refused if not _may_fail(store, name, file)]
        if others:
            raise Wrong(f"{file}: {others} are not served")
        is_red = any(store.collection(name).info().damage for name in store.collections() if name not in refused)
        return ("refused" if refused else "red" if is_red else "served"), None if is_red else wrong
    finally:
        store.close()


def _looked_at(store: Store, oracle: Oracle, names: Sequence[str]) -> tuple[list[str], str | None]:
    """Which of these collections are refused, and the first difference among those that are served."""
    refused, wrong = [], None
    for name in names:
        try:
            alone = Oracle({name: oracle.collections[name]})
            wrong = wrong or difference(only(store, name), alone)
        except DamagedData:
            refused.append(name)
    return refused, wrong


def only(store: Store, name: str) -> Store:
    """A store as if it had one collection."""
    return _Only(store, name)  # type: ignore[return-value]


class _Only:
    def __init__(self, store: Store, name: str) -> None:
        self._store, self._name = store, name

    def collections(self) -> list[str]:
        return [self._name]

    def collection(self, name: str) -> object:
        return self._store.collection(name)


def _may_fail(store: Store, name: str, file: Path) -> bool:
    """Whether damage to a file may keep a collection from being served."""
    folder = {one.name: one for one in store._catalogue.collections()}[name]
    model = folder.config.codes_of("default").model
    return folder.folder in file.parts or file.name == f"{model}.safetensors"


def many(folder: Path, seed: int, steps: int, damage: Damage, count: int) -> Counter[str]:
    """So many damages to one life, or a few more: every third start has one anywhere, the others one a collection."""
    rng = random.Random(seed)
    sound = folder / f"sound-{seed}"
    oracle = lived(sound, seed, steps)
    found: Counter[str] = Counter()
    start = 0
    while found.total() < count:
        start += 1
        try:
            if start % 3 == 1:
                found[damaged(sound, folder / "spoilt", oracle, damage, rng)] += 1
            else:
                found.update(each_damaged(sound, folder / "spoilt", oracle, damage, rng))
        except (AssertionError, QincoError, OSError) as error:
            raise AssertionError(f"life {seed}, start {start}: {type(error).__name__}: {error}") from error
    shutil.rmtree(sound)
    return found
