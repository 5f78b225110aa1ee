"""Beam search in one Numba function: the same search as `folded.encode`, its plain form, without operator calls.

A block of vectors walks through all steps. What a hypothesis' candidates share (W_x x̂ and U_1 W_x x̂, P_oᵀr) is
multiplied once for it; the first hidden layer of a candidate is then a sum of two table rows. Distances are float32;
the factors of matrix products are bfloat16 where the processor multiplies that, so that now and then a candidate wins
that is worse by a rounding error: x̂ itself is float32, and such errors do not add up.
"""

from typing import Any, TypeGuard

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor

from model.kernels.packed import Float32, PackedNetwork, PackedSearch
from model.kernels.selection import smallest
from model.kernels.threads import in_shares
from model.kernels.tiles import LANES, ROWS, add_product, convert, relu_product
from model.networks import QINCo2

CHUNK = 16 * ROWS
"""Candidates that go through a network together."""

MOST_CANDIDATES = 1024
"""Candidates of a step that a block of vectors may have: their z then stay in a core's second-level cache."""

MOST_CANDIDATES_A_VECTOR = 1 << 14
"""Beyond that many candidates a vector this form would take too much memory; PyTorch's operators do better."""

_SUMS_MAY_BE_REORDERED = {"reassoc", "contract", "nsz"}


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
) -> Tensor:
    """The same as `folded.encode`: normalised vectors x [n, D] and their lists [n] → int64 [n, M] or [n, 1 + M]."""
    start = plain.start(lists, 0 if lists is None else len(lists)).numpy()
    steps = network.prefix(plain.config.steps)
    symbols = torch.from_numpy(encode(steps, search, x.numpy(), start, candidates, beam)).long()
    return symbols if lists is None else torch.cat([lists[:, None], symbols], dim=1)


