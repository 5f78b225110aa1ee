"""A codec's network as PyTorch computes with it: the plain form, the operators, and the kernels for GPUs.

What a codec on a GPU does, and on a CPU what `model.kernels.packed` does not fit. Tensors in, tensors out, unchecked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from model.coarse_there import CoarseThere
from model.kernels import folded, folding, fused
from model.networks import QINCo2
from model.shortlist import FittedPairs, network_pairs_there
from model.shortlist.network_pairs import PAIR_TABLE_BYTES, exact_steps
from model.shortlist.network_pairs_there import PairTable
from model.shortlist.row_sums import sum_rows

ENCODE_BLOCK = 256
"""Vectors encoded together by operators: their candidates at A = B = 8 then stay in a core's second-level cache."""

DECODE_BLOCK = 4096

DEVICE_FLOATS = 1 << 27
"""Numbers that a block's candidates, or its rows, have at most on a GPU (512 MB): few launches, bounded memory."""

MOST_DEVICE_ROWS = 1 << 16


class Operators:
    """network  on its device · folded, tables  of each step, as `model.kernels.folded` says
    fused  the kernels for GPUs; None on other devices, without Triton, and for networks that they do not fit
    coarse  None without IVF, and on CPUs, where that of arrays serves
    pair_table_bytes  most that a table for pairs may take; settled before the first is made
    """

    def __init__(self, network: QINCo2) -> None:
        """`network` is on its device."""
        self.network = network.eval().requires_grad_(False)
        with torch.no_grad():
            self.folded = [folding.fold(step) for step in network.steps]
            self.tables = [folded.encoding_tables(step) for step in network.steps]
            self.fused = fused.kernels_for(network, self.folded)
        is_there = network.config.ivf_lists > 0 and self.device.type != "cpu"
        self.coarse = CoarseThere(network.centroids) if is_there else None
        self.pair_table_bytes = PAIR_TABLE_BYTES
        self._pairs: dict[int, PairTable] = {}  # by the steps that they decode exactly

    @property
    def device(self) -> torch.device:
        return self.network.mean.device

    def prefix(self, steps: int) -> Operators:
        """Those of the first steps alone, sharing what they read."""
        part = object.__new__(Operators)
        part.network = self.network.prefix(steps).eval().requires_grad_(False)
        part.folded, part.tables = self.folded[:steps], self.tables[:steps]
        part.fused, part.coarse, part._pairs = self.fused, self.coarse, self._pairs
        part.pair_table_bytes = self.pair_table_bytes
        return part

    def encode(
        self,
        x: Tensor,
        nearest_lists: Callable[[Tensor], Tensor] | None,
        candidates: int,
        beam: int,
        evaluated: int | None,
    ) -> Tensor:
        """Codes int32 [n, M(+1)] of vectors [n, dim]; `nearest_lists` assigns normalised ones, with IVF."""

        def encode_block(block: Tensor) -> Tensor:
            block = self.network.normalise(block)
            lists = None if nearest_lists is None else nearest_lists(block)
            if self.fused is not None and self.fused.fits(self.network, candidates, beam):
                return self.fused.encode(self.network, block, lists, candidates, beam)
            return folded.encode(self.network, self.folded, self.tables, block, lists, candidates, beam, evaluated)

        width = self.network.config.steps + (nearest_lists is not None)
        return self._in_blocks(encode_block, x, self._encoded_together(candidates, beam), width, torch.int32)

    def decode(self, codes: Tensor, steps: int) -> Tensor:
        """Vectors [n, dim] of the first `steps` symbols of codes [n, M(+1)]."""
        kernels, dim = self.fused, self.network.config.dim
        if kernels is None:
            return self._restored(lambda block: folded.decode(self.network, self.folded, block, steps), codes)
        size = max(1, min(MOST_DEVICE_ROWS, DEVICE_FLOATS // dim))
        return self._in_blocks(lambda block: kernels.decode(block, steps), codes.long(), size, dim, torch.float32)

    def decode_additive(self, codes: Tensor, tables: Tensor) -> Tensor:
        """Vectors by additive tables [M, K, dim], normalised."""

        def decode_block(block: Tensor) -> Tensor:
            lists, symbols = self.network.split(block)
            return self.network.start(lists, len(block)) + sum_rows(tables, symbols)

        return self._restored(decode_block, codes)

    def decode_pairs(self, codes: Tensor, tables: Tensor) -> Tensor:
        """Vectors by the network for the first pair of columns, and additive tables for all others."""
        pair = self.pair_table()
        return self._restored(lambda block: network_pairs_there.decode(self.network, pair, tables, block), codes)

    def decode_fitted_pairs(self, codes: Tensor, pairs: FittedPairs) -> Tensor:
        """Vectors by the paper's pairwise decoder, its tables where the network is."""
        return self._restored(lambda block: pairs.decode(self.network, block), codes)

    def pair_table(self) -> PairTable:
        """The exactly decoded first pair of columns, made when it is first asked for."""
        exact = exact_steps(self.network.config)
        if exact not in self._pairs:
            with torch.no_grad():
                self._pairs[exact] = PairTable(self.network, self.folded, self.pair_table_bytes)
        return self._pairs[exact]

    def own_tensors(self) -> Iterator[Tensor]:
        """The network's parameters, and all that was made of them."""
        yield from self.network.parameters()
        yield from self.network.buffers()
        for step, tables in zip(self.folded, self.tables, strict=True):
            yield from folded.own_tensors(step, tables)
        if self.fused is not None:
            yield from self.fused.network.tensors()
        if self.coarse is not None:
            yield from self.coarse.own_arrays
        for pair in self._pairs.values():
            yield from pair.own_tensors

    def _encoded_together(self, candidates: int, beam: int) -> int:
        if self.device.type == "cpu":
            return ENCODE_BLOCK
        config = self.network.config
        widest = max(config.dim, config.embedding, config.hidden)
        return max(1, min(ENCODE_BLOCK * 32, DEVICE_FLOATS // (beam * (candidates or config.codewords) * widest)))

    def _restored(self, form: Callable[[Tensor], Tensor], codes: Tensor) -> Tensor:
        """What a form makes of codes, normalised, in the vectors' units."""
        dim = self.network.config.dim
        return self._in_blocks(
            lambda block: self.network.restore(form(block)), codes.long(), DECODE_BLOCK, dim, torch.float32
        )

    def _in_blocks(
        self, form: Callable[[Tensor], Tensor], rows: Tensor, block: int, width: int, dtype: torch.dtype
    ) -> Tensor:
        """Apply `form` to blocks of rows, so that memory does not grow with their number."""
        out = torch.empty((len(rows), width), dtype=dtype, device=self.device)
        with torch.inference_mode():
            for begin in range(0, len(rows), block):
                out[begin : begin + block] = form(rows[begin : begin + block])
        return out
