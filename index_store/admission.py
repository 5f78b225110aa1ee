"""Who may write: rows that wait to be encoded are bounded, and so are those that wait to be written."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from index_store.errors import PendingFull
from index_store.holdings import Holdings


class Admission:
    """Of one collection; any thread may call it."""

    def __init__(self, held: Holdings, max_pending: int) -> None:
        self._held, self._max_pending = held, max_pending
        self._waiting_rows = 0
        self._counting = threading.Lock()

    @contextmanager
    def of(self, rows: int) -> Iterator[None]:
        """Count rows among those that wait while they are written; raises PendingFull when they would be too many."""
        self._count(rows)
        try:
            yield
        finally:
            self._count(-rows)

    def _count(self, rows: int) -> None:
        with self._counting:
            pending = self._held.pending() + self._waiting_rows
            if rows > 0 and pending and pending + rows > self._max_pending:
                raise PendingFull(
                    f"{pending} vectors wait to be encoded, at most {self._max_pending} may: try again in a moment."
                )
            self._waiting_rows += rows
