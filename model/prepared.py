"""What is made of a network once, for all codecs that read it: those of its prefixes too, with whatever decoders."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Lock
from typing import TYPE_CHECKING

from model.coarse import CoarseQuantiser
from model.kernels.folding import Array, fold
from model.kernels.packed import PackedNetwork, PackedSearch, pack_network, pack_search
from model.shortlist.network_pairs import PAIR_TABLE_BYTES, NetworkPairs, exact_steps
from model.weights import Weights

if TYPE_CHECKING:
    from model.coarse_there import CoarseThere
    from model.networks import QINCo2
    from model.operators import Operators

HOST = "cpu"


class Prepared:
    """weights  arrays of the host · packed, search  what the kernels for CPUs read; None on other devices, and where it
    would be too large · coarse  None without IVF

    Nothing in it changes but that a graph may come to `coarse`, and what is made when it is first asked for.
    """

    def __init__(self, weights: Weights, device: str, network: QINCo2 | None = None) -> None:
        """network  that of these weights, where there is one"""
        self.weights, self.device = weights, device
        self.packed: PackedNetwork | None = None
        self.search: PackedSearch | None = None
        self.coarse: CoarseQuantiser | CoarseThere | None = None
        self._network = network
        self._made: Operators | None = None
        self._making = Lock()
        self._whole: Prepared = self
        self._pairs: dict[int, NetworkPairs] = {}  # by the steps that they decode exactly
        self._pair_table_bytes = PAIR_TABLE_BYTES
        if device != HOST:
            self.coarse = self.operators.coarse
            return
        self._pack()
        if weights.config.ivf_lists:
            self.coarse = CoarseQuantiser(weights.centroids)
            self.weights = weights.with_centroids(self.coarse.centroids)

    def prefix(self, steps: int) -> Prepared:
        """The part that a prefix of the network reads, shared."""
        part = object.__new__(Prepared)
        part.weights, part.device, part.coarse = self.weights.prefix(steps), self.device, self.coarse
        part.packed, part.search, part._pairs = self.packed, self.search, self._pairs
        part._pair_table_bytes = self._pair_table_bytes
        part._network, part._made, part._making, part._whole = None, None, Lock(), self._whole
        return part

    @property
    def operators(self) -> Operators:
        """The network as PyTorch computes with it; made when it is first asked for, and PyTorch imported with it."""
        with self._making:
            if self._made is None:
                self._made = self._operators()
            return self._made

    def compute_in_float32(self) -> None:
        """See `NetworkCodec.compute_in_float32`."""
        if self.device == HOST:
            self._pack(is_half=False)
        if self._made is not None:
            self._made.fused = None

    def bound_pair_table(self, most_bytes: int) -> None:
        """See `NetworkCodec.bound_pair_table`."""
        self._pair_table_bytes = most_bytes
        if self._made is not None:
            self._made.pair_table_bytes = most_bytes

    def network_pairs(self, packed: PackedNetwork) -> NetworkPairs:
        """The pairwise decoder of our own, its table made when it is first read."""
        exact = exact_steps(self.weights.config)
        if exact not in self._pairs:
            self._pairs[exact] = NetworkPairs(self.weights, packed, self._pair_table_bytes)
        return self._pairs[exact]

    def own_arrays(self) -> Iterator[Array]:
        """All that is held: the parameters, and what was made of them."""
        yield from self.weights.arrays.values()
        for packed in (self.packed, self.search):
            if packed is not None:
                yield from packed.arrays()
        if self.coarse is not None:
            yield from self.coarse.own_arrays
        for pairs in self._pairs.values():
            yield from pairs.own_arrays
        if self._made is not None:
            yield from self._made.own_tensors()

    def _operators(self) -> Operators:
        from model.networks import QINCo2
        from model.operators import Operators

        if self._whole is not self:
            return self._whole.operators.prefix(self.weights.config.steps)
        network = QINCo2.of(self.weights) if self._network is None else self._network
        made = Operators(network.to(self.device))
        made.pair_table_bytes = self._pair_table_bytes
        return made

    def _pack(self, **options: bool) -> None:
        steps = [fold(step) for step in self.weights.steps]
        self.packed, self.search = (
            pack_network(self.weights, steps, **options),
            pack_search(self.weights, steps, **options),
        )
