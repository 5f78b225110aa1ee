"""How far a fuzzing process has come, as it notes in a file: inputs that were read, and minutes of its CPU time."""

import os
import time
from collections.abc import Callable
from pathlib import Path

NOTED_EVERY_S = 5.0


def noting(path: Path, read: Callable[[bytes], bool]) -> Callable[[bytes], None]:
    """`read`, which notes every few seconds of its CPU time how far it has come."""
    began_s = noted_s = time.process_time()
    runs = 0

    def one(data: bytes) -> None:
        nonlocal runs, noted_s
        read(data)
        runs += 1
        now_s = time.process_time()
        if now_s - noted_s >= NOTED_EVERY_S:
            noted_s = now_s
            beside = path.with_suffix(".new")
            beside.write_text(f"{runs} {(now_s - began_s) / 60}")
            os.replace(beside, path)

    return one


def read_progress(path: Path) -> tuple[int, float]:
    """Inputs and minutes; nothing where nothing was noted yet."""
    if not path.exists():
        return 0, 0.0
    runs, minutes = path.read_text().split()
    return int(runs), float(minutes)
