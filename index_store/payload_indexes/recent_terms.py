"""The rows of the terms that filters asked for of late: a tenant is asked for again, beside new limits."""

import threading
from collections import OrderedDict
from collections.abc import Callable

from pyroaring import BitMap

MOST_BYTES = 4 << 20
"""Held for a collection, as they are stored."""

_ENTRY_BYTES = 200
"""What one takes beside its rows, roughly."""


class RecentTerms:
    """run, term → rows, the longest unused forgotten first; runs never change. Any thread may call it."""

    def __init__(self) -> None:
        self._held: OrderedDict[tuple[int, bytes], tuple[BitMap, int]] = OrderedDict()
        self._size_bytes = 0
        self._lock = threading.Lock()

    def get(self, run: int, term: bytes, read: Callable[[], bytes | None]) -> BitMap:
        """The rows of a term, which nobody may change; `read` gives them as stored where they are not held."""
        key = run, term
        with self._lock:
            held = self._held.get(key)
            if held is not None:
                self._held.move_to_end(key)
                return held[0]
        stored = read()
        rows = BitMap() if stored is None else BitMap.deserialize(stored)
        size = _ENTRY_BYTES + len(term) + len(stored or b"")
        with self._lock:
            if key not in self._held:
                self._held[key] = rows, size
                self._size_bytes += size
            while self._size_bytes > MOST_BYTES:
                _, (_, freed) = self._held.popitem(last=False)
                self._size_bytes -= freed
        return rows
