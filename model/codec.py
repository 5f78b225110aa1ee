"""NetworkCodec: vectors ⇄ codes by one network, for whoever knows nothing of networks.

On CPUs arrays go through compiled kernels, without PyTorch; `operators` does what these do not fit, and all on GPUs.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, overload

import numpy as np
from numpy.typing import NDArray

from model.codec_inputs import check_search, checked_codes, checked_vectors
from model.codecs_in_ram import size_bytes
from model.effort import worth_evaluating
from model.errors import InvalidCheckpoint, InvalidCodes, UnsupportedOption
from model.kernels import decoding, encoding
from model.kernels.folding import Array
from model.kernels.packed import PackedNetwork, PackedSearch
from model.prepared import HOST, Prepared
from model.shortlist import AdditiveDecoder, FittedPairs
from model.shortlist.network_pairs import exact_steps
from model.tensors import codes_on_host, is_tensor, like, on_host
from model.weights import Weights

if TYPE_CHECKING:
    from torch import Tensor

    from model.coarse import CoarseQuantiser
    from model.coarse_there import CoarseThere
    from model.networks import QINCo2
    from model.operators import Operators

Float32 = NDArray[np.float32]
Codes = NDArray[np.int32]

PACKED_ENCODE_BLOCK = 4096
"""Vectors handed at once to the kernels, which share them out among threads and cut blocks of their own."""

FIT_BLOCK = 4096


class NetworkCodec:
    """A trained quantiser. NumPy in, NumPy out; tensor in, tensor out on the codec's device. Many threads may call it.

    dim · steps (M) · codewords (K) · ivf_lists (0 without IVF) · default_candidates (A) · default_beam (B)
    sha256 of the checkpoint it came from · centroids [lists, dim] and additive_tables [M, K, dim] in the vectors' units
    """

    def __init__(
        self,
        network: Weights | QINCo2,
        additive: AdditiveDecoder | None = None,
        device: str = HOST,
        sha256: str = "",
        fitted_pairs: FittedPairs | None = None,
        prepared: Prepared | None = None,
    ) -> None:
        """fitted_pairs: pair tables that a file brought; without them the pairs come from the network

        prepared: what another codec of this network, or of one that it is a prefix of, has made already
        """
        given = None if isinstance(network, Weights) else network
        weights = network if isinstance(network, Weights) else Weights.of(network)
        if not weights.std > 0:
            raise InvalidCheckpoint(f"The codec divides vectors by {float(weights.std)}; that must be more than 0.")
        self.device, self.sha256 = device, sha256
        config = weights.config
        self.config = config
        self.dim, self.steps, self.codewords = config.dim, config.steps, config.codewords
        self.ivf_lists = config.ivf_lists
        self.default_candidates, self.default_beam = config.candidates, min(config.beam, config.codewords)
        self.prepared = Prepared(weights, device, given) if prepared is None else prepared
        self._additive = additive
        self.fitted_pairs = None if fitted_pairs is None else fitted_pairs.as_arrays()

    @property
    def weights(self) -> Weights:
        """The network's parameters, on the host."""
        return self.prepared.weights

    @property
    def coarse(self) -> CoarseQuantiser | CoarseThere | None:
        """The lists; None without IVF."""
        return self.prepared.coarse

    @property
    def operators(self) -> Operators:
        """The network as PyTorch computes with it; the first call imports PyTorch where nothing did."""
        return self.prepared.operators

    @property
    def network(self) -> QINCo2:
        """The network in its plain form, on the codec's device."""
        return self.operators.network

    @overload
    def encode(
        self, x: Float32, candidates: int | None = None, beam: int | None = None, evaluated: int | None = None
    ) -> Codes: ...
    @overload
    def encode(
        self, x: Tensor, candidates: int | None = None, beam: int | None = None, evaluated: int | None = None
    ) -> Tensor: ...
    def encode(
        self, x: Float32 | Tensor, candidates: int | None = None, beam: int | None = None, evaluated: int | None = None
    ) -> Codes | Tensor:
        """Codes of vectors [n, dim] → int32 [n, steps]; with IVF [n, 1 + steps], the list first.

        candidates  A, codewords that pre-selection keeps a hypothesis, 0 to try all; beam  B. Larger finds better codes
        for more time; decoding does not depend on them. Default: what the codec was trained with.
        evaluated  C: so many of a step's A · B candidates, the most promising, go through its network. Default: as few
        as raise the error by about half a percent (`effort.worth_evaluating`); A · B is the paper's search,
        and what the kernels for GPUs do in any case.
        Raises InvalidVectors, DimensionMismatch, UnsupportedOption.
        """
        candidates = self.default_candidates if candidates is None else candidates
        beam = self.default_beam if beam is None else beam
        check_search(self.config, candidates, beam)
        worth = worth_evaluating(candidates, beam) if evaluated is None else evaluated
        vectors = checked_vectors(self.config, x)
        packed, search = self.prepared.packed, self.prepared.search
        if packed is not None and encoding.fits(search, self.codewords, candidates, beam):
            return like(x, self._encode_packed(packed, search, on_host(vectors), candidates, beam, worth))
        nearest = None if self.coarse is None else self._nearest_lists
        codes = self.operators.encode(self._there(vectors).float(), nearest, candidates, beam, worth)
        return codes if is_tensor(x) else np.asarray(codes.cpu().numpy())

    @overload
    def decode(self, codes: NDArray[np.integer], steps: int | None = None) -> Float32: ...
    @overload
    def decode(self, codes: Tensor, steps: int | None = None) -> Tensor: ...
    def decode(self, codes: NDArray[np.integer] | Tensor, steps: int | None = None) -> Float32 | Tensor:
        """The vectors that codes stand for, float32 [n, dim]; with `steps`, by the first so many symbols alone.

        Raises InvalidCodes.
        """
        if steps is not None and not 1 <= steps <= self.steps:
            raise InvalidCodes(f"This codec has {self.steps} steps; {steps} of them cannot be decoded.")
        checked, packed = checked_codes(self.config, codes), self.prepared.packed
        if packed is not None:
            lists, symbols = self.weights.split(codes_on_host(checked))
            start = self.weights.start(lists, 0 if lists is None else len(lists))
            return like(codes, decoding.decode(packed, start, symbols, steps or self.steps))
        decoded = self.operators.decode(self._there(checked), steps or self.steps)
        return decoded if is_tensor(codes) else np.asarray(decoded.cpu().numpy())

    @overload
    def decode_additive(self, codes: NDArray[np.integer]) -> Float32: ...
    @overload
    def decode_additive(self, codes: Tensor) -> Tensor: ...
    def decode_additive(self, codes: NDArray[np.integer] | Tensor) -> Float32 | Tensor:
        """A cheap estimate of `decode`, a sum of one table row a symbol: float32 [n, dim]. Raises UnsupportedOption."""
        additive, checked = self._required_additive(), checked_codes(self.config, codes)
        if self.device == HOST:
            return like(codes, additive.decode(self.weights, codes_on_host(checked)))
        decoded = self.operators.decode_additive(self._there(checked), self._additive_there)
        return decoded if is_tensor(codes) else np.asarray(decoded.cpu().numpy())

    @overload
    def decode_pairwise(self, codes: NDArray[np.integer]) -> Float32: ...
    @overload
    def decode_pairwise(self, codes: Tensor) -> Tensor: ...
    def decode_pairwise(self, codes: NDArray[np.integer] | Tensor) -> Float32 | Tensor:
        """A better estimate than `decode_additive` for a little more: float32 [n, dim]. Raises UnsupportedOption."""
        if not self.has_pairwise:
            raise UnsupportedOption("This checkpoint brings no tables for pairwise decoding; train or fit them first.")
        checked, fitted, packed = checked_codes(self.config, codes), self.fitted_pairs, self.prepared.packed
        if self.device == HOST and fitted is not None:
            return like(codes, self.weights.restore(fitted.decode(self.weights, codes_on_host(checked))))
        if packed is not None:
            tables = self._required_additive().tables
            return like(codes, self.prepared.network_pairs(packed).decode(codes_on_host(checked), tables))
        there = self._there(checked)
        if self._fitted_there is not None:
            decoded = self.operators.decode_fitted_pairs(there, self._fitted_there)
        else:
            decoded = self.operators.decode_pairs(there, self._additive_there)
        return decoded if is_tensor(codes) else np.asarray(decoded.cpu().numpy())

    def compute_in_float32(self) -> None:
        """Multiply in float32 from now on, where half precision would be faster at the same error to a thousandth."""
        self.prepared.compute_in_float32()

    def bound_pair_table(self, most_bytes: int) -> None:
        """Let `decode_pairwise` make a table of at most so many bytes; without one the network does the same, slower.

        To be said before the first call, and before prefixes are taken.
        """
        self.prepared.bound_pair_table(most_bytes)

    def prefix(self, steps: int) -> NetworkCodec:
        """The codec of the first `steps` symbols of each code, for a lower rate without encoding again.

        It shares this one's parameters and what was made of them, and has no shortlist decoders before
        `with_shortlist_decoders`, since those of the whole code count on symbols that a prefix lacks.
        Raises InvalidCodes.
        """
        if not 1 <= steps <= self.steps:
            raise InvalidCodes(f"This codec has {self.steps} steps; a prefix of {steps} is not possible.")
        part = self.prepared.prefix(steps)
        return NetworkCodec(part.weights, None, self.device, self.sha256, prepared=part)

    def with_decoders(self, additive: AdditiveDecoder, fitted_pairs: FittedPairs | None = None) -> NetworkCodec:
        """The same codec, all else shared, with these shortlist decoders."""
        return NetworkCodec(self.weights, additive, self.device, self.sha256, fitted_pairs, self.prepared)

    def with_shortlist_decoders(self, x: Float32, codes: Codes | None = None) -> NetworkCodec:
        """The same codec with additive tables fitted to vectors [n, dim] like those that will be searched.

        codes  theirs, where they are known
        """
        from model.shortlist.fitting import fit_additive

        known = self.encode(x) if codes is None else codes
        exact, weights = exact_steps(self.config), self.weights

        def blocks() -> Iterator[tuple[Float32, NDArray[np.int64]]]:
            for begin in range(0, len(known), FIT_BLOCK):
                rows = slice(begin, begin + FIT_BLOCK)
                yield weights.normalise(checked_vectors(self.config, x[rows])), checked_codes(self.config, known[rows])

        return self.with_decoders(
            fit_additive(weights, lambda block: weights.normalise(self.decode(block, exact)), blocks)
        )

    @property
    def has_additive(self) -> bool:
        return self._additive is not None

    @property
    def has_pairwise(self) -> bool:
        return self.fitted_pairs is not None or self._additive is not None

    @property
    def centroids(self) -> Float32 | None:
        """The lists' centroids [lists, dim] in the vectors' units; None without IVF."""
        return self.weights.restore(np.asarray(self.weights.centroids, np.float32)) if self.ivf_lists else None

    @property
    def additive_tables(self) -> Float32:
        """Tables [steps, codewords, dim] whose rows sum, with the list's centroid, to `decode_additive`."""
        tables = np.asarray(self.normalised_tables * self.weights.std, np.float32)
        if not self.ivf_lists:
            tables[0] += self.weights.mean
        return tables

    @property
    def normalised_tables(self) -> Float32:
        """The additive tables [steps, codewords, dim] in the network's units, as checkpoints keep them."""
        return self._required_additive().tables

    @property
    def size_bytes(self) -> int:
        """RAM of the parameters and of what was made from them, whether or not other codecs share it."""
        return size_bytes([self])

    def arrays(self) -> Iterator[Array]:
        """All that it holds, with what it shares."""
        yield from self.prepared.own_arrays()
        if self._additive is not None:
            yield self._additive.tables
        if self.fitted_pairs is not None:
            yield from vars(self.fitted_pairs).values()
        for made in (vars(self).get("_additive_there"), vars(self).get("_fitted_there")):
            yield from () if made is None else vars(made).values() if isinstance(made, FittedPairs) else (made,)

    def _encode_packed(
        self,
        packed: PackedNetwork,
        search: PackedSearch,
        vectors: Float32,
        candidates: int,
        beam: int,
        evaluated: int,
    ) -> Codes:
        """Codes by the kernels for CPUs, a block at a time, so that memory does not grow with their number."""
        has_lists, steps = self.coarse is not None, packed.prefix(self.steps)
        codes = np.empty((len(vectors), self.steps + has_lists), np.int32)
        for begin in range(0, len(vectors), PACKED_ENCODE_BLOCK):
            rows = slice(begin, begin + PACKED_ENCODE_BLOCK)
            x, start = self.weights.normalise(vectors[rows]), self.weights.start(None, 0)
            if self.coarse is not None:
                codes[rows, 0] = lists = self._nearest_on_host(x)
                start = self.weights.start(lists, len(lists))
            codes[rows, int(has_lists) :] = encoding.encode(steps, search, x, start, candidates, beam, evaluated)
        return codes

    def _nearest_on_host(self, x: Float32) -> NDArray[np.int64]:
        from model.coarse import CoarseQuantiser

        assert isinstance(self.coarse, CoarseQuantiser)
        return self.coarse.nearest(x)

    def _nearest_lists(self, x: Tensor) -> Tensor:
        """The list of each normalised vector [n, dim], where it is: int64 [n]."""
        there = self.operators.coarse
        if there is not None:
            return there.assign(x)
        import torch

        return torch.from_numpy(self._nearest_on_host(x.numpy()))

    @cached_property
    def _additive_there(self) -> Tensor:
        return self._there(self._required_additive().tables)

    @cached_property
    def _fitted_there(self) -> FittedPairs | None:
        return None if self.fitted_pairs is None else self.fitted_pairs.to(self.operators.device)

    def _there(self, values: Array) -> Tensor:
        """As a tensor where the codec is."""
        import torch

        return torch.as_tensor(values).to(self.operators.device)

    def _required_additive(self) -> AdditiveDecoder:
        if self._additive is None:
            raise UnsupportedOption("This checkpoint brings no additive tables; fit them before searching with it.")
        return self._additive
