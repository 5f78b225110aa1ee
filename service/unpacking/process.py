"""The server's side of unpacking: the process is started, its batches are read, and its end is told."""

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, BinaryIO

from index_store.conversion import environment_of_child
from service.errors import MalformedRequest
from service.unpacking import MEMORY_A_BYTE, MEMORY_BYTES, REFUSED, ROWS

# Memory comes from malloc in one arena: what other allocators reserve would count as taken.
QUIET = {"ARROW_DEFAULT_MEMORY_POOL": "system", "MALLOC_ARENA_MAX": "1"}
LONGEST_SENTENCE = 2000


class Unpacking:
    """A table that is being unpacked: its schema, how many rows it has, and once, its batches. `close` ends it."""

    def __init__(self, file: BinaryIO, kind: str) -> None:
        """file: the whole body. Raises MalformedRequest."""
        import pyarrow as pa  # heavy, and needed for tables alone

        self._allowed = MEMORY_BYTES + MEMORY_A_BYTE * os.fstat(file.fileno()).st_size
        file.flush()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "service.unpacking.child", kind, str(self._allowed)],
            stdin=file,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment_of_child(threads=1) | QUIET,
        )
        try:
            self._stream = pa.ipc.open_stream(self._process.stdout)
        except (pa.ArrowException, OSError, ValueError) as error:
            refusal = self._refusal()
            self.close()
            raise refusal from error
        self.schema = self._stream.schema
        self.rows = int(self.schema.metadata[ROWS])

    def batches(self) -> Iterator[Any]:
        """Record batches of at most PIECE_BYTES; raises MalformedRequest where the table cannot be read on."""
        import pyarrow as pa

        try:
            yield from self._stream
        except (pa.ArrowException, OSError) as error:
            raise self._refusal() from error
        if self._process.wait() != 0:
            raise self._refusal()

    def close(self) -> None:
        """End the process, wherever it is."""
        self._process.kill()
        self._process.communicate()

    def _refusal(self) -> MalformedRequest:
        assert self._process.stderr is not None
        self._process.wait()
        told = self._process.stderr.read(LONGEST_SENTENCE).decode("utf-8", "replace").strip()
        if self._process.returncode == REFUSED and told:
            return MalformedRequest(told)
        return MalformedRequest(
            f"The table could not be unpacked within the {self._allowed >> 20} MiB that one of its size may take."
        )
