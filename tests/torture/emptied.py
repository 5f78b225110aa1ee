"""Everything is deleted: disk and memory go back to what they were, within a fifth."""

import time
from pathlib import Path

from tests.service.requests import result
from tests.torture.served import COLLECTION, Served

SLACK = 1.2
WITHIN_S = 300


def emptied(folder: Path, points: int) -> dict[str, tuple[int, int, int]]:
    """(bytes empty, full, at the end) of disk and memory, once all points and then their collection are deleted."""
    with Served(folder, 2000) as served:
        served.latencies(0.5)  # what a first query takes for ever is part of the empty service
        result(served.client.delete(COLLECTION))
        empty = served.disk(), served.memory()
        served.make(COLLECTION)
        for part in range(4):
            served.fill(COLLECTION, points // 4, first=part * points // 4)
        served.latencies(0.5)
        full = served.disk(), served.memory()
        result(served.client.post(f"{COLLECTION}/points/delete", json={"filter": {}}))
        assert _left_over(served) == (0, 1), "no segment stays, and of originals the newest stripe, which is written to"
        result(served.client.delete(COLLECTION))
        end = _settled(served, empty)
        for what, at_end, at_first in zip(("disk", "memory"), end, empty, strict=True):
            assert at_end <= SLACK * at_first, f"{what} is {at_end} bytes at the end, was {at_first}"
    return {what: (empty[i], full[i], end[i]) for i, what in enumerate(("disk", "memory"))}


def _left_over(served: Served) -> tuple[int, int]:
    """Segments and stripes of originals that are left once upkeep has had its time."""
    until = time.monotonic() + WITHIN_S
    while True:
        found = [path.suffix for path in (served.folder / "data/collections").rglob("*.*")]
        left = found.count(".seg"), found.count(".vec")
        if left == (0, 1) or time.monotonic() > until:
            return left
        time.sleep(0.2)


def _settled(served: Served, empty: tuple[int, int]) -> tuple[int, int]:
    """Disk and memory once they are near the empty service's, or after a while."""
    until = time.monotonic() + WITHIN_S
    while True:
        now = served.disk(), served.memory()
        if all(one <= SLACK * other for one, other in zip(now, empty, strict=True)) or time.monotonic() > until:
            return now
        time.sleep(0.5)
