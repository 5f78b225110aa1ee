"""An immutable set of rows as one bit a row: tombstones, and the rows that a filter leaves out."""

import numpy as np
from numpy.typing import NDArray
from pyroaring import BitMap


class RowSet:
    """Rows; `bits` is uint8 [ceil(largest / 8)], the lowest bit first. Rows beyond the bits are not in it."""

    def __init__(self, bits: NDArray[np.uint8] | None = None) -> None:
        self.bits = np.zeros(0, np.uint8) if bits is None else bits

    @classmethod
    def all_but(cls, rows: BitMap, stop: int) -> "RowSet":
        """Every row below `stop` that is not in `rows`."""
        if len(rows) < stop // 64:
            return cls(np.full(-(-stop // 8), 255, np.uint8)).without_rows(np.asarray(rows.to_array(), np.int64))
        kept = np.zeros(-(-stop // 8) * 8, np.bool_)
        chosen = np.asarray(rows.to_array(), np.int64)
        kept[chosen[chosen < stop]] = True
        return cls(np.packbits(~kept, bitorder="little"))

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
