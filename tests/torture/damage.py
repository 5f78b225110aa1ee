"""Flipped bits and cut files in a folder that was closed in order: noticed, or harmless; and the others are served."""

import random
import shutil
from collections import Counter
from collections.abc import Callable
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
    files = sorted(path for path in sound.rglob("*") if path.is_file() and path.stat().st_size and path.name != UNREAD)
    file = rng.choice(files).relative_to(sound)
    if spoilt.exists():
        shutil.rmtree(spoilt)
    shutil.copytree(sound, spoilt)
    data = bytearray((spoilt / file).read_bytes())
    damage(data, rng)
    (spoilt / file).write_bytes(data)
    told = {one.file for one in verify(spoilt / "data").damages}
    outcome, wrong = _started(spoilt, oracle, file)
    if wrong:
        raise Wrong(f"{file}: {outcome}, told by verify: {sorted(told)}, but {wrong}")
    name = file.relative_to("data").as_posix()
    if told - {name, name.removesuffix(".seal")}:
        raise Wrong(f"{file}: verify tells of {sorted(told)}")
    return f"{outcome}, {'told' if told else 'not told'} by verify"


def _started(folder: Path, oracle: Oracle, file: Path) -> tuple[str, str | None]:
    """What a start makes of a damaged folder, and what it answers wrongly if it does."""
    try:
        store = Store.open(folder / "data", threads=1)
    except DamagedData:
        if "catalogue" not in file.name:
            raise
        return "refused whole", None
    try:
        refused, wrong = _looked_at(store, oracle)
        others = [name for name in refused if not _may_fail(store, name, file)]
        if others:
            raise Wrong(f"{file}: {others} are not served")
        is_red = any(store.collection(name).info().damage for name in store.collections() if name not in refused)
        return ("refused" if refused else "red" if is_red else "served"), None if is_red else wrong
    finally:
        store.close()


def _looked_at(store: Store, oracle: Oracle) -> tuple[list[str], str | None]:
    """Which collections are refused, and the first difference among those that are served."""
    if store.collections() != sorted(oracle.collections):
        return [], "other collections"
    refused, wrong = [], None
    for name in store.collections():
        try:
            alone = Oracle({name: oracle.collections[name]})
            wrong = wrong or difference(_Only(store, name), alone)  # type: ignore[arg-type]
        except DamagedData:
            refused.append(name)
    return refused, wrong


class _Only:
    """A store as if it had one collection."""

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
    """So many damages to one life."""
    rng = random.Random(seed)
    sound = folder / f"sound-{seed}"
    oracle = lived(sound, seed, steps)
    found: Counter[str] = Counter()
    for number in range(count):
        try:
            found[damaged(sound, folder / "spoilt", oracle, damage, rng)] += 1
        except (AssertionError, QincoError, OSError) as error:
            raise AssertionError(f"life {seed}, damage {number}: {type(error).__name__}: {error}") from error
    shutil.rmtree(sound)
    return found