def encode(
    network: PackedNetwork, search: PackedSearch, x: Float32, start: Float32, candidates: int, beam: int
) -> NDArray[np.int32]:
    """Symbols int32 [n, M] of normalised vectors x [n, dim].

    start [n, dim], the centroids of their lists, normalised; [0, dim] without IVF
    candidates  A, 0 to try every codeword; beam  B
    """
    steps, codewords, D = network.base.shape
    out = np.empty((len(x), steps), np.int32)
    widened, begun = _widened(x, D), _widened(start, D)
    block = max(1, MOST_CANDIDATES // (beam * (candidates or codewords)))

    def encode_share(share: slice) -> None:
        _encode_into(out[share], widened[share], begun[share], candidates, beam, block, network, search)

    in_shares(encode_share, len(x), 2 * block)
    return out


def _widened(rows: Float32, width: int) -> Float32:
    """The rows, contiguous, padded with zeros to a width."""
    if rows.shape[1] == width:
        return np.ascontiguousarray(rows)
    wide = np.zeros((len(rows), width), np.float32)
    wide[:, : rows.shape[1]] = rows
    return wide


@njit(nogil=True, cache=True, fastmath=_SUMS_MAY_BE_REORDERED)
def _encode_into(
    out: Any, x: Any, start: Any, candidates: int, beam: int, block: int, network: Any, search: Any
) -> None:
    n, D = x.shape
    M, K = network.base.shape[0], network.base.shape[1]
    first = M - network.tables.shape[0]  # the first step with a network
    block = max(1, min(block, n))
    kept_first = K if first or not candidates else max(candidates, beam)  # by the lone hypothesis of the first step
    kept = candidates or K
    room = -(-block * beam // ROWS) * ROWS
    offered = -(-block * max(kept_first, beam * kept) // CHUNK) * CHUNK
    decoded, following = np.zeros((room, D), np.float32), np.zeros((room, D), np.float32)
    residuals, left = np.zeros((room, D), np.float32), np.zeros((room, D), network.mixes.dtype)
    z, distances = np.zeros((offered, network.tables.shape[2]), np.float32), np.empty(offered, np.float32)
    tried, chosen = np.empty(offered, np.int64), np.empty(room, np.int64)
    trail, next_trail = np.zeros((room, M), np.int32), np.zeros((room, M), np.int32)
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
            _preselect(tried, distances, residuals, left, hypotheses, A, m, search)
            if m >= first:
                _evaluate(z, distances, residuals, decoded, left, tried, hypotheses, A, m - first, network, search)
            width = 1 if m == M - 1 else min(beam, F * A)
            for vector in range(vectors):
                offer = slice(vector * F * A, (vector + 1) * F * A)
                winners = chosen[vector * width : (vector + 1) * width]
                smallest(winners, distances[offer], width)
                for place in range(width):
                    winners[place] += offer.start
            for kid in range(vectors * width):
                next_trail[kid, :m] = trail[chosen[kid] // A, :m]
                next_trail[kid, m] = tried[chosen[kid]]
            if m < M - 1:
                _extend(following, decoded, z, tried, chosen, vectors * width, A, m, m >= first, network)
            decoded, following, trail, next_trail, F = following, decoded, next_trail, trail, width
        out[begin : begin + vectors] = trail[:vectors]


@njit(nogil=True, cache=True, fastmath=_SUMS_MAY_BE_REORDERED)
def _preselect(
    tried: Any, distances: Any, residuals: Any, left: Any, hypotheses: int, A: int, m: int, search: Any
) -> None:
    """The A codewords of each hypothesis that are worth a network, into tried [hypotheses · A]; all, where A is K.

    Where the step has no network, `distances` become ‖r − c_k‖² less ‖r‖².
    """
    K = search.norms.shape[1]
    if not search.is_needed[m]:
        for place in range(hypotheses * A):
            tried[place] = place % A
        return
    convert(left, residuals, hypotheses)
    guesses = np.zeros((len(left), -(-K // LANES) * LANES), np.float32)
    add_product(guesses, left, hypotheses, search.guesses[m])
    for h in range(hypotheses):
        for k in range(K):
            guesses[h, k] = search.norms[m, k] - 2 * guesses[h, k]
        if A == K:
            for k in range(K):
                tried[h * K + k], distances[h * K + k] = k, guesses[h, k]
        else:
            smallest(tried[h * A : (h + 1) * A], guesses[h, :K], A)


@njit(nogil=True, cache=True, fastmath=_SUMS_MAY_BE_REORDERED)
def _evaluate(
    z: Any,
    distances: Any,
    residuals: Any,
    decoded: Any,
    left: Any,
    tried: Any,
    hypotheses: int,
    A: int,
    s: int,
    network: Any,
    search: Any,
) -> None:
    """z_L of each candidate, and ‖r − f‖² into distances; writes left as well."""
    E, H = z.shape[1], network.hidden
    mixed, mixed_up = np.zeros((len(left), E), np.float32), np.zeros((len(left), H), np.float32)
    convert(left, decoded, hypotheses)
    add_product(mixed, left, hypotheses, network.mixes[s])
    if search.up_mixes.shape[1]:
        add_product(mixed_up, left, hypotheses, search.up_mixes[s])
    projects = search.grams.shape[1] > 0
    across = np.zeros((len(left), E), np.float32)  # P_oᵀr
    if projects:
        convert(left, residuals, hypotheses)
        add_product(across, left, hypotheses, search.outs_across[s])
    inner, hidden = np.zeros((CHUNK, E), left.dtype), np.zeros((CHUNK, H), left.dtype)
    summed = np.zeros((CHUNK, H), np.float32)
    for begin in range(0, hypotheses * A, CHUNK):
        rows = min(CHUNK, hypotheses * A - begin)
        part = z[begin : begin + CHUNK]
        for row in range(rows):
            h, k = (begin + row) // A, tried[begin + row]
            for e in range(E):
                part[row, e] = network.tables[s, k, e] + mixed[h, e]
        _blocks(part, inner, hidden, summed, mixed_up, tried, begin, rows, A, s, network, search)
        if projects:
            _compare_inside(distances, part, inner, residuals, across, tried, begin, rows, A, s, network, search)
        else:
            _compare(distances, part, residuals, tried, begin, rows, A, s, network)


@njit(nogil=True, cache=True, fastmath=_SUMS_MAY_BE_REORDERED)
def _blocks(
    z: Any,
    inner: Any,
    hidden: Any,
    summed: Any,
    mixed_up: Any,
    tried: Any,
    begin: int,
    rows: int,
    A: int,
    s: int,
    network: Any,
    search: Any,
) -> None:
    """z_0 → z_L of a chunk; the first hidden layer is U_1 T[k] + U_1 W_x x̂."""
    for block in range(network.ups.shape[1]):
        if block == 0:
            for row in range(rows):
                h, k = (begin + row) // A, tried[begin + row]
                for e in range(summed.shape[1]):
                    summed[row, e] = max(search.up_tables[s, k, e] + mixed_up[h, e], np.float32(0))
            convert(hidden, summed, rows)
        else:
            convert(inner, z, rows)
            relu_product(hidden, inner, rows, network.ups[s, block])
        add_product(z, hidden, rows, network.downs[s, block])


@njit(nogil=True, cache=True, fastmath=_SUMS_MAY_BE_REORDERED)
def _compare(
    distances: Any, z: Any, residuals: Any, tried: Any, begin: int, rows: int, A: int, s: int, network: Any
) -> None:
    """‖r − c − z‖² of a chunk."""
    m = s + network.base.shape[0] - network.tables.shape[0]
    for row in range(rows):
        h, k = (begin + row) // A, tried[begin + row]
        total = np.float32(0)
        for d in range(residuals.shape[1]):
            difference = residuals[h, d] - network.base[m, k, d] - z[row, d]
            total += difference * difference
        distances[begin + row] = total


@njit(nogil=True, cache=True, fastmath=_SUMS_MAY_BE_REORDERED)
def _compare_inside(
    distances: Any,
    z: Any,
    inner: Any,
    residuals: Any,
    across: Any,
    tried: Any,
    begin: int,
    rows: int,
    A: int,
    s: int,
    network: Any,
    search: Any,
) -> None:
    """‖r − c − P_o z‖² of a chunk, inside the network's dimensions: ‖r − c‖² + ⟨z, P_oᵀP_o z − 2 P_oᵀ(r − c)⟩."""
    m = s + network.base.shape[0] - network.tables.shape[0]
    length = np.zeros(z.shape, np.float32)
    convert(inner, z, rows)
    add_product(length, inner, rows, search.grams[s])
    for row in range(rows):
        h, k = (begin + row) // A, tried[begin + row]
        total = np.float32(0)
        for d in range(residuals.shape[1]):
            difference = residuals[h, d] - network.base[m, k, d]
            total += difference * difference
        change = np.float32(0)
        for e in range(z.shape[1]):
            change += z[row, e] * (length[row, e] - 2 * (across[h, e] - search.base_across[s, k, e]))
        distances[begin + row] = total + change


@njit(nogil=True, cache=True, fastmath=_SUMS_MAY_BE_REORDERED)
def _extend(
    following: Any,
    decoded: Any,
    z: Any,
    tried: Any,
    chosen: Any,
    count: int,
    A: int,
    m: int,
    has_network: bool,
    network: Any,
) -> None:
    """x̂ of the candidates that were chosen, into following [≥count, D]."""
    D, E = following.shape[1], z.shape[1]
    projects = network.outs.shape[1] > 0
    inner, kept = np.zeros((len(following), E), network.mixes.dtype), np.zeros((len(following), E), np.float32)
    for kid in range(count):
        h, k = chosen[kid] // A, tried[chosen[kid]]
        for d in range(D):
            following[kid, d] = decoded[h, d] + network.base[m, k, d]
        if has_network and projects:
            kept[kid] = z[chosen[kid]]
        elif has_network:
            for d in range(D):
                following[kid, d] += z[chosen[kid], d]
    if has_network and projects:
        convert(inner, kept, count)
        add_product(following, inner, count, network.outs[m - (network.base.shape[0] - network.tables.shape[0])])
