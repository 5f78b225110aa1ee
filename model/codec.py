"""NetworkCodec: vectors ⇄ codes by one network, for whoever knows nothing of networks."""

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.beam_search import worth_evaluating
from model.coarse import CoarseQuantiser
from model.errors import DimensionMismatch, InvalidCheckpoint, InvalidCodes, InvalidVectors, UnsupportedOption
from model.kernels import decoding, encoding, folded
from model.kernels.packed import pack_network, pack_search
from model.networks import QINCo2
from model.prepared import Prepared
from model.shortlist import AdditiveDecoder, FittedPairs, NetworkPairs, fit_additive

Float32 = NDArray[np.float32]
Codes = NDArray[np.int32]

ENCODE_BLOCK = 256
"""Vectors encoded together by operators: their candidates at A = B = 8 then stay in a core's second-level cache."""

PACKED_ENCODE_BLOCK = 4096
"""Vectors handed at once to the kernels, which share them out among threads and cut blocks of their own."""

DECODE_BLOCK = 4096

DEVICE_FLOATS = 1 << 27
"""Numbers that a block's candidates, or its rows, have at most on a GPU (512 MB): few launches, bounded memory."""

MOST_DEVICE_ROWS = 1 << 16


class NetworkCodec:
    """A trained quantiser. NumPy in, NumPy out; tensor in, tensor out on the codec's device. Many threads may call it.

    dim · steps (M) · codewords (K) · ivf_lists (0 without IVF) · default_candidates (A) · default_beam (B)
    sha256 of the checkpoint it came from · centroids [lists, dim] and additive_tables [M, K, dim] in the vectors' units
    """

    def __init__(
        self,
        network: QINCo2,
        additive: AdditiveDecoder | None = None,
        device: str = "cpu",
        sha256: str = "",
        fitted_pairs: FittedPairs | None = None,
        prepared: Prepared | None = None,
    ) -> None:
        """fitted_pairs: pair tables that a file brought; without them the pairs come from the network

        prepared: what another codec of this network, or of one that it is a prefix of, has made already
        """
        if not network.std > 0:
            raise InvalidCheckpoint(f"The codec divides vectors by {float(network.std)}; that must be more than 0.")
        self.network = network.to(device).eval().requires_grad_(False)
        self.device = torch.device(device)
        self.sha256 = sha256
        config = network.config
        self.config = config
        self.dim, self.steps, self.codewords = config.dim, config.steps, config.codewords
        self.ivf_lists = config.ivf_lists
        self.default_candidates, self.default_beam = config.candidates, min(config.beam, config.codewords)
        self.prepared = Prepared(network) if prepared is None else prepared
        self.folded, self.coarse = self.prepared.folded, self.prepared.coarse
        self._additive = None if additive is None else AdditiveDecoder(additive.tables.to(device))
        self.fitted_pairs = None if fitted_pairs is None else fitted_pairs.to(self.device)
        self._network_pairs = None
        if self._additive is not None and self.fitted_pairs is None:
            self._network_pairs = NetworkPairs(network, self.prepared.pair_table(network), self._additive)

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
        as raise the error by about half a percent (`beam_search.worth_evaluating`); A · B is the paper's search,
        and what the kernels for GPUs do in any case.
        Raises InvalidVectors, DimensionMismatch, UnsupportedOption.
        """
        candidates = self.default_candidates if candidates is None else candidates
        beam = self.default_beam if beam is None else beam
        self._check_search(candidates, beam)
        worth = worth_evaluating(candidates, beam) if evaluated is None else evaluated
        vectors = self._vectors(x)

        packed, search, fused = self.prepared.packed, self.prepared.search, self.prepared.fused
        is_packed = encoding.fits(search, self.codewords, candidates, beam)

        def encode_block(block: Tensor) -> Tensor:
            block = self.network.normalise(block)
            lists = None if self.coarse is None else self.coarse.nearest(block)
            if packed is not None and encoding.fits(search, self.codewords, candidates, beam):
                return encoding.encode_tensors(self.network, packed, search, block, lists, candidates, beam, worth)
            if fused is not None and fused.fits(self.network, candidates, beam):
                return fused.encode(self.network, block, lists, candidates, beam)
            return folded.encode(self.network, self.folded, self.prepared.tables, block, lists, candidates, beam, worth)

        width = self.steps + (1 if self.ivf_lists else 0)
        size = PACKED_ENCODE_BLOCK if is_packed else self._encoded_together(candidates, beam)
        codes = self._in_blocks(encode_block, vectors, size, (width,), torch.int32)
        return codes if isinstance(x, Tensor) else codes.cpu().numpy()

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
        if self.prepared.packed is not None:
            lists, symbols = self.network.split(self._checked_codes(codes))
            start = self.network.start(lists, 0 if lists is None else len(lists)).numpy()
            decoded = decoding.decode(self.prepared.packed, start, symbols.numpy(), steps or self.steps)
            return torch.from_numpy(decoded) if isinstance(codes, Tensor) else decoded
        fused = self.prepared.fused
        if fused is not None:
            checked, count = self._checked_codes(codes), steps or self.steps
            size = max(1, min(MOST_DEVICE_ROWS, DEVICE_FLOATS // self.dim))
            out = self._in_blocks(lambda block: fused.decode(block, count), checked, size, (self.dim,), torch.float32)
            return out if isinstance(codes, Tensor) else out.cpu().numpy()
        return self._decode_with(lambda block: folded.decode(self.network, self.folded, block, steps), codes)

    @overload
    def decode_additive(self, codes: NDArray[np.integer]) -> Float32: ...
    @overload
    def decode_additive(self, codes: Tensor) -> Tensor: ...
    def decode_additive(self, codes: NDArray[np.integer] | Tensor) -> Float32 | Tensor:
        """A cheap estimate of `decode`, a sum of one table row a symbol: float32 [n, dim]. Raises UnsupportedOption."""
        additive = self._required_additive()
        return self._decode_with(lambda block: additive.decode(self.network, block), codes)

    @overload
    def decode_pairwise(self, codes: NDArray[np.integer]) -> Float32: ...
    @overload
    def decode_pairwise(self, codes: Tensor) -> Tensor: ...
    def decode_pairwise(self, codes: NDArray[np.integer] | Tensor) -> Float32 | Tensor:
        """A better estimate than `decode_additive` for a little more: float32 [n, dim]. Raises UnsupportedOption."""
        fitted, network_pairs = self.fitted_pairs, self._network_pairs
        if fitted is not None:
            return self._decode_with(lambda block: fitted.decode(self.network, block), codes)
        if network_pairs is not None:
            return self._decode_with(network_pairs.decode, codes)
        raise UnsupportedOption("This checkpoint brings no tables for pairwise decoding; train or fit them first.")

    def compute_in_float32(self) -> None:
        """Multiply in float32 from now on, where half precision would be faster at the same error to a thousandth."""
        self.prepared.fused = None
        if self.device.type == "cpu":
            self.prepared.packed = pack_network(self.network, self.folded, is_half=False)
            self.prepared.search = pack_search(self.network, self.folded, is_half=False)

    def prefix(self, steps: int) -> "NetworkCodec":
        """The codec of the first `steps` symbols of each code, for a lower rate without encoding again.

        It shares this one's parameters and what was made of them, and has no shortlist decoders before
        `with_shortlist_decoders`, since those of the whole code count on symbols that a prefix lacks.
        Raises InvalidCodes.
        """
        if not 1 <= steps <= self.steps:
            raise InvalidCodes(f"This codec has {self.steps} steps; a prefix of {steps} is not possible.")
        network = self.network.prefix(steps)
        return NetworkCodec(network, None, str(self.device), self.sha256, prepared=self.prepared.prefix(network))

    def with_decoders(self, additive: AdditiveDecoder, fitted_pairs: FittedPairs | None = None) -> "NetworkCodec":
        """The same codec, all else shared, with these shortlist decoders."""
        return NetworkCodec(self.network, additive, str(self.device), self.sha256, fitted_pairs, self.prepared)

    def with_shortlist_decoders(self, x: Float32, codes: Codes | None = None) -> "NetworkCodec":
        """The same codec with additive tables fitted to vectors [n, dim] like those that will be searched.

        codes  theirs, where they are known
        """
        known = self.encode(x) if codes is None else codes

        def blocks() -> Iterator[tuple[Tensor, Tensor]]:
            for begin in range(0, len(known), DECODE_BLOCK):
                rows = slice(begin, begin + DECODE_BLOCK)
                vectors = self.network.normalise(self._vectors(x[rows]))
                yield vectors, self._codes(torch.from_numpy(known[rows]))

        return self.with_decoders(fit_additive(self.network, self.folded, blocks))

    @property
    def has_additive(self) -> bool:
        return self._additive is not None

    @property
    def has_pairwise(self) -> bool:
        return self.fitted_pairs is not None or self._network_pairs is not None

    @property
    def centroids(self) -> Float32 | None:
        """The lists' centroids [lists, dim] in the vectors' units; None without IVF."""
        return self.network.restore(self.network.centroids.float()).cpu().numpy() if self.ivf_lists else None

    @property
    def additive_tables(self) -> Float32:
        """Tables [steps, codewords, dim] whose rows sum, with the list's centroid, to `decode_additive`."""
        tables = self._required_additive().tables * self.network.std
        if not self.ivf_lists:
            tables[0] += self.network.mean
        return tables.cpu().numpy()

    @property
    def normalised_tables(self) -> Tensor:
        """The additive tables [steps, codewords, dim] in the network's units, as checkpoints keep them."""
        return self._required_additive().tables

    @property
    def size_bytes(self) -> int:
        """RAM of the parameters and of what was made from them, whether or not other codecs share it."""
        return size_bytes([self])

    def tensors(self) -> Iterator[Tensor]:
        """All that it holds, with what it shares."""
        yield from self.network.parameters()
        yield from self.network.buffers()
        yield from self.prepared.own_tensors()
        if self._additive is not None:
            yield self._additive.tables
        if self.fitted_pairs is not None:
            yield from vars(self.fitted_pairs).values()
        if self._network_pairs is not None:
            yield from self.prepared.pair_table(self.network).own_tensors

    def _check_search(self, candidates: int, beam: int) -> None:
        if not 0 <= candidates <= self.codewords:
            raise UnsupportedOption(f"Pre-selection keeps 0 (all) to {self.codewords} codewords, not {candidates}.")
        if candidates and not self.config.candidates:
            raise UnsupportedOption(
                f"This codec was trained without pre-selection, so candidates={candidates} is not possible; use 0."
            )
        if not 1 <= beam <= self.codewords:
            raise UnsupportedOption(f"The beam must be 1 to {self.codewords} hypotheses, not {beam}.")

    def _required_additive(self) -> AdditiveDecoder:
        if self._additive is None:
            raise UnsupportedOption("This checkpoint brings no additive tables; fit them before searching with it.")
        return self._additive

    def _vectors(self, x: Float32 | Tensor) -> Tensor:
        vectors = x if isinstance(x, Tensor) else torch.from_numpy(np.asarray(x, dtype=np.float32))
        if vectors.ndim != 2:
            raise InvalidVectors(f"Vectors come as an array [n, {self.dim}], not of shape {list(vectors.shape)}.")
        if vectors.shape[1] != self.dim:
            raise DimensionMismatch(f"This codec is for vectors of {self.dim} numbers; these have {vectors.shape[1]}.")
        if not torch.isfinite(vectors).all():
            row = int((~torch.isfinite(vectors).all(dim=1)).nonzero()[0, 0])
            raise InvalidVectors(f"Vector {row} holds a value that is not finite.")
        return vectors.to(self.device, torch.float32)

    def _decode_with(self, form: Callable[[Tensor], Tensor], codes: NDArray[np.integer] | Tensor) -> Float32 | Tensor:
        checked = self._checked_codes(codes)
        decoded = self._in_blocks(
            lambda block: self.network.restore(form(block)), checked, DECODE_BLOCK, (self.dim,), torch.float32
        )
        return decoded if isinstance(codes, Tensor) else decoded.cpu().numpy()

    def _checked_codes(self, codes: NDArray[np.integer] | Tensor) -> Tensor:
        given = codes if isinstance(codes, Tensor) else torch.from_numpy(np.asarray(codes).astype(np.int64))
        return self._codes(given)

    def _codes(self, codes: Tensor) -> Tensor:
        width = self.steps + (1 if self.ivf_lists else 0)
        if codes.ndim != 2 or codes.shape[1] != width or codes.is_floating_point():
            raise InvalidCodes(f"Codes come as integers [n, {width}], not {codes.dtype} of shape {list(codes.shape)}.")
        if len(codes):  # where they are: to look at what is on a GPU means to wait for it
            lists, symbols = self.network.split(codes)
            if symbols.min() < 0 or symbols.max() >= self.codewords:
                raise InvalidCodes(f"Symbols go from 0 to {self.codewords - 1}.")
            if lists is not None and (lists.min() < 0 or lists.max() >= self.ivf_lists):
                raise InvalidCodes(f"Lists go from 0 to {self.ivf_lists - 1}.")
        return codes.to(self.device, torch.int64)

    def _encoded_together(self, candidates: int, beam: int) -> int:
        """Vectors that operators, or a GPU's kernels, encode at once."""
        if self.device.type == "cpu":
            return ENCODE_BLOCK
        widest = max(self.dim, self.config.embedding, self.config.hidden)
        return max(1, min(ENCODE_BLOCK * 32, DEVICE_FLOATS // (beam * (candidates or self.codewords) * widest)))

    def _in_blocks(
        self, form: Callable[[Tensor], Tensor], rows: Tensor, block: int, shape: tuple[int, ...], dtype: torch.dtype
    ) -> Tensor:
        """Apply `form` to blocks of rows, so that memory does not grow with their number."""
        out = torch.empty((len(rows), *shape), dtype=dtype, device=self.device)
        with torch.inference_mode():
            for begin in range(0, len(rows), block):
                out[begin : begin + block] = form(rows[begin : begin + block])
        return out


class Holder(Protocol):
    """A codec of any kind, as far as its memory is concerned."""

    @property
    def coarse(self) -> CoarseQuantiser | None: ...
    def tensors(self) -> Iterator[Tensor]: ...


def size_bytes(codecs: Iterable[Holder]) -> int:
    """RAM of some codecs, counting once what several share."""
    held: dict[tuple[int, int], int] = {}
    graphs: dict[int, int] = {}
    for codec in codecs:
        held |= {(one.data_ptr(), one.numel()): one.numel() * one.element_size() for one in codec.tensors()}
        graphs |= {} if codec.coarse is None else {id(codec.coarse): codec.coarse.graph_bytes}
    return sum(held.values()) + sum(graphs.values())
