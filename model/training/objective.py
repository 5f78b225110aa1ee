"""What training minimises: the errors of a batch's codes, found by beam search with the network as it stands.

QINCo2 (Vallaeys et al., ICLR 2025), section 3.3: the sum of every step's reconstruction error, and of every
pre-selection's, on the codes that beam search finds without gradient.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from model.effort import worth_evaluating
from model.kernels import encoding, folded, folding
from model.kernels.packed import pack_network, pack_search
from model.networks import QINCo2, Step


@dataclass(frozen=True)
class Losses:
    """steps [M], the mean squared error after each step · preselection, the sum of the pre-selections' errors."""

    steps: Tensor
    preselection: Tensor

    @property
    def total(self) -> Tensor:
        return self.steps.sum() + self.preselection


def losses(network: QINCo2, x: Tensor, codes: Tensor) -> Losses:
    """The errors that codes leave on normalised vectors x [n, D], means over vectors and dimensions, differentiable.

    After step m  mean (x̂_m − x̃)²,  of its pre-selection  mean (x̂_{m−1} + g_m(i_m) − x̃)²  with x̂_{m−1} held fixed.
    """
    lists, symbols = network.split(codes)
    decoded = network.start(lists, len(x))
    after: list[Tensor] = []
    preselection = x.new_zeros(())
    for m, step in enumerate(network.steps):
        if (guess := _guess(step, symbols[:, m], decoded.detach())) is not None:
            preselection = preselection + (decoded.detach() + guess - x).square().mean()
        decoded = decoded + folded.decode_step(folding.fold(step), symbols[:, m], decoded)
        after.append((decoded - x).square().mean())
    return Losses(torch.stack(after), preselection)


def encode(network: QINCo2, x: Tensor, lists: Tensor | None, candidates: int, beam: int, block: int = 256) -> Tensor:
    """Codes of normalised vectors [n, D] by the network as it stands, without gradient."""
    evaluated = worth_evaluating(candidates, beam)
    with torch.no_grad():
        steps = [folding.fold(step) for step in network.steps]
        packed = pack_network(network, steps) if x.device.type == "cpu" else None
        search = None if packed is None else pack_search(network, steps)
        if packed is not None and encoding.fits(search, network.config.codewords, candidates, beam):
            return encoding.encode_tensors(network, packed, search, x, lists, candidates, beam, evaluated)
        tables = [folded.encoding_tables(step) for step in network.steps]
        x_blocks = torch.split(x, block)
        list_blocks = [None] * len(x_blocks) if lists is None else torch.split(lists, block)
        return torch.cat(
            [
                folded.encode(network, steps, tables, part, part_lists, candidates, beam, evaluated)
                for part, part_lists in zip(x_blocks, list_blocks, strict=True)
            ]
        )


def error(network: QINCo2, x: Tensor, lists: Tensor | None, candidates: int, beam: int) -> float:
    """Mean squared error a vector, normalised units: x [n, D]."""
    with torch.no_grad():
        codes = encode(network, x, lists, candidates, beam)
        steps = [folding.fold(step) for step in network.steps]
        return float((folded.decode(network, steps, codes) - x).square().sum(dim=1).mean())


def nearest_lists(network: QINCo2, x: Tensor) -> Tensor | None:
    """The list of each normalised vector [n, D] → [n]; None without lists."""
    if not network.config.ivf_lists:
        return None
    norms = network.centroids.square().sum(dim=1)
    blocks = [torch.addmm(norms, block, network.centroids.T, alpha=-2).argmin(dim=1) for block in torch.split(x, 4096)]
    return torch.cat(blocks)


def _guess(step: Step, symbols: Tensor, decoded: Tensor) -> Tensor | None:
    """What pre-selection takes the codewords [n] to add after x̂ [n, D]; None where all codewords are tried."""
    if not step.has_network:
        return None
    if step.preselector is not None:
        return folded.decode_step(folding.fold(step.preselector), symbols, decoded)
    return None if step.preselection is None else step.preselection[symbols]
