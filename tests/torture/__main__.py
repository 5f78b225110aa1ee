"""`make torture`: rooms go on from the seed they reached, for some minutes each, and add up in counts.json.

python -m tests.torture [--minutes M] [ROOM…]
"""

import argparse
import gc
import json
import logging
import tempfile
import time
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

from tests.service import api_calls
from tests.told import TOLD
from tests.torture import damage, emptied, failing, half_open, hostile, overload, rooms, snapshotting
from tests.torture.failing_room import FailingDisk, failing_disk
from tests.torture.kept_codecs import keep_codecs
from tests.torture.killing import Siege
from tests.torture.long_life import lived
from tests.torture.recorded import small_stripes
from tests.torture.recording import Recorder, recorder

COUNTS = Path(__file__).with_name("counts.json")
Tried = int | tuple[int, str]  # how many trials; where it measures, with what it measured, in a line
Room = Callable[[int], Tried]  # by a seed

ROUNDS = 10
CLIENTS = 1000
POINTS = 200_000
OPEN = ExitStack()


@cache
def _recorder() -> Recorder:
    """One process for all seeds: what it imports and trains takes longer than a life."""
    return OPEN.enter_context(recorder())


@cache
def _failing_disk() -> FailingDisk:
    """The same of lives on disks that fail."""
    return OPEN.enter_context(failing_disk())


def killed_at_every_point(seed: int) -> int:
    return rooms.killed_at_every_point(_recorder(), seed)


def killed_while_recovering(seed: int) -> int:
    return rooms.killed_while_recovering(_recorder(), seed)


def without_power(seed: int) -> int:
    return rooms.without_power(_recorder(), seed, cuts=100)


def flipped(seed: int) -> int:
    with _memory() as folder:
        return sum(damage.many(folder, seed, rooms.STEPS, damage.flip, 200).values())


def cut_short(seed: int) -> int:
    with _memory() as folder:
        return sum(damage.many(folder, seed, rooms.STEPS, damage.cut_short, 100).values())


def snapshots_under_writes(seed: int) -> int:
    with _memory() as folder:
        return snapshotting.snapshots_under_writes(folder, seed, rounds=10)


def long_life(seed: int) -> int:
    with _memory() as folder:
        return lived(folder, seed, operations=100_000, ids=20_000).operations


def overloaded(seed: int) -> Tried:
    """The seed changes nothing but counts, here and below."""
    with _memory() as folder:
        return 1, overload.told(overload.overloaded(folder, seconds=30))


def half_open_clients(seed: int) -> Tried:
    with _memory() as folder:
        alone, beside = half_open.half_open(folder, CLIENTS)
    return CLIENTS, f"p99 of queries alone {alone:.1f} ms, beside the clients {beside:.1f} ms"


def hostile_bodies(seed: int) -> Tried:
    with _memory() as folder:
        count, peak, after = hostile.refused(folder, rounds=2)
    return count, f"memory at most {peak:.2f}, after {after:.2f} times that before"


def all_deleted(seed: int) -> Tried:
    with _memory() as folder:
        sizes = emptied.emptied(folder, POINTS)
    told = "{} empty {:.1f}, full {:.1f}, at the end {:.1f} MB"
    return 1, "; ".join(told.format(what, *(size / 1e6 for size in three)) for what, three in sizes.items())


def disk_failed(seed: int) -> int:
    """Returns how many steps were struck, over all kinds of fault."""
    return sum(_failing_disk().live(seed, rooms.STEPS, kind)[0] for kind in failing.KINDS)


def killed_under_load(seed: int) -> int:
    return _besieged(seed, Siege.kill)


def stopped_under_load(seed: int) -> int:
    return _besieged(seed, Siege.stop)


def called(seed: int) -> int:
    """Returns how many calls were made up from the OpenAPI document, each answered as it says."""
    with _memory() as folder, api_calls.locked(folder) as client:
        return api_calls.called_alone(client, 5, seed) + api_calls.called_in_rows(client, 40, seed)


