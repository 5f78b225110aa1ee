"""A step's network for a block's candidates: z_L of each, and how far it leads from the vector.

What a hypothesis' candidates share (W_x x̂ and U_1 W_x x̂, P_oᵀr) is multiplied once for it; the first hidden layer of a
candidate is then a sum of two table rows.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from model.kernels.instructions import CHUNK, ROWS
from model.kernels.offers import SUMS_MAY_BE_REORDERED
from model.kernels.packed import Float32
from model.kernels.tiles import add_product, factor, relu_product, relu_sum


class Layers(NamedTuple):
    """Room for a network's layers, in the panels' element type unless float32 is said.

    A hypothesis:  left [·, D] · narrow [·, E] · mixed float32 [·, E], W_x x̂ · mixed_up float32 [·, H], U_1 W_x x̂ ·
                   across float32 [·, E], P_oᵀr
    A candidate:   z float32 [all, E] · inner [CHUNK, E] · hidden [CHUNK, H] · length float32 [CHUNK, E]
    """

    left: NDArray[Any]
    narrow: NDArray[Any]
    mixed: Float32
    mixed_up: Float32
    across: Float32
    z: Float32
    inner: NDArray[Any]
    hidden: NDArray[Any]
    length: Float32


@njit(nogil=True, cache=True)
def room_for_layers(hypotheses: int, candidates: int, network: Any) -> Layers:
    """Layers for so many hypotheses, a multiple of ROWS, and candidates, rounded up to whole chunks."""
    D, E, H, kind = network.base.shape[2], network.tables.shape[2], network.hidden, network.mixes.dtype
    return Layers(
        np.zeros((hypotheses, D), kind),
        np.zeros((hypotheses, E), kind),
        np.zeros((hypotheses, E), np.float32),
        np.zeros((hypotheses, H), np.float32),
        np.zeros((hypotheses, E), np.float32),
        np.zeros((-(-candidates // CHUNK) * CHUNK, E), np.float32),
        np.zeros((CHUNK, E), kind),
        np.zeros((CHUNK, H), kind),
        np.zeros((CHUNK, E), np.float32),
    )


@njit(nogil=True, cache=True, fastmath=SUMS_MAY_BE_REORDERED)
def evaluate(
    offers: Any,
    layers: Any,
    residuals: Any,
    decoded: Any,
    hypotheses: int,
    count: int,
    s: int,
    network: Any,
    search: Any,
) -> None:
    """z_L of the first `count` candidates into layers.z, ‖r − f‖² into their distances."""
    _share(layers, residuals, decoded, hypotheses, s, network, search)
    for begin in range(0, count, CHUNK):
        rows = min(CHUNK, count - begin)
        z = layers.z[begin : begin + CHUNK]
        for row in range(rows):
            h, k = offers.parents[begin + row], offers.symbols[begin + row]
            for e in range(z.shape[1]):
                z[row, e] = network.tables[s, k, e] + layers.mixed[h, e]
        _blocks(z, layers, offers, begin, rows, s, network, search)
        if search.grams.shape[1]:
            _compare_inside(offers, z, layers, residuals, begin, rows, s, network, search)
        else:
            _compare(offers, z, residuals, begin, rows, s, network)


@njit(nogil=True, cache=True)
def _share(layers: Any, residuals: Any, decoded: Any, hypotheses: int, s: int, network: Any, search: Any) -> None:
    """What the candidates of each hypothesis have in common."""
    used = -(-hypotheses // ROWS) * ROWS
    layers.mixed[:used] = 0
    left = factor(layers.left, decoded, hypotheses)
    add_product(layers.mixed, left, hypotheses, network.mixes[s])
    if search.up_mixes.shape[1]:
        layers.mixed_up[:used] = 0
        add_product(layers.mixed_up, left, hypotheses, search.up_mixes[s])
    if search.grams.shape[1]:
        layers.across[:used] = 0
        add_product(layers.across, factor(layers.left, residuals, hypotheses), hypotheses, search.outs_across[s])


@njit(nogil=True, cache=True)
def _blocks(z: Any, layers: Any, offers: Any, begin: int, rows: int, s: int, network: Any, search: Any) -> None:
    """z_0 → z_L of a chunk; the first hidden layer is U_1 T[k] + U_1 W_x x̂."""
    for block in range(network.ups.shape[1]):
        if block == 0:
            first = s * search.up_tables.shape[1]
            for row in range(rows):
                h, k = offers.parents[begin + row], offers.symbols[begin + row]
                relu_sum(layers.hidden, row, search.up_tables, first + k, layers.mixed_up, h)
        else:
            relu_product(layers.hidden, factor(layers.inner, z, rows), rows, network.ups[s, block])
        add_product(z, layers.hidden, rows, network.downs[s, block])


@njit(nogil=True, cache=True, fastmath=SUMS_MAY_BE_REORDERED)
def _compare(offers: Any, z: Any, residuals: Any, begin: int, rows: int, s: int, network: Any) -> None:
    """‖r − c − z‖² of a chunk."""
    m = s + network.base.shape[0] - network.tables.shape[0]
    for row in range(rows):
        h, k = offers.parents[begin + row], offers.symbols[begin + row]
        total = np.float32(0)
        for d in range(residuals.shape[1]):
            difference = residuals[h, d] - network.base[m, k, d] - z[row, d]
            total += difference * difference
        offers.distances[begin + row] = total


@njit(nogil=True, cache=True, fastmath=SUMS_MAY_BE_REORDERED)
def _compare_inside(
    offers: Any, z: Any, layers: Any, residuals: Any, begin: int, rows: int, s: int, network: Any, search: Any
) -> None:
    """‖r − c − P_o z‖² of a chunk, inside the network's dimensions: ‖r − c‖² + ⟨z, P_oᵀP_o z − 2 P_oᵀ(r − c)⟩."""
    m = s + network.base.shape[0] - network.tables.shape[0]
    layers.length[:] = 0
    add_product(layers.length, factor(layers.inner, z, rows), rows, search.grams[s])
    for row in range(rows):
        h, k = offers.parents[begin + row], offers.symbols[begin + row]
        total = np.float32(0)
        for d in range(residuals.shape[1]):
            difference = residuals[h, d] - network.base[m, k, d]
            total += difference * difference
        change = np.float32(0)
        for e in range(z.shape[1]):
            change += z[row, e] * (layers.length[row, e] - 2 * (layers.across[h, e] - search.base_across[s, k, e]))
        offers.distances[begin + row] = total + change
