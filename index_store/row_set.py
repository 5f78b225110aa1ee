"""An immutable set of rows as one bit a row: tombstones, and the rows that a filter leaves out."""

from array import array
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pyroaring import BitMap

_MANY = 4096
"""Rows that are worth a compiled function, for those who have imported none."""

_SPARSE = 64
"""Where fewer than one in so many rows are meant, most words of their bits are empty."""


def are_many(count: int, span: int) -> bool:
    """Whether so many rows of a span are better taken as its bits, by a compiled function, than one by one."""
    return count >= _MANY and _SPARSE * count >= span


def bitmap_of(parts: Sequence[NDArray[np.uint32]], stop: int) -> BitMap:
    """Rows below `stop`, all those of several [n], in any order and some perhaps twice, as a set."""
    if not are_many(sum(map(len, parts)), stop):
        return bitmap_of_plain(parts)
    from index_store import row_bits  # compiled by Numba, which takes 55 MB

    return row_bits.bitmap_of(parts, stop)


def bitmap_of_plain(parts: Sequence[NDArray[np.uint32]]) -> BitMap:
    """The same by sorting. Ascending and as an array of the standard library they are taken over as they lie, which is
    twelve times as fast as one by one."""
    if not parts:
        return BitMap()
    rows = np.sort(parts[0] if len(parts) == 1 else np.concatenate(parts))
    return BitMap(array("I", rows.tobytes()), optimize=False)


class RowSet:
    """Rows; `bits` is uint8 [ceil(largest / 8)], the lowest bit first. Rows beyond the bits are not in it."""

    def __init__(self, bits: NDArray[np.uint8] | None = None) -> None:
        self.bits = np.zeros(0, np.uint8) if bits is None else bits

    @classmethod
    def all_but(cls, rows: BitMap, stop: int) -> "RowSet":
        """Every row below `stop` that is not in `rows`."""
        if not are_many(len(rows), stop):
            chosen = np.asarray(rows.to_array(), np.uint32)
            return cls(np.full(-(-stop // 8), 255, np.uint8)).without_rows(chosen)
        from index_store import row_bits  # compiled by Numba, which takes 55 MB

        return cls(~row_bits.bits_of(rows, stop).view(np.uint8)[: -(-stop // 8)])

    def __bool__(self) -> bool:
        return bool(self.bits.any())

    def __len__(self) -> int:
        return int(np.bitwise_count(self.bits).sum())

    def contains(self, rows: NDArray[np.integer]) -> NDArray[np.bool_]:
        """Whether each of `rows` [n] is in the set."""
        byte = np.asarray(rows, np.int64) >> 3
        inside = byte < len(self.bits)
        found = np.zeros(len(byte), np.bool_)
        bit = (np.asarray(rows, np.int64)[inside] & 7).astype(np.uint8)
        found[inside] = (self.bits[byte[inside]] >> bit) & 1 == 1
        return found

    def between(self, first: int, stop: int) -> NDArray[np.bool_]:
        """Whether each of the rows first..stop−1 is in the set."""
        found = np.zeros(stop - first, np.bool_)
        held = np.unpackbits(self.bits[first >> 3 : -(-stop // 8)], bitorder="little")[first & 7 :][: stop - first]
        found[: len(held)] = held
        return found

    def with_rows(self, rows: NDArray[np.integer]) -> "RowSet":
        """This set and `rows`; copies one bit a row, this set stays as it is."""
        if not len(rows):
            return self
        byte = np.asarray(rows, np.int64) >> 3
        bits = np.zeros(max(len(self.bits), int(byte.max()) + 1), np.uint8)
        bits[: len(self.bits)] = self.bits
        np.bitwise_or.at(bits, byte, np.uint8(1) << (np.asarray(rows, np.int64) & 7).astype(np.uint8))
        return RowSet(bits)

    def without_rows(self, rows: NDArray[np.integer]) -> "RowSet":
        """This set less `rows`."""
        taken = RowSet().with_rows(rows).bits[: len(self.bits)]
        bits = self.bits.copy()
        bits[: len(taken)] &= ~taken
        return RowSet(bits)

    def union(self, other: "RowSet") -> "RowSet":
        """This set and another."""
        longer, shorter = (self, other) if len(self.bits) >= len(other.bits) else (other, self)
        if not len(shorter.bits):
            return longer
        bits = longer.bits.copy()
        bits[: len(shorter.bits)] |= shorter.bits
        return RowSet(bits)
