"""Lives on failing disks, in a process of their own under the recorder."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.torture.recording import library


class FailingDisk:
    """One process for many lives: what it imports and trains takes five times as long as a life."""

    def __init__(self, root: Path) -> None:
        faults, self._watched = root / "faults", root / "watched"
        faults.write_bytes(bytes(24))
        self._watched.mkdir()
        environment = os.environ | {
            "OMP_NUM_THREADS": "1", "LD_PRELOAD": str(library()),
            "RECORDER_FOLDER": str(self._watched), "RECORDER_FAULTS": str(faults),
        }  # fmt: skip
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.torture.failing", str(faults)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            text=True, env=environment, cwd=Path(__file__).parents[2],
        )  # fmt: skip

    def live(self, seed: int, steps: int, kind: str) -> tuple[int, int]:
        """A life on a disk with a fault of this kind: how many steps it struck, how many of those were refused."""
        with tempfile.TemporaryDirectory(dir=self._watched) as folder:
            told = self._asked({"folder": folder, "seed": seed, "steps": steps, "kind": kind})
        assert isinstance(told, list), f"life {seed}, {kind}: {told}"
        struck, refused = told
        return struck, refused

    def close(self) -> None:
        self._process.communicate()

    def _asked(self, task: dict[str, object]) -> object:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(task) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        return json.loads(line) if line else "its process ended"


@contextmanager
def failing_disk() -> Iterator[FailingDisk]:
    """A disk in memory where there is room."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as root:
        disk = FailingDisk(Path(root))
        try:
            yield disk
        finally:
            disk.close()
