"""What uploads that are under way have to themselves: the ids they were promised, and their names."""

from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakKeyDictionary

from index_store import Collection
from service.errors import UploadConflict


class Reservations:
    """Which ids are promised to uploads, so that two of them never number alike; which names are in use."""

    def __init__(self) -> None:
        self._next: WeakKeyDictionary[Collection, int] = WeakKeyDictionary()
        self._under_way: WeakKeyDictionary[Collection, set[str]] = WeakKeyDictionary()

    def take(self, collection: Collection, n: int) -> int:
        """The first of n ids after the collection's largest and after every id taken before, also by broken uploads."""
        largest = collection.largest_id()
        free = 0 if largest is None else largest + 1
        first = max(free, collection.end_of_promised_ids(), self._next.get(collection, 0))
        self._next[collection] = first + n
        return first

    @contextmanager
    def name(self, collection: Collection, key: str | None) -> Iterator[None]:
        """Have an upload's name for oneself; raises UploadConflict while another request has it."""
        if key is None:
            yield
            return
        names = self._under_way.setdefault(collection, set())
        if key in names:
            raise UploadConflict(f"Another request is sending upload '{key}': wait until it has ended, then go on.")
        names.add(key)
        try:
            yield
        finally:
            names.discard(key)
