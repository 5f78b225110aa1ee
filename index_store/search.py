"""The pipeline: one function a stage, each keeps fewer candidates and judges them better.

probe → additive scan → pairwise → neural, unless all of it is rescored → originals, where rescored; pending rows are
merged in by distance.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from index_store import cascade, directions, exact, few, metric
from index_store.answers import Float32
from index_store.candidates import Candidates, Found, nothing
from index_store.few import Picked
from index_store.originals import Originals
from index_store.plan import Effort, SearchTrace
from index_store.row_set import RowSet
from index_store.row_slots import RowSlots
from index_store.scan.tables import lookup_tables, lookup_tables_there, weight
from index_store.view import View

if TYPE_CHECKING:
    from model import Codec

BLOCK_FLOATS = 1 << 22
"""Decoded numbers held at once by a stage: queries are taken in blocks that stay below (16 MB)."""


Decode = Callable[[Any], Any]
"""Codes [n, M(+1)] → vectors [n, dim], arrays or tensors; `Codec.decode` or `Codec.decode_pairwise`."""


@dataclass(frozen=True)
class Searched:
    """What a vector index brings to a search, the same for every view.

    as_searched: stored vectors → float32 [n, dim] · normalises_late: at length 1, other than as they are stored
    """

    distance: str
    originals: Originals
    keeps_originals: bool
    as_searched: Callable[[NDArray[np.generic]], Float32]
    normalises_late: bool
    row_slots: RowSlots
    pool: Executor | None
    threads: int

    @cached_property
    def kept_as(self) -> str:
        """The numbers of originals by name, which NumPy takes its time to say."""
        return self.originals.dtype.name

    @cached_property
    def way_of_comparing(self) -> int | None:
        """How originals are compared in compiled functions; None where they are not."""
        from index_store.nearest_stored import way_of_comparing  # compiled by Numba, as is reading

        return way_of_comparing(self.distance, self.kept_as, self.normalises_late)


def search(
    searched: Searched,
    view: View,
    queries: Float32,
    effort: Effort,
    skipped: RowSet,
    trace: SearchTrace,
    picked: Picked | None = None,
) -> Found:
    """The `effort.wanted` nearest rows of a view to each query [q, dim]; of the `picked` codes alone, if there are."""
    trace.effort = effort
    if not len(queries):
        return nothing(0)
    block = max(1, BLOCK_FLOATS // max(effort.shortlist * queries.shape[1], effort.nprobe))
    if len(queries) <= block:
        return _search_block(searched, view, queries, effort, skipped, trace, picked)
    blocks = [
        _search_block(searched, view, queries[begin : begin + block], effort, skipped, trace, picked)
        for begin in range(0, len(queries), block)
    ]
    return _joined(blocks)


def _joined(blocks: list[Found]) -> Found:
    return Found(np.concatenate([f.distances for f in blocks]), np.concatenate([f.rows for f in blocks]))


def search_exactly(searched: Searched, view: View, queries: Float32, wanted: int, skipped: RowSet) -> Found:
    """The nearest rows of a view by brute force over the originals."""
    encoded = (
        piece for first, stop in _encoded_stripes(searched, view) for piece in searched.originals.map(first, stop)
    )
    pieces = itertools.chain(encoded, view.pending)
    found = exact.nearest(searched.distance, queries, pieces, skipped, wanted, searched.as_searched)
    return rescore(searched, queries, found).first(wanted)


def _search_block(
    searched: Searched,
    view: View,
    queries: Float32,
    effort: Effort,
    skipped: RowSet,
    trace: SearchTrace,
    picked: Picked | None,
) -> Found:
    found = _of_segments(searched, view, queries, effort, skipped, trace, picked)
    if not view.pending:
        return found
    with trace.stage("pending"):
        pending = exact.nearest(searched.distance, queries, view.pending, skipped, effort.wanted, searched.as_searched)
        pending = rescore(searched, queries, pending)
    return found.merged(pending, effort.wanted)


def _of_segments(
    searched: Searched,
    view: View,
    queries: Float32,
    effort: Effort,
    skipped: RowSet,
    trace: SearchTrace,
    picked: Picked | None,
) -> Found:
    """The `effort.wanted` nearest of the rows that have codes."""
    if not view.segments:
        return nothing(len(queries))
    answered = _in_one_call(searched, view, queries, effort, skipped, trace, picked)
    if answered is not None:
        return answered
    if picked is None:
        candidates = shortlist(searched, view, queries, effort, skipped, trace)
    else:
        with trace.stage("scan"):
            candidates = few.shortlist(searched.distance, view, queries, picked, effort.shortlist)
    if picked is not None:
        effort = replace(effort, leaves_behind=False)  # they are answered as brute force over their codes answers
    return rerank(searched, view, queries, candidates, effort, trace).first(effort.wanted)


def _in_one_call(
    searched: Searched,
    view: View,
    queries: Float32,
    effort: Effort,
    skipped: RowSet,
    trace: SearchTrace,
    picked: Picked | None,
) -> Found | None:
    """The same compiled as a whole; None where stages have to be taken one by one."""
    assert view.coding is not None
    if not is_host(view.coding.codec.device):
        return None
    call_of_codes, one_call = _calls()
    found: Found
    if picked is None and call_of_codes.suits(view, effort):
        found = call_of_codes.nearest(searched, view, queries, effort, skipped, trace)
        return found
    if not effort.rescored == effort.shortlist > 0:
        return None

    if not one_call.suits(searched, view):
        return None
    if picked is None:
        found, is_rescored = one_call.nearest(searched, view, queries, effort, skipped, trace)
    else:
        found, is_rescored = one_call.nearest_picked(searched, view, queries, effort, picked, trace)
    if is_rescored:
        return found
    with trace.stage("exact"):
        return rescore(searched, queries, found, effort.wanted)


@cache
def _calls() -> tuple[Any, Any]:
    """Modules compiled by Numba, which takes 55 MB; to import them at each query takes longer than to look here."""
    from index_store import call_of_codes, one_call

    return call_of_codes, one_call


def shortlist(
    searched: Searched, view: View, queries: Float32, effort: Effort, skipped: RowSet, trace: SearchTrace
) -> Candidates:
    """The `effort.shortlist` nearest codes of the probed lists by the additive decoder."""
    assert view.lists is not None and view.coding is not None
    codec = view.coding.codec
    with trace.stage("probe"):
        lists = view.lists.probe(queries, effort.nprobe)  # [q, p]
    by_product = metric.is_inner_product(searched.distance)
    if view.length is not None:
        with trace.stage("probe"):
            queries, by_product = directions.lengthened(queries, view.length, view.lists, lists), False
    device = codec.device
    with trace.stage("scan", device):
        bases = weight(by_product) * view.lists.products(queries, lists) if codec.ivf_lists else None
        bases = np.zeros(lists.shape, np.float32) if bases is None else bases
        if is_host(device):
            from index_store.scan import cpu

            tables = lookup_tables(view.coding, queries, by_product)
            found = cpu.scan(
                view.segments, lists, bases, tables, not by_product, skipped, effort.shortlist,
                searched.pool, searched.threads,
            )  # fmt: skip
        else:
            from index_store.scan import on_device

            there = lookup_tables_there(view.coding, queries, by_product)
            found = on_device.scan(view.segments, lists, bases, there, not by_product, skipped, effort.shortlist)
        own = 0 if by_product else np.einsum("qd,qd->q", queries, queries)[:, None]
        return Candidates(found.distances + own, found.segments, found.slots)


def rerank(
    searched: Searched, view: View, queries: Float32, candidates: Candidates, effort: Effort, trace: SearchTrace
) -> Found:
    """The best of a shortlist by the pairwise decoder, then the neural one, then the originals."""
    assert view.coding is not None
    codec = view.coding.codec
    device = codec.device
    if codec.has_pairwise and effort.rerank < effort.shortlist:
        with trace.stage("pairwise", device):
            candidates = _judged(searched, view, queries, candidates, codec.decode_pairwise, effort.rerank)
    else:
        candidates = candidates.first(effort.rerank)
    if effort.rescored < effort.rerank:
        with trace.stage("neural", device):
            wanted = effort.rescored or effort.wanted
            if effort.leaves_behind and is_host(device) and cascade.suits(codec):
                candidates = _judged_in_part(searched, view, queries, candidates, wanted)
            else:
                candidates = _judged(searched, view, queries, candidates, codec.decode, wanted)
    found = Found(candidates.distances, rows_of(view, candidates))
    if not effort.rescored:
        return found
    with trace.stage("exact"):
        return rescore(searched, queries, found, effort.wanted)


def rescore(searched: Searched, queries: Float32, found: Found, wanted: int | None = None) -> Found:
    """The same rows, or the `wanted` nearest, ordered by their originals; reads one vector a row from disk."""
    from index_store.nearest_stored import nearest_stored

    kind = searched.way_of_comparing
    wanted = found.rows.shape[1] if wanted is None else wanted
    if not found.rows.size:
        return found.first(wanted)
    parts = []
    block = max(1, BLOCK_FLOATS // (found.rows.shape[1] * queries.shape[1]))
    for begin in range(0, len(queries), block):
        rows = found.rows[begin : begin + block]
        mine = slice(begin, begin + block)
        present = rows >= 0
        stored = searched.originals.read_stored(rows[present])
        if kind is not None:
            parts.append(Found(*nearest_stored(kind, queries[mine], rows, stored, wanted)))
            continue
        vectors = np.zeros((*rows.shape, queries.shape[1]), np.float32)  # [q, s, dim]
        vectors[present] = searched.as_searched(stored)
        direct = metric.direct_distances(searched.distance, queries[mine], vectors)
        parts.append(Found(np.where(present, direct, np.float32(np.inf)), rows).first(wanted))
    return parts[0] if len(parts) == 1 else _joined(parts)


def codes_of(view: View, codec: Codec, segments: NDArray[np.int32], slots: NDArray[np.int64]) -> NDArray[np.int32]:
    """The codes at places [n] of a view's segments in the codec's layout: int32 [n, M], the list first with IVF."""
    has_lists = codec.ivf_lists > 0
    if len(view.segments) == 1 and not has_lists:
        return view.segments[0].codes[slots].astype(np.int32)
    codes = np.empty((len(slots), codec.steps + has_lists), np.int32)
    for number in np.unique(segments):
        segment, here = view.segments[number], segments == number
        codes[here, int(has_lists) :] = segment.codes[slots[here]]
        if has_lists:
            codes[here, 0] = segment.lists_of(slots[here])
    return codes


def _judged(
    searched: Searched,
    view: View,
    queries: Float32,
    candidates: Candidates,
    decode: Decode,
    keep: int,
) -> Candidates:
    """The `keep` candidates nearest to their query once decoded; runs where the codec is."""
    assert view.coding is not None
    codec = view.coding.codec
    present = candidates.segments >= 0  # [q, s]
    codes = codes_of(view, codec, candidates.segments[present], candidates.slots[present])  # [c, M(+1)]
    by_product = metric.is_inner_product(searched.distance)
    if is_host(codec.device):
        decoded = decode(codes)  # [c, dim]
        if view.length is not None:
            decoded = directions.at_length(view.length, decoded)
        mine = queries if len(queries) == 1 else queries[np.nonzero(present)[0]]  # [1, dim] or [c, dim]
        judged = -(decoded * mine).sum(axis=1) if by_product else np.square(decoded - mine).sum(axis=1)
    else:
        judged = _judged_there(codec, queries, np.nonzero(present)[0], codes, decode, by_product, view.length)
    distances = np.full(present.shape, np.inf, np.float32)
    distances[present] = judged
    return candidates.nearest(distances, keep)


def _judged_in_part(searched: Searched, view: View, queries: Float32, candidates: Candidates, keep: int) -> Candidates:
    """The same by the network, which decodes those to the end that may be among them."""
    assert view.coding is not None
    codec: Any = view.coding.codec
    present = candidates.segments >= 0  # [q, s]
    codes = codes_of(view, codec, candidates.segments[present], candidates.slots[present])  # [c, M(+1)]
    narrowed = cascade.narrowing(codec.steps, present.shape[1], keep)
    by_product = metric.is_inner_product(searched.distance)
    distances = np.full(present.shape, np.inf, np.float32)
    distances[present] = cascade.distances(
        codec, queries, present.sum(axis=1), codes, narrowed, by_product, view.length
    )
    return candidates.nearest(distances, keep)


def _judged_there(
    codec: Codec,
    queries: Float32,
    own: NDArray[np.int64],
    codes: NDArray[np.int32],
    decode: Decode,
    by_product: bool,
    length: float | None,
) -> Float32:
    """The distance of each code [c, M(+1)] to the query it belongs to, own [c], computed where the codec is."""
    import torch

    with torch.inference_mode():
        decoded = decode(torch.from_numpy(codes))  # [c, dim]; the codec takes them along once they are checked
        if length is not None:
            decoded = length * torch.nn.functional.normalize(decoded)
        mine = torch.from_numpy(queries).to(codec.device)[torch.from_numpy(own).to(codec.device)]  # [c, dim]
        judged = -(decoded * mine).sum(dim=1) if by_product else (decoded - mine).square_().sum(dim=1)
    found: Float32 = judged.cpu().numpy()
    return found


def is_host(device: str) -> bool:
    """Whether what is computed on a device is best given and taken as arrays of the host."""
    return device == "cpu"


def rows_of(view: View, candidates: Candidates) -> NDArray[np.int64]:
    """The row of each candidate, −1 for an absent one."""
    if len(view.segments) == 1:
        only = view.segments[0].rows[candidates.slots].astype(np.int64)
        return only if candidates.segments.min(initial=0) >= 0 else np.where(candidates.segments < 0, -1, only)
    rows = np.full(candidates.slots.shape, -1, np.int64)
    for number, segment in enumerate(view.segments):
        here = candidates.segments == number
        rows[here] = segment.rows[candidates.slots[here]]
    return rows


def _encoded_stripes(searched: Searched, view: View) -> list[tuple[int, int]]:
    stripes = searched.originals.stripes()
    return [(first, min(stop, view.watermark)) for first, stop in stripes if first < view.watermark]
