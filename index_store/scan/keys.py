"""A candidate as one int64 that compares as it does: its distance above, its place below.

Of two distances the smaller has the smaller key, and of equals the earlier place; so the nearest are the smallest keys,
in the order of the plain form. The place counts the codes of all segments of a view, one after another.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from index_store.candidates import NO_SEGMENT, Candidates
from index_store.segment import Segment

ABSENT = (1 << 63) - 1


def keys_of(distances: Tensor, places: Tensor) -> Tensor:
    """Keys int64 [n] of distances float32 [n] and places int64 [n] below 2^32."""
    bits = distances.view(torch.int32)
    ordered = bits ^ ((bits >> 31) & 0x7FFFFFFF)  # float32 as an integer that compares like it
    return (ordered.to(torch.int64) << 32) | places


def starts_of(segments: Sequence[Segment]) -> list[int]:
    """The place of each segment's first code."""
    return [0, *np.cumsum([len(segment) for segment in segments]).tolist()][:-1]


def candidates_of(keys: Tensor, segments: Sequence[Segment]) -> Candidates:
    """The candidates of keys [q, s], in order; copies them from their device once."""
    held = keys.cpu().numpy()
    places = held & 0xFFFFFFFF
    ordered = (held >> 32).astype(np.int32)
    distances = (ordered ^ ((ordered >> 31) & 0x7FFFFFFF)).view(np.float32)
    starts = np.asarray(starts_of(segments), np.int64)
    sizes = np.asarray([len(segment) for segment in segments], np.int64)
    numbers = np.searchsorted(starts + sizes, places, side="right")  # passes over empty segments
    absent = held == ABSENT
    numbers = np.where(absent, 0, numbers)
    slots = np.where(absent, 0, places - starts[numbers]) if len(starts) else np.zeros_like(places)
    return Candidates(
        np.where(absent, np.float32(np.inf), distances),
        np.where(absent, NO_SEGMENT, numbers).astype(np.int32),
        slots,
    )
