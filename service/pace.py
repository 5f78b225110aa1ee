"""How fast queries of each kind are answered, as of late: quick ones are searched by the event loop itself."""

from collections import OrderedDict
from collections.abc import Hashable

FORGIVEN = 1 / 4
"""A slower pass counts at once, a faster one by this share: after a wait for the disk a few have to be quick again."""

MOST_KINDS = 256


class Pace:
    """Seconds a query by its kind. Belongs to the event loop's thread."""

    def __init__(self) -> None:
        self._seconds: OrderedDict[Hashable, float] = OrderedDict()  # the longest unused first

    def queries_within(self, kind: Hashable, seconds: float) -> int:
        """How many queries of a kind one pass answers in so many seconds; 0 where nothing is known of the kind."""
        each = self._seconds.get(kind)
        return 0 if each is None else int(seconds / max(each, 1e-6))

    def note(self, kind: Hashable, queries: int, seconds: float) -> None:
        """Remember what a pass took."""
        each, before = seconds / max(1, queries), self._seconds.get(kind, 0.0)
        self._seconds[kind] = each if each > before else before + FORGIVEN * (each - before)
        self._seconds.move_to_end(kind)
        if len(self._seconds) > MOST_KINDS:
            self._seconds.popitem(last=False)
