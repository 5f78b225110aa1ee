"""Candidates of a block of vectors: which codewords pre-selection offers, and which are worth a network.

`beam_search.preselect` for the processor.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from model.kernels.instructions import CHUNK, LANES, ROWS
from model.kernels.packed import Float32
from model.kernels.selection import smallest
from model.kernels.tiles import add_product, factor

SUMS_MAY_BE_REORDERED = {"reassoc", "contract", "nsz"}


class Offers(NamedTuple):
    """Candidates, those of a vector after one another: a hypothesis' row, a codeword, and how far that would lead.

    estimates by pre-selection, where it compares · distances to the vector, once the network has been evaluated
    """

    parents: NDArray[np.int64]
    symbols: NDArray[np.int64]
    estimates: Float32
    distances: Float32


class Guessing(NamedTuple):
    """Room for pre-selection: left [hypotheses, D], in the panels' element type; guesses [hypotheses, K]."""

    left: NDArray[Any]
    guesses: Float32


@njit(nogil=True, cache=True)
def room_for_offers(count: int) -> Offers:
    """Offers of so many candidates, rounded up to whole chunks."""
    room = -(-count // CHUNK) * CHUNK
    return Offers(
        np.zeros(room, np.int64), np.zeros(room, np.int64), np.zeros(room, np.float32), np.zeros(room, np.float32)
    )


@njit(nogil=True, cache=True)
def room_for_guessing(hypotheses: int, residuals: Any, search: Any) -> Guessing:
    """What `offer` needs for so many hypotheses, a multiple of ROWS."""
    K = search.norms.shape[1]
    return Guessing(
        np.zeros((hypotheses, residuals.shape[1]), search.guesses.dtype),
        np.zeros((hypotheses, -(-K // LANES) * LANES), np.float32),
    )


@njit(nogil=True, cache=True, fastmath=SUMS_MAY_BE_REORDERED)
def offer(offers: Any, room: Any, residuals: Any, hypotheses: int, A: int, m: int, search: Any) -> None:
    """The A codewords of each hypothesis that come nearest to its residual by pre-selection; all, where A is K.

    Where the step has no network, the estimates are the distances to the codewords.
    """
    for place in range(hypotheses * A):
        offers.parents[place], offers.symbols[place] = place // A, place % A
    if not search.is_needed[m]:
        return
    K, guesses = search.norms.shape[1], room.guesses
    guesses[: -(-hypotheses // ROWS) * ROWS] = 0
    add_product(guesses, factor(room.left, residuals, hypotheses), hypotheses, search.guesses[m])
    for h in range(hypotheses):
        length = np.float32(0)
        for d in range(residuals.shape[1]):
            length += residuals[h, d] * residuals[h, d]
        for k in range(K):
            guesses[h, k] = search.norms[m, k] + length - 2 * guesses[h, k]
        if A < K:
            smallest(offers.symbols[h * A : (h + 1) * A], guesses[h, :K], A)
        for place in range(h * A, (h + 1) * A):
            offers.estimates[place] = guesses[h, offers.symbols[place]]


@njit(nogil=True, cache=True)
def keep_promising(offers: Any, chosen: Any, vectors: int, offered: int, count: int) -> None:
    """Of each vector's `offered` candidates leave the `count` of the smallest estimates; writes chosen [≥count]."""
    for vector in range(vectors):
        begin, place = vector * offered, vector * count
        smallest(chosen, offers.estimates[begin : begin + offered], count)
        for own in chosen[:count]:
            offers.parents[place], offers.symbols[place] = offers.parents[begin + own], offers.symbols[begin + own]
            place += 1
