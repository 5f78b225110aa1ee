"""What is made of a network once, for all codecs that read it: those of its prefixes too, with whatever decoders."""

from collections.abc import Iterator

import torch
from torch import Tensor

from model.coarse import CoarseQuantiser
from model.kernels import folded, fused
from model.kernels.fused import FusedKernels
from model.kernels.packed import PackedNetwork, PackedSearch, pack_network, pack_search
from model.networks import QINCo2
from model.shortlist import PairTable
from model.shortlist.network_pairs import exact_steps


class Prepared:
    """folded, tables  of each step, as `model.kernels.folded` says · coarse  None without IVF
    packed, search  what the kernels for CPUs read; None on other devices, and where it would be too large
    fused  the kernels for GPUs; None on other devices, without Triton, and for networks that they do not fit

    Nothing in it changes but that a graph may come to `coarse`, and the pair table when it is first asked for.
    """

    def __init__(self, network: QINCo2) -> None:
        with torch.no_grad():
            self.folded = [folded.fold(step) for step in network.steps]
            self.tables = [folded.encoding_tables(step) for step in network.steps]
            on_cpu = network.mean.device.type == "cpu"
            self.packed: PackedNetwork | None = pack_network(network, self.folded) if on_cpu else None
            self.search: PackedSearch | None = pack_search(network, self.folded) if on_cpu else None
            self.fused: FusedKernels | None = fused.kernels_for(network, self.folded)
            self.coarse: CoarseQuantiser | None = None
            if network.config.ivf_lists:
                self.coarse = CoarseQuantiser(network.centroids)
                network.centroids = self.coarse.centroids
        self._pairs: dict[int, PairTable] = {}  # by the steps that they decode exactly

    def prefix(self, network: QINCo2) -> "Prepared":
        """The part that a prefix of the network reads, shared."""
        part = object.__new__(Prepared)
        steps = len(network.steps)
        part.folded, part.tables, part.coarse = self.folded[:steps], self.tables[:steps], self.coarse
        part._pairs, part.packed, part.search, part.fused = self._pairs, self.packed, self.search, self.fused
        return part

    def pair_table(self, network: QINCo2) -> PairTable:
        """The exactly decoded first pair of columns, made when it is first asked for."""
        exact = exact_steps(network)
        if exact not in self._pairs:
            with torch.no_grad():
                self._pairs[exact] = PairTable(network, self.folded)
        return self._pairs[exact]

    def own_tensors(self) -> Iterator[Tensor]:
        """All that was made, beside the network's parameters."""
        for step, tables in zip(self.folded, self.tables, strict=True):
            yield from folded.own_tensors(step, tables)
        if self.packed is not None:
            yield from self.packed.tensors()
        if self.search is not None:
            yield from self.search.tensors()
        if self.fused is not None:
            yield from self.fused.network.tensors()
        if self.coarse is not None:
            yield from self.coarse.own_tensors
