"""What one query sees: segments, pending rows and tombstones, replaced whole by one assignment."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from index_store.coding import Coding
from index_store.lists import Lists
from index_store.originals import Piece
from index_store.row_set import RowSet
from index_store.segment import Segment

if TYPE_CHECKING:
    from index_store.many_lists import OccupiedLists
    from index_store.scan.whole_view import Addresses


@dataclass(frozen=True)
class View:
    """Immutable; whoever holds one keeps its arrays and maps alive.

    version       the last operation whose points it shows
    watermark     rows below are in segments, rows from here to `stop` are pending
    pending       their vectors as stored, mapped; a piece a stripe
    dead          rows that are no points any more, or whose points lack this vector
    lists         None while nothing is encoded
    coding        what the segments' codes are read with; None without a model
    length        the one that all vectors of the segments have, as searched; None where they have several
    """

    version: int
    watermark: int
    stop: int
    segments: tuple[Segment, ...]
    pending: tuple[Piece, ...]
    dead: RowSet
    lists: Lists | OccupiedLists | None
    coding: Coding | None
    length: float | None = None

    @cached_property
    def addresses(self) -> Addresses | None:
        """Where the arrays of its segments lie, for a scan of all of them at once; None where that cannot be."""
        from index_store.scan import whole_view  # compiled by Numba, which takes 55 MB

        return whole_view.addresses_of(self.segments) if whole_view.fits(self.segments) else None

    def encoded(self) -> int:
        """How many codes the segments hold, tombstones included."""
        return sum(map(len, self.segments))
