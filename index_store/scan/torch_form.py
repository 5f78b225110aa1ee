"""The additive scan in PyTorch, for CUDA: the probed lists' codes gathered, looked up and summed, query by query."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from index_store.answers import Float32
from index_store.candidates import NO_SEGMENT, Candidates
from index_store.row_set import RowSet
from index_store.segment import Segment


def scan(
    segments: Sequence[Segment],
    lists: NDArray[np.int64],
    bases: Float32,
    tables: Float32,
    with_norms: bool,
    skipped: RowSet,
    shortlist: int,
    device: torch.device,
) -> Candidates:
    """The same as `plain.scan`; look-ups, sums and the selection run on `device`."""
    q = len(lists)
    distances = np.full((q, shortlist), np.inf, np.float32)
    numbers = np.full((q, shortlist), NO_SEGMENT, np.int32)
    slots = np.zeros((q, shortlist), np.int64)
    on_device = torch.from_numpy(np.ascontiguousarray(tables)).to(device)  # [q, M, K]
    for query in range(q):
        places = [_places(segment, lists[query], bases[query], with_norms, skipped) for segment in segments]
        codes = np.concatenate([segment.codes[at] for segment, (at, _) in zip(segments, places, strict=True)])  # [n, M]
        offset = torch.from_numpy(np.concatenate([start for _, start in places])).to(device)
        symbols = torch.from_numpy(codes.astype(np.int64)).to(device)
        scored = offset + on_device[query].T.gather(0, symbols).sum(dim=1)  # [n]
        best = scored.topk(min(shortlist, len(scored)), largest=False)
        kept = best.indices.cpu().numpy()
        owners = np.repeat(np.arange(len(segments), dtype=np.int32), [len(at) for at, _ in places])
        distances[query, : len(kept)] = best.values.cpu().numpy()
        numbers[query, : len(kept)] = owners[kept]
        slots[query, : len(kept)] = np.concatenate([at for at, _ in places])[kept]
    return Candidates(distances, numbers, slots)


def _places(
    segment: Segment, lists: NDArray[np.int64], bases: Float32, with_norms: bool, skipped: RowSet
) -> tuple[NDArray[np.int64], Float32]:
    """The slots of the probed lists that are not skipped, and what list and norm add to their distance."""
    read = lists[lists >= 0]
    counts = segment.offsets[read + 1] - segment.offsets[read]
    starts = np.repeat(segment.offsets[read] - np.cumsum(counts) + counts, counts)
    slots = starts + np.arange(counts.sum())
    base = np.repeat(bases[lists >= 0], counts)
    kept = ~skipped.contains(segment.rows[slots])
    slots, base = slots[kept], base[kept]
    norms = segment.norm_low + segment.norm_step * segment.norms[slots] if with_norms else 0
    return slots, (base + norms).astype(np.float32)
