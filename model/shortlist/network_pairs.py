"""The pairwise decoder of our own: the network for the first pair of columns, the additive tables for all others.

What the network adds for the pair (list and first symbol; without IVF the first two symbols) depends on two numbers
only, so a table *computed from the network* holds it, in the network's D_e dimensions: it cannot overfit, needs no
place in the checkpoint, and for 1024 lists of 256 codewords and D_e = 64 takes 34 MB instead of 201 MB. The paper fits
its pair tables from data (`model.shortlist.fitted_pairs`).

This is the form for CPUs; `network_pairs_there.py` is the plain one, of PyTorch's operators.
"""

from functools import cached_property
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from model.config import CodecConfig
from model.kernels import decoding
from model.kernels.folding import FoldedStep, fold
from model.kernels.instructions import CHUNK, ROWS
from model.kernels.packed import PackedNetwork
from model.kernels.threads import in_shares
from model.kernels.tiles import add_product, factor, padded
from model.shortlist.row_sums import add_rows
from model.weights import Array, Float32, Weights

PAIR_TABLE_BYTES = 64 << 20
"""A pair table above this, unless told otherwise, is not made; the network then decodes the pair, which is the same."""


def exact_steps(config: CodecConfig) -> int:
    """Learned steps that the pairwise decoder decodes exactly: one after a list, else two where there are two."""
    return 1 if config.ivf_lists else min(2, config.steps)


class NetworkPairs:
    """The network for the first pair of columns, whatever the additive tables are.

    The table is made when it is first read: only queries that ask for `rerank` do.
    """

    def __init__(self, weights: Weights, packed: PackedNetwork, most_bytes: int = PAIR_TABLE_BYTES) -> None:
        self.exact = exact_steps(weights.config)
        self._weights, self._packed, self._most_bytes = weights.prefix(self.exact), packed, most_bytes

    def decode(self, codes: NDArray[np.int64], additive: Float32) -> Float32:
        """codes [n, M] ([n, 1 + M] with IVF), additive tables [M, K, D], normalised → [n, D], in the vectors' units."""
        lists, symbols = self._weights.split(codes)
        symbols = np.ascontiguousarray(symbols)
        start = self._weights.start(lists, 0 if lists is None else len(lists))
        if self._table is None:
            decoded = decoding.decode(self._packed, start, symbols, self.exact)
            add_rows(decoded, additive, symbols, self.exact, self._packed.std)
            return decoded
        pairs = codes[:, 0] * self._weights.config.codewords + codes[:, 1]
        start = self._packed.base[0][symbols[:, 0]] if lists is None else start
        z = np.zeros((len(codes) + ROWS, self._table.shape[1]), np.float32)  # products read whole groups of rows
        z[: len(codes)] = self._table[pairs]
        decoded = np.empty((len(codes), self._weights.config.dim), np.float32)

        def share_of(share: slice) -> None:
            _decode_into(decoded[share], z[share.start :], start[share], symbols[share], self.exact, self._packed)
            add_rows(decoded[share], additive, symbols[share], self.exact, self._packed.std)

        in_shares(share_of, len(decoded), 8 * CHUNK)
        return decoded

    @property
    def own_arrays(self) -> list[Array]:
        """What it holds beside the network."""
        made = vars(self).get("_table")
        return [] if made is None else [made]

    @cached_property
    def _table(self) -> NDArray[np.float16] | None:
        """z_L of every pair, float16 [first · K, D_e padded], or None where it would be too large."""
        first: Array = self._weights.centroids if self._weights.config.ivf_lists else self._weights.steps[0].codebook
        step = fold(self._weights.steps[-1])
        if step.table is None or step.mix is None:
            return None
        K, D_e = step.table.shape
        if 2 * len(first) * K * padded(D_e) > self._most_bytes:
            return None
        table = np.zeros((len(first), K, padded(D_e)), np.float16)
        block = max(1, 65536 // K)
        for begin in range(0, len(first), block):
            mixed = np.asarray(first[begin : begin + block], np.float32) @ step.mix.T  # [block, D_e]
            z = (mixed[:, None, :] + step.table).reshape(-1, D_e)
            table[begin : begin + block, :, :D_e] = _blocks(step, z).reshape(-1, K, D_e)
        return table.reshape(-1, padded(D_e))


def _blocks(step: FoldedStep, z: Float32) -> Float32:
    """The residual blocks: z_0 [n, D_e] → z_L, of many rows at once, as matrix products of BLAS."""
    for up, down in zip(step.ups, step.downs, strict=True):
        z = z + np.maximum(z @ up.T, 0) @ down.T
    return z


@njit(nogil=True, cache=True)
def _decode_into(out: Any, z: Any, start: Any, symbols: Any, exact: int, packed: Any) -> None:
    """What pairs stand for, in the vectors' units (writes out [n, dim]): start [n, dim] + base + P_o z, z [≥n, E]."""
    n, dim = out.shape
    D, E = packed.base.shape[2], packed.tables.shape[2]
    m = exact - 1
    s = m - (packed.base.shape[0] - packed.tables.shape[0])
    room = min(CHUNK, (n + ROWS - 1) // ROWS * ROWS)
    decoded, inner = np.zeros((room, D), np.float32), np.zeros((room, E), packed.mixes.dtype)
    for begin in range(0, n, CHUNK):
        rows = min(CHUNK, n - begin)
        for row in range(rows):
            base = packed.base[m, symbols[begin + row, m]]
            for d in range(D):
                decoded[row, d] = base[d]
            for d in range(dim):
                decoded[row, d] += start[begin + row, d]
        if packed.outs.shape[1]:
            add_product(decoded, factor(inner, z[begin:], rows), rows, packed.outs[s])
        else:
            for row in range(rows):
                for d in range(dim):
                    decoded[row, d] += z[begin + row, d]
        for row in range(rows):
            for d in range(dim):
                out[begin + row, d] = decoded[row, d] * packed.std + packed.mean[d]
