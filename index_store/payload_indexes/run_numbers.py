"""The numbers of one run in the order of their values, mapped: a range is two binary searches and the rows in between.

The database holds them in blocks, and is the truth. From these a file without a name is made when a filter asks for the
first time since the start, which takes some 20 ns a number; it takes 12 bytes a number of disk, 20 of a place, and
memory only as long as the kernel has no better use for it. Nothing of it is there after the process, however it ends.
"""

import threading
from collections.abc import Callable
from pathlib import Path

from index_store.errors import DiskFull, DiskUnavailable
from index_store.payload_indexes.postings import Numbers
from index_store.storage import Storage


class RunNumbers:
    """Those of one run, which never change. Any thread may call it."""

    def __init__(self, storage: Storage, folder: Path) -> None:
        self._storage, self._folder = storage, folder
        self._making = threading.Lock()
        self._mapped: Numbers | None = None

    def get(self, read: Callable[[], Numbers]) -> Numbers:
        """All of them; `read` gives those of the database, where they are not mapped yet."""
        if self._mapped is None:
            with self._making:
                if self._mapped is None:
                    self._mapped = self._set_aside(read())
        return self._mapped

    def _set_aside(self, numbers: Numbers) -> Numbers:
        arrays = [numbers.values, numbers.rows, *(() if numbers.lons is None else (numbers.lons,))]
        try:
            return Numbers(*self._storage.set_aside(self._folder, arrays))
        except (DiskFull, DiskUnavailable, OSError):
            return numbers  # in memory: queries do not need the disk to take anything
