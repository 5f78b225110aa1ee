"""Recordings of all changes that a process makes to files, in their order, and the process that makes them."""

import hashlib
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_SOURCE = Path(__file__).with_name("recorder.c")
_HEAD = struct.Struct("<cIQIHH")


@dataclass(frozen=True)
class Change:
    """kind: w write · t truncate · s sync · c create · d folder · r rename · u unlink · l link · x remove folder

    file: its number, never reused · offset: of a write, or the size of a truncation · path, other: from the root
    """

    kind: str
    file: int
    offset: int
    data: bytes
    path: str
    other: str


def compiler() -> str | None:
    """The C compiler that the recorder is made with, if there is one."""
    return shutil.which("cc") if sys.platform == "linux" else None


def library() -> Path:
    """The compiled recorder."""
    made = Path(tempfile.gettempdir()) / f"recorder-{hashlib.sha256(_SOURCE.read_bytes()).hexdigest()[:16]}.so"
    if not made.exists():
        with tempfile.NamedTemporaryFile(dir=made.parent, delete=False) as unfinished:
            pass
        command = [
            compiler() or "cc",
            "-shared",
            "-fPIC",
            "-O1",
            "-o",
            unfinished.name,
            str(_SOURCE),
            "-ldl",
            "-lpthread",
        ]
        subprocess.run(command, check=True)
        os.replace(unfinished.name, made)
    return made


class Recorder:
    """A process below whose folder every change is recorded."""

    def __init__(self, root: Path) -> None:
        self.root = root / "watched"
        self.root.mkdir()
        self._log = root / "log"
        environment = os.environ | {
            "OMP_NUM_THREADS": "1",
            "LD_PRELOAD": str(library()), "RECORDER_FOLDER": str(self.root), "RECORDER_LOG": str(self._log),
        }  # fmt: skip
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.torture.recorded"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True, env=environment, cwd=Path(__file__).parents[2],
        )  # fmt: skip
        self._read = 0
        self._answer("ready")

    def life(self, seed: int, steps: int, name: str, careless: str | None = None) -> list[Change]:
        """Live a life in a new folder; all that it changed there. `careless` names what storage leaves out."""
        folder = self.root / name
        folder.mkdir()
        return self._run({"life": seed, "steps": steps, "folder": str(folder), "careless": careless}, name)

    def opening(self, name: str) -> list[Change]:
        """Open and close a store on a folder that is there; all that this changed."""
        return self._run({"open": True, "folder": str(self.root / name)}, name)

    def close(self) -> None:
        self._process.communicate()

    def _run(self, task: dict[str, object], name: str) -> list[Change]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(task) + "\n")
        self._process.stdin.flush()
        self._answer("ok")
        with self._log.open("rb") as log:
            log.seek(self._read)
            data = log.read()
        self._read += len(data)
        return list(_changes(data, f"/{name}"))

    def _answer(self, expected: str) -> None:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        assert line == expected, f"the recorded process said {line!r}"


@contextmanager
def recorder() -> Iterator[Recorder]:
    """A recorder in memory where there is room, on disk elsewhere."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as root:
        one = Recorder(Path(root))
        try:
            yield one
        finally:
            one.close()


def _changes(data: bytes, below: str) -> Iterator[Change]:
    """The entries of a log, with paths relative to the folder `below`."""
    at = 0
    while at < len(data):
        kind, file, offset, size, first, second = _HEAD.unpack_from(data, at)
        at += _HEAD.size
        body, path = data[at : at + size], data[at + size : at + size + first].decode()
        other = data[at + size + first : at + size + first + second].decode()
        at += size + first + second
        yield Change(kind.decode(), file, offset, body, path.removeprefix(below), other.removeprefix(below))
