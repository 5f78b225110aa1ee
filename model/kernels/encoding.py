"""Beam search in one Numba function: the same search as `folded.encode`, its plain form, without operator calls.

A block of vectors walks through all steps: `offers` finds their candidates, `candidate_networks` judges them. Distances
are float32; the factors of matrix products are bfloat16 where the processor multiplies that, so that now and then a
candidate wins that is worse by a rounding error: x̂ itself is float32, and such errors do not add up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
from numba import njit
from numpy.typing import NDArray

from model.effort import most_evaluated
from model.kernels.candidate_networks import evaluate, room_for_layers
from model.kernels.instructions import ROWS
from model.kernels.offers import keep_promising, offer, room_for_guessing, room_for_offers
from model.kernels.packed import Float32, PackedNetwork, PackedSearch
from model.kernels.selection import smallest
from model.kernels.threads import in_shares
from model.kernels.tiles import add_product, factor

if TYPE_CHECKING:
    from torch import Tensor

    from model.networks import QINCo2

MOST_CANDIDATES = 1024
"""Candidates of a step that a block of vectors may have: their z then stay in a core's second-level cache."""

MOST_CANDIDATES_A_VECTOR = 1 << 14
"""Beyond that many candidates a vector this form would take too much memory; PyTorch's operators do better."""


def fits(search: PackedSearch | None, codewords: int, candidates: int, beam: int) -> TypeGuard[PackedSearch]:
    """Whether this form can do a search of these sizes in bounded memory."""
    return search is not None and beam * (candidates or codewords) <= MOST_CANDIDATES_A_VECTOR


def encode_tensors(
    plain: QINCo2,
    network: PackedNetwork,
    search: PackedSearch,
    x: Tensor,
    lists: Tensor | None,
    candidates: int,
    beam: int,
    evaluated: int | None = None,
) -> Tensor:
    """The same as `folded.encode`: normalised vectors x [n, D] and their lists [n] → int64 [n, M] or [n, 1 + M]."""
    import torch

    start = plain.start(lists, 0 if lists is None else len(lists)).numpy()
    steps = network.prefix(plain.config.steps)
    symbols = torch.from_numpy(encode(steps, search, x.numpy(), start, candidates, beam, evaluated)).long()
    return symbols if lists is None else torch.cat([lists[:, None], symbols], dim=1)


def encode(
    network: PackedNetwork,
    search: PackedSearch,
    x: Float32,
    start: Float32,
    candidates: int,
    beam: int,
    evaluated: int | None = None,
) -> NDArray[np.int32]:
    """Symbols int32 [n, M] of normalised vectors x [n, dim].

    start [n, dim], the centroids of their lists, normalised; [0, dim] without IVF
    candidates  A, 0 to try every codeword; beam  B; evaluated  C, None for all: as in `beam_search.encode`
    """
    steps, codewords, D = network.base.shape
    out = np.empty((len(x), steps), np.int32)
    widened, begun = _widened(x, D), _widened(start, D)
    offered = beam * (candidates or codewords)
    most = offered if not candidates else min(offered, most_evaluated(evaluated, beam) or offered)
    block = max(1, MOST_CANDIDATES // most)

    def encode_share(share: slice) -> None:
        _encode_into(out[share], widened[share], begun[share], candidates, beam, most, block, network, search)

    in_shares(encode_share, len(x), 2 * block)
    return out


def _widened(rows: Float32, width: int) -> Float32:
    """The rows, contiguous, padded with zeros to a width."""
    if rows.shape[1] == width:
        return np.ascontiguousarray(rows)
    wide = np.zeros((len(rows), width), np.float32)
    wide[:, : rows.shape[1]] = rows
    return wide


@njit(nogil=True, cache=True)
def _encode_into(
    out: Any, x: Any, start: Any, candidates: int, beam: int, evaluated: int, block: int, network: Any, search: Any
) -> None:
    n, D = x.shape
    M, K = network.base.shape[0], network.base.shape[1]
    first = M - network.tables.shape[0]  # the first step with a network
    block = max(1, min(block, n))
    kept_first = K if first or not candidates else max(candidates, beam)  # by the lone hypothesis of the first step
    kept = candidates or K
    room = -(-block * beam // ROWS) * ROWS
    decoded, following = np.zeros((room, D), np.float32), np.zeros((room, D), np.float32)
    trail, next_trail = np.zeros((room, M), np.int32), np.zeros((room, M), np.int32)
    residuals, chosen = np.zeros((room, D), np.float32), np.empty(room, np.int64)
    promising = np.empty(max(evaluated, 1), np.int64)
    offers = room_for_offers(block * max(kept_first, beam * kept))
    guessing = room_for_guessing(room, residuals, search)
    layers = room_for_layers(room, block * max(evaluated, 0 if first else kept_first), network)
    for begin in range(0, n, block):
        vectors, F = min(block, n - begin), 1
        for vector in range(vectors):
            decoded[vector] = 0
            if len(start):
                decoded[vector] = start[begin + vector]
        for m in range(M):
            hypotheses, A = vectors * F, kept_first if m == 0 else kept
            for h in range(hypotheses):
                for d in range(D):
                    residuals[h, d] = x[begin + h // F, d] - decoded[h, d]
            offer(offers, guessing, residuals, hypotheses, A, m, search)
            C, distances = F * A, offers.estimates
            if m >= first:
                if candidates and evaluated < C:
                    keep_promising(offers, promising, vectors, C, evaluated)
                    C = evaluated
                evaluate(offers, layers, residuals, decoded, hypotheses, vectors * C, m - first, network, search)
                distances = offers.distances
            width = 1 if m == M - 1 else min(beam, C)
            for vector in range(vectors):
                winners = chosen[vector * width : (vector + 1) * width]
                smallest(winners, distances[vector * C : (vector + 1) * C], width)
                for place in range(width):
                    winners[place] += vector * C
            for kid in range(vectors * width):
                next_trail[kid, :m] = trail[offers.parents[chosen[kid]], :m]
                next_trail[kid, m] = offers.symbols[chosen[kid]]
            if m < M - 1:
                _extend(following, decoded, layers, offers, chosen, vectors * width, m, m >= first, network)
            decoded, following, trail, next_trail, F = following, decoded, next_trail, trail, width
        out[begin : begin + vectors] = trail[:vectors]


@njit(nogil=True, cache=True)
def _extend(
    following: Any,
    decoded: Any,
    layers: Any,
    offers: Any,
    chosen: Any,
    count: int,
    m: int,
    has_network: bool,
    network: Any,
) -> None:
    """x̂ of the candidates that were chosen, into following [≥count, D]; writes layers.mixed and left as well."""
    D, kept = following.shape[1], layers.mixed
    projects = has_network and network.outs.shape[1] > 0
    for kid in range(count):
        h, k = offers.parents[chosen[kid]], offers.symbols[chosen[kid]]
        for d in range(D):
            following[kid, d] = decoded[h, d] + network.base[m, k, d]
        if projects:
            kept[kid] = layers.z[chosen[kid]]
        elif has_network:
            for d in range(D):
                following[kid, d] += layers.z[chosen[kid], d]
    if projects:
        s = m - (network.base.shape[0] - network.tables.shape[0])
        add_product(following, factor(layers.narrow, kept, count), count, network.outs[s])
