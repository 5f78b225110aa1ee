"""Decoding in one Numba function: no operator calls between the steps, and what a block holds stays in the cache.

The same equations as `folded.decode`, its plain form. A block of rows walks through all steps; sums are float32, the
factors of matrix products bfloat16 where the processor multiplies that.
"""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from model.kernels.instructions import CHUNK, ROWS
from model.kernels.packed import Float32, PackedNetwork
from model.kernels.threads import in_shares
from model.kernels.tiles import add_product, factor, relu_product


def decode(packed: PackedNetwork, start: Float32, symbols: NDArray[np.int64], steps: int) -> Float32:
    """Vectors float32 [n, dim], in their own units, of the first `steps` symbols.

    start [n, dim], the lists' centroids, normalised; [0, dim] without IVF · symbols [n, M], within bounds
    """
    out = np.empty((len(symbols), len(packed.mean)), np.float32)
    symbols = np.ascontiguousarray(symbols)  # columns of a wider array would have the function compiled once more
    in_shares(lambda share: _decode_into(out[share], start[share], symbols[share], steps, packed), len(out), 2 * CHUNK)
    return out


@njit(nogil=True, cache=True)
def _decode_into(out: Any, start: Any, symbols: Any, steps: int, packed: Any) -> None:
    n, dim = out.shape
    room = min(CHUNK, (n + ROWS - 1) // ROWS * ROWS)
    decoded = np.zeros((room, packed.base.shape[2]), np.float32)
    z, left, inner, hidden = room_for(room, packed)
    for begin in range(0, n, CHUNK):
        rows = min(CHUNK, n - begin)
        for row in range(rows):
            decoded[row] = 0
            if len(start):
                decoded[row, :dim] = start[begin + row]
        for m in range(steps):
            advance(decoded, z, left, inner, hidden, symbols[begin:, m], rows, m, packed)
        for row in range(rows):
            for d in range(dim):
                out[begin + row, d] = decoded[row, d] * packed.std + packed.mean[d]


@njit(nogil=True, cache=True)
def room_for(rows: int, packed: Any) -> Any:
    """What `advance` writes on its way, for so many rows, a multiple of ROWS: z, left, inner, hidden."""
    D, E = packed.base.shape[2], packed.tables.shape[2]
    return (
        np.zeros((rows, E), np.float32),
        np.zeros((rows, D), packed.mixes.dtype),
        np.zeros((rows, E), packed.mixes.dtype),
        np.zeros((rows, packed.hidden), packed.mixes.dtype),
    )


@njit(nogil=True, cache=True)
def advance(
    decoded: Any, z: Any, left: Any, inner: Any, hidden: Any, symbols: Any, rows: int, m: int, packed: Any
) -> None:
    """Step m of rows: adds to decoded [≥rows, D], normalised, what their symbols [≥rows] stand for after it."""
    first = packed.base.shape[0] - packed.tables.shape[0]  # the first step with a network
    if m >= first:
        _network(z, decoded, left, inner, hidden, symbols, rows, m - first, packed)
    for row in range(rows):
        base = packed.base[m, symbols[row]]
        for d in range(decoded.shape[1]):
            decoded[row, d] += base[d]
    if m >= first:
        if packed.outs.shape[1]:
            add_product(decoded, factor(inner, z, rows), rows, packed.outs[m - first])
        else:
            for row in range(rows):
                for d in range(decoded.shape[1]):
                    decoded[row, d] += z[row, d]


@njit(nogil=True, cache=True)
def _network(
    z: Any, decoded: Any, left: Any, inner: Any, hidden: Any, symbols: Any, rows: int, s: int, packed: Any
) -> None:
    """z [≥rows, E] = z_L of each row's codeword after what is decoded; writes left, inner, hidden as well."""
    for row in range(rows):
        z[row] = packed.tables[s, symbols[row]]
    add_product(z, factor(left, decoded, rows), rows, packed.mixes[s])
    for block in range(packed.ups.shape[1]):
        relu_product(hidden, factor(inner, z, rows), rows, packed.ups[s, block])
        add_product(z, hidden, rows, packed.downs[s, block])
