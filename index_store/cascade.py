"""The distances of candidates once the network has decoded them, of which most are left behind on the way.

A network takes most of a query's time where codes alone are searched. After some of its steps a candidate's distance is
known about well enough: what those steps decode, and the additive tables in the place of the others. Those that are far
by that need not be decoded to the end, and what was decoded is where the others go on from.

For ten hits, of 40 candidates and 16 steps, 30 go on after 4 steps and 18 after 7, which is 64 % of the work. Of
10-recall@10 that loses up to 0.15 points, of R@1 up to 0.1; for one hit 21 and 9, 46 % and 0.2 (docs/performance.md).
"""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from index_store.answers import Float32

if TYPE_CHECKING:
    from model import Codec, NetworkCodec

NARROWED = ((1 / 4, 1 / 2, 1.0), (7 / 16, 7 / 40, 1.1))
"""After which share of the steps which share of the candidates goes on, and how many more for each hit wanted."""


class Narrowing(NamedTuple):
    """after int64 [stages], steps, ascending · kept int64 [stages], candidates of a query that go on then."""

    after: NDArray[np.int64]
    kept: NDArray[np.int64]


@cache
def narrowing(steps: int, candidates: int, wanted: int) -> Narrowing:
    """When to leave how many behind, so that the `wanted` nearest are hardly ever among them."""
    after, kept = [], []
    for share_of_steps, share, spare in NARROWED:
        place, left = round(share_of_steps * steps), math.ceil(share * candidates + spare * wanted)
        if 0 < place < steps and left < candidates:
            after.append(place)
            kept.append(left)
    return Narrowing(np.array(after, np.int64), np.array(kept, np.int64))


@cache
def warm() -> None:
    """Compile, or load what was compiled, before the first query has to wait for it."""
    from model.warming import smallest_codec

    codec = smallest_codec()
    nothing = np.zeros((1, 2), np.float32), np.zeros(1, np.int64), np.zeros((0, 2), np.int32)
    distances(codec, *nothing, narrowing(codec.steps, 1, 1), False, None)


def suits(codec: Codec) -> bool:
    """Whether a codec decodes step by step on the CPU, and has tables to estimate by."""
    from model import NetworkCodec

    return isinstance(codec, NetworkCodec) and codec.has_additive and codec.prepared.packed is not None


def distances_plain(
    codec: NetworkCodec, queries: Float32, counts: NDArray[np.int64], codes: NDArray[np.int32], narrowed: Narrowing,
    by_product: bool, length: float | None,
) -> Float32:  # fmt: skip
    """Of codes [c, M] ([c, 1 + M] with IVF) to their queries [q, dim], once decoded; infinity for those left behind.

    counts [q]: how many codes are each query's, one query's after another's
    length: of all vectors, which decoded ones are brought to; None where they have several
    """
    from index_store.directions import at_length

    found = np.full(len(codes), np.inf, np.float32)
    symbols = codes[:, 1:] if codec.ivf_lists else codes
    places = np.split(np.arange(len(codes)), np.cumsum(counts)[:-1])
    for query, alive in zip(queries, places, strict=True):
        for after, kept in zip((*narrowed.after, codec.steps), (*narrowed.kept, len(codes)), strict=True):
            vectors = codec.decode(codes[alive], int(after))
            for m in range(after, codec.steps):
                vectors = vectors + codec.additive_tables[m][symbols[alive, m]]
            if length is not None:
                vectors = at_length(length, vectors)
            distances = -(vectors @ query) if by_product else np.square(vectors - query).sum(axis=1)
            going_on = np.sort(np.argsort(distances, kind="stable")[:kept])
            alive, distances = alive[going_on], distances[going_on]
        found[alive] = distances
    return found


def distances(
    codec: NetworkCodec, queries: Float32, counts: NDArray[np.int64], codes: NDArray[np.int32], narrowed: Narrowing,
    by_product: bool, length: float | None,
) -> Float32:  # fmt: skip
    """The same in one compiled call, of the arrays that the codec's kernels read."""
    from index_store.compiled_cascade import distances_into

    packed = codec.prepared.packed
    assert packed is not None
    lists, symbols = codec.weights.split(codes)
    found = np.empty(len(codes), np.float32)
    distances_into(
        found, queries, np.concatenate([[0], np.cumsum(counts)]), np.ascontiguousarray(symbols, np.int64),
        codec.weights.start(lists, 0 if lists is None else len(lists)), codec.normalised_tables, *narrowed,
        by_product, length or 0.0, packed,
    )  # fmt: skip
    return found
