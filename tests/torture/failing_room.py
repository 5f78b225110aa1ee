"""Lives on failing disks, each in a process of its own under the recorder."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.torture.recording import library


def failed(seed: int, steps: int, kind: str) -> tuple[int, int]:
    """A life on a disk with a fault of this kind: how many steps it struck, how many of those were refused."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as root:
        faults, folder = Path(root) / "faults", Path(root) / "watched"
        faults.write_bytes(bytes(24))
        folder.mkdir()
        environment = os.environ | {
            "OMP_NUM_THREADS": "1", "LD_PRELOAD": str(library()),
            "RECORDER_FOLDER": str(folder), "RECORDER_FAULTS": str(faults),
        }  # fmt: skip
        ended = subprocess.run(
            [sys.executable, "-m", "tests.torture.failing", str(faults), str(folder), str(seed), str(steps), kind],
            env=environment, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=600, check=False,
        )  # fmt: skip
        assert ended.returncode == 0, f"life {seed}, {kind}: {ended.stderr[-3000:]}"
        struck, refused = ended.stdout.split()
        return int(struck), int(refused)
