"""The additive scan in PyTorch, for any device: the specification of the Triton form, and its stand-in without Triton.

All probed codes of some queries are looked up and summed at once, and the best chosen by one `topk`; nothing is copied
back meanwhile, since the host knows how long the lists are.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from index_store.answers import Float32
from index_store.candidates import Candidates
from index_store.row_set import RowSet
from index_store.scan.keys import ABSENT, candidates_of, keys_of, starts_of
from index_store.scan.resident import ResidentSegment, residents
from index_store.segment import Segment

MOST_CODES = 1 << 24
"""Codes scored together: some 100 bytes each on the device meanwhile."""


def scan(
    segments: Sequence[Segment],
    lists: NDArray[np.int64],
    bases: Float32,
    tables: Tensor,
    with_norms: bool,
    skipped: RowSet,
    shortlist: int,
) -> Candidates:
    """The same as `plain.scan`, with tables [q, M, K] on the device where all of it is to run."""
    held = residents(tables.device)
    bits = held.bits(skipped)
    best = torch.full((len(lists), shortlist), ABSENT, dtype=torch.int64, device=tables.device)
    for segment, start in zip(segments, starts_of(segments), strict=True):
        counts = _counts(segment, lists)  # [q, p]
        for share in _shares(counts.sum(axis=1)):
            keys = _keys(
                held.segment(segment), start, lists[share], counts[share], bases[share], tables[share], with_norms, bits
            )
            both = torch.cat([best[share], keys], dim=1)
            best[share] = both.topk(shortlist, dim=1, largest=False).values
    return candidates_of(best, segments)


def _counts(segment: Segment, lists: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many codes each probed list holds."""
    some = np.maximum(lists, 0)
    counts: NDArray[np.int64] = np.where(lists < 0, 0, segment.offsets[some + 1] - segment.offsets[some])
    return counts


def _shares(counts: NDArray[np.int64]) -> list[slice]:
    """Runs of queries with at most MOST_CODES codes together, or one query."""
    shares, begin, codes = [], 0, 0
    for query, count in enumerate(counts.tolist()):
        if query > begin and codes + count > MOST_CODES:
            shares.append(slice(begin, query))
            begin, codes = query, 0
        codes += count
    return [*shares, slice(begin, len(counts))]


def _keys(
    segment: ResidentSegment,
    start: int,
    lists: NDArray[np.int64],
    counts: NDArray[np.int64],
    bases: Float32,
    tables: Tensor,
    with_norms: bool,
    bits: Tensor,
) -> Tensor:
    """The keys of all probed codes [q, longest], absent ones at the end of each query's."""
    device, (q, p) = tables.device, lists.shape
    total, a_query = int(counts.sum()), counts.sum(axis=1)
    firsts = np.cumsum(counts.ravel()) - counts.ravel()  # where each probed list's codes begin among all of them
    before = np.cumsum(a_query) - a_query  # and each query's

    def there(array: NDArray[np.int64] | Float32) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(device)

    probe = torch.repeat_interleave(torch.arange(q * p, device=device), there(counts.ravel()), output_size=total)
    query = probe // p
    among = torch.arange(total, device=device)
    begin = segment.offsets[there(np.maximum(lists, 0).ravel())]
    slots = begin[probe] + among - there(firsts)[probe]  # [total]
    distances = there(bases.ravel())[probe]
    if with_norms:
        distances = distances + segment.norm_low + segment.norm_step * (segment.norms[slots].to(torch.int32) & 0xFFFF)
    for m in range(tables.shape[1]):
        distances = distances + tables[query, m, segment.codes[m, slots].to(torch.int64) & 0xFFFF]
    keys = keys_of(distances.float(), slots + start)
    keys = torch.where(_are_in(bits, segment.rows[slots]), ABSENT, keys)
    padded = torch.full((q, int(a_query.max(initial=0))), ABSENT, dtype=torch.int64, device=device)
    padded[query, among - there(before)[query]] = keys
    return padded


def _are_in(bits: Tensor, rows: Tensor) -> Tensor:
    """Whether each of rows [n], int32 for uint32, is in a set of rows."""
    if not len(bits):
        return torch.zeros(len(rows), dtype=torch.bool, device=rows.device)
    byte = (rows.to(torch.int64) & 0xFFFFFFFF) >> 3
    held = bits[byte.clamp(max=len(bits) - 1)]
    return (byte < len(bits)) & ((held.to(torch.int32) >> (rows & 7)) & 1 == 1)
