"""The authors' `.pt` files become our checkpoints in a process of their own, whose memory and time are bounded.

However a file was made, the worst it does is to end that process: `python -m index_store.conversion` (`__main__.py`).
"""

import os
import subprocess
import sys
from pathlib import Path

from index_store.errors import DiskFull
from model.errors import InvalidCheckpoint

MAGIC = b"PK\x03\x04"
MEMORY_BYTES = 512 << 20
MEMORY_A_BYTE = 8
TIMEOUT_S = 600.0

REFUSED, TOO_LARGE, DISK_FULL = 3, 4, 5
_LONGEST_SENTENCE = 2000
_ROOT = Path(__file__).parents[2]


def convert(source: Path, target: Path, sha256: str) -> None:
    """Write the checkpoint of a `.pt` file in our format, with the file's SHA-256 as where it comes from.

    Beside what the process takes before it opens the file, it may use MEMORY_BYTES and MEMORY_A_BYTE for each of the
    file's. Raises InvalidCheckpoint, DiskFull.
    """
    allowed = MEMORY_BYTES + MEMORY_A_BYTE * source.stat().st_size
    command = [sys.executable, "-m", "index_store.conversion", str(source), str(target), sha256, str(allowed)]
    try:
        done = subprocess.run(
            command,
            env=environment_of_child(threads=1),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise InvalidCheckpoint(f"The .pt file could not be converted within {TIMEOUT_S:g} s.") from error
    if done.returncode == 0:
        return
    if done.returncode == REFUSED:
        raise InvalidCheckpoint(done.stdout.decode("utf-8", "replace")[:_LONGEST_SENTENCE].rstrip())
    if done.returncode == DISK_FULL:
        raise DiskFull("The disk is full: nothing of this request was kept. Free some space first.")
    if done.returncode == TOO_LARGE:
        raise InvalidCheckpoint(
            f"Converting the .pt file takes more memory than the {allowed >> 20} MiB that a file of its size may take."
        )
    raise InvalidCheckpoint(f"Converting the .pt file ended unexpectedly (status {done.returncode}).")


def environment_of_child(threads: int) -> dict[str, str]:
    """The environment without the service's settings, keys among them, for a process that runs this code."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("QINCO_")}
    paths = os.pathsep.join([str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**kept, "PYTHONPATH": paths, "OMP_NUM_THREADS": str(threads)}
