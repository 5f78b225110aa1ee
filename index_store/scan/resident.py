"""What a scan on a device reads, held there: each segment uploaded once, sets of rows as what changed since the last.

A code takes its bytes, 4 for its row and 2 for its norm on the device, beside what it takes in RAM. What nobody holds
any more, no view and no query, leaves the device with it.
"""

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary, ref

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from index_store.row_set import RowSet
from index_store.segment import Segment

DELTA_SHARE = 16
"""Of a set of rows at most one byte in so many is sent as a change; beyond that all of it is."""


@dataclass(frozen=True)
class ResidentSegment:
    """A segment's arrays on a device, unsigned numbers of two and four bytes as the signed ones of the same bits.

    codes uint8 or int16 [M, n] · rows int32 [n] · norms int16 [n] · offsets int64 [lists + 1]
    """

    codes: Tensor
    rows: Tensor
    norms: Tensor
    offsets: Tensor
    norm_low: float
    norm_step: float

    def __len__(self) -> int:
        return len(self.rows)


class Residents:
    """The segments and sets of rows that one device holds. Any thread may call it."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._lock = threading.Lock()
        self._segments: WeakKeyDictionary[Segment, ResidentSegment] = WeakKeyDictionary()
        self._bits: WeakKeyDictionary[RowSet, Tensor] = WeakKeyDictionary()
        self._last: ref[RowSet] | None = None

    def hold(self, segments: Iterable[Segment]) -> None:
        """Upload those that are not there yet."""
        for segment in segments:
            self.segment(segment)

    def segment(self, segment: Segment) -> ResidentSegment:
        """A segment's arrays, uploaded when they are first asked for."""
        with self._lock:
            held = self._segments.get(segment)
            if held is None:
                columns = np.ascontiguousarray(segment.codes.T)  # [M, n]
                columns = columns if columns.dtype == np.uint8 else columns.view(np.int16)
                held = self._segments[segment] = ResidentSegment(
                    self._upload(columns),
                    self._upload(segment.rows.view(np.int32)),
                    self._upload(segment.norms.view(np.int16)),
                    self._upload(segment.offsets),
                    segment.norm_low,
                    segment.norm_step,
                )
            return held

    def bits(self, rows: RowSet) -> Tensor:
        """The bits of a set of rows, uint8; tombstones differ little from one view to the next."""
        with self._lock:
            held = self._bits.get(rows)
            if held is None:
                last = None if self._last is None else self._last()
                held = self._bits[rows] = self._upload(rows.bits) if last is None else self._changed(last, rows)
                self._last = ref(rows)
            return held

    def _changed(self, last: RowSet, rows: RowSet) -> Tensor:
        """The bits of `rows`, made on the device from those of `last`, which queries may still read."""
        shared = min(len(last.bits), len(rows.bits))
        changed = np.flatnonzero(last.bits[:shared] != rows.bits[:shared])
        fresh = np.arange(shared, len(rows.bits))
        changed = np.concatenate([changed, fresh])
        if DELTA_SHARE * len(changed) > len(rows.bits):
            return self._upload(rows.bits)
        bits = torch.zeros(len(rows.bits), dtype=torch.uint8, device=self._device)
        bits[:shared] = self._bits[last][:shared]
        bits[self._upload(changed)] = self._upload(rows.bits[changed])
        return bits

    def _upload(self, array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(np.require(array, requirements=["C", "W"])).to(self._device)


_of_device: dict[str, Residents] = {}
_making = threading.Lock()


def residents(device: torch.device | str) -> Residents:
    """What a device holds, for all collections of the process."""
    with _making:
        return _of_device.setdefault(str(device), Residents(torch.device(device)))