# name → room, target as the durability page tells it
ROOMS: dict[str, tuple[Room, int]] = {
    "killed_under_load": (killed_under_load, 1000),
    "stopped_under_load": (stopped_under_load, 200),
    "killed_at_every_point": (killed_at_every_point, 20),
    "killed_while_recovering": (killed_while_recovering, 20),
    "without_power": (without_power, 5000),
    "disk_failed": (disk_failed, 1000),
    "snapshots_under_writes": (snapshots_under_writes, 100),
    "long_life": (long_life, 1_000_000),
    "overloaded": (overloaded, 1),
    "half_open_clients": (half_open_clients, 1000),
    "hostile_bodies": (hostile_bodies, 100),
    "all_deleted": (all_deleted, 1),
    "flipped": (flipped, 20_000),
    "cut_short": (cut_short, 2000),
    "called": (called, 20_000),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rooms", nargs="*", help=f"of {', '.join(ROOMS)}; all by default")
    parser.add_argument("--minutes", type=float, default=5, help="for each room")
    chosen = parser.parse_args()
    unknown = set(chosen.rooms) - set(ROOMS)
    if unknown:
        parser.error(f"there is no room {unknown.pop()}")
    logging.disable(logging.CRITICAL)
    small_stripes()
    keep_codecs()
    gc.collect()
    gc.freeze()  # collecting what was imported, again and again, takes half of all time
    with OPEN:
        failed = [name for name in chosen.rooms or ROOMS if not run(name, chosen.minutes * 60)]
    if failed:
        raise SystemExit(f"Failed: {', '.join(failed)}; {COUNTS.name} tells which seeds.")


def run(name: str, seconds: float) -> bool:
    """Seed after seed, until the time is over; whether all held."""
    room, _ = ROOMS[name]
    until = time.monotonic() + seconds
    is_sound = True
    while time.monotonic() < until:
        counts = _counts(name)
        seed = counts["seeds"] + 1
        counts["seeds"] = seed
        try:
            tried = room(seed)
            if isinstance(tried, tuple):
                tried, counts["figures"] = tried
                print(f"{name}: {counts['figures']}")
            counts["tried"] += tried
            if told := TOLD.forget():
                raise AssertionError(f"a log tells {told[0]}")
        except Exception as error:  # a room's failure is told, and the next seed tried
            traceback.print_exc()
            counts["failed"].append({"seed": seed, "why": str(error)[:400]})
            is_sound = False
        _note(name, counts)
        print(f"{name}: seed {seed}, {counts['tried']} tried, {len(counts['failed'])} failed", flush=True)
    return is_sound


def _counts(name: str) -> dict[str, Any]:
    rooms_so_far = json.loads(COUNTS.read_text()) if COUNTS.exists() else {}
    counts: dict[str, Any] = rooms_so_far.get(name, {"seeds": 0, "tried": 0, "failed": []})
    return counts


def _note(name: str, counts: dict[str, Any]) -> None:
    rooms_so_far = json.loads(COUNTS.read_text()) if COUNTS.exists() else {}
    COUNTS.write_text(json.dumps({**rooms_so_far, name: counts}, indent=1, sort_keys=True) + "\n")


def _besieged(seed: int, end: Callable[[Siege], None]) -> int:
    with _memory() as folder:
        siege = Siege(folder, seed)
        try:
            for _ in range(ROUNDS):
                end(siege)
        finally:
            siege.close()
    return ROUNDS


class _memory(tempfile.TemporaryDirectory):  # type: ignore[type-arg]  # noqa: N801
    """A temporary folder in memory where there is room."""

    def __init__(self) -> None:
        shared = Path("/dev/shm")
        super().__init__(dir=shared if shared.is_dir() else None)

    def __enter__(self) -> Path:  # type: ignore[override]
        return Path(super().__enter__())


if __name__ == "__main__":
    main()
