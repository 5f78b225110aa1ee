"""A network's folded steps as the Triton kernels read them: padded, stacked by step, matrices in half precision.

A Triton block has a power of two of columns: D_e is padded to one, D and D_h to whole blocks, with zeros, which change
no product. Matrices are float16, what is summed float32.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn.functional import pad

from model.kernels.folding import FoldedStep
from model.networks import QINCo2

LEAST_BLOCK = 16  # of a matrix product on tensor cores
MOST_INSIDE = 256
"""The widest D_e whose rows a program can hold; PyTorch's operators do wider networks at the matrix rate."""

ADDRESSED = 1 << 31
"""Numbers that a kernel reaches from the start of an array."""

LARGEST_PARAMETER = 256.0
"""In a network of larger ones float16 might overflow; those of the presets, trained, have 3, and their layers 7."""

D_BLOCK, H_BLOCK = 128, 64


@dataclass(frozen=True)
class FusedNetwork:
    """What decoding and encoding read. S steps have a network; D, E, H are dim, D_e, D_h padded; G: guesses.

    base float32 [M, K, D] · tables float32 [S, K, E], T of `folded` · mixes [S, E, D] of W_x · ups [S, L, H, E]
    downs [S, L, E, H] · outs [S, D, E] of P_o, empty where the network does not project
    mean float32 [dim] · std · centroids [lists, dim], float32 or float16, empty without IVF
    guesses [M, K', D] of G, or of base where the step has no network, K' a power of two · norms float32 [M, K'], theirs
    up_tables float32 [S, K, H], U_1 T · up_mixes [S, H, D] of U_1 W_x, both empty where L = 0
    grams [S, E, E] of P_oᵀP_o · base_across float32 [S, K, E], base · P_o, both empty where it does not project
    has_guesses: whether a step chooses candidates by a codebook, so that encoding can go through the kernels
    """

    base: Tensor
    tables: Tensor
    mixes: Tensor
    ups: Tensor
    downs: Tensor
    outs: Tensor
    mean: Tensor
    std: float
    centroids: Tensor
    guesses: Tensor
    norms: Tensor
    up_tables: Tensor
    up_mixes: Tensor
    grams: Tensor
    base_across: Tensor
    has_guesses: bool
    d_block: int
    h_block: int

    @property
    def first(self) -> int:
        """The first step with a network."""
        return len(self.base) - len(self.tables)

    @property
    def blocks(self) -> int:
        """L."""
        return self.ups.shape[1]

    @property
    def projects(self) -> bool:
        return self.outs.numel() > 0

    def tensors(self) -> Iterator[Tensor]:
        """What it holds beside the network's own parameters."""
        held = (getattr(self, one.name) for one in fields(self) if one.name not in ("mean", "centroids"))
        return (one for one in held if isinstance(one, Tensor))


def fuse(network: QINCo2, steps: list[FoldedStep], element: torch.dtype = torch.float16) -> FusedNetwork | None:
    """The form for the kernels where the network is; None where a program could not hold its rows."""
    config = network.config
    if max(float(parameter.abs().max()) for parameter in network.parameters() if parameter.numel()) > LARGEST_PARAMETER:
        return None
    made = [step for step in steps if step.table is not None]
    if not made or config.embedding > MOST_INSIDE:
        return None
    E = _power(config.embedding)
    d_block = min(D_BLOCK, _power(config.dim)) if config.has_projection else E
    h_block = min(H_BLOCK, _power(config.hidden))
    D, H = _whole(config.dim, d_block), _whole(config.hidden, h_block)
    if config.steps * max(config.codewords, E * max(1, config.blocks)) * max(D, E, H) >= ADDRESSED:
        return None
    sources = [
        one.codebook if not one.has_network or one.preselection is None else one.preselection for one in network.steps
    ]
    guesses = [source if step.table is not None else step.base for source, step in zip(sources, steps, strict=True)]
    ups = [step.ups[0] if step.ups else None for step in made]
    outs = [step.out for step in made]
    nothing = network.mean.new_zeros(0)

    def stacked(matrices: list[Tensor | None], *shape: int) -> Tensor:
        known = [padded(matrix, *shape) for matrix in matrices if matrix is not None]
        return torch.stack(known) if len(known) == len(matrices) else nothing

    def halves(matrices: list[Tensor | None], *shape: int) -> Tensor:
        return stacked(matrices, *shape).to(element)

    def layers(matrices: list[tuple[Tensor, ...]], *shape: int) -> Tensor:
        whole = [torch.stack([padded(one, *shape) for one in own]) for own in matrices if own]
        return (torch.stack(whole) if whole else network.mean.new_zeros(len(matrices), 0, *shape)).to(element)

    K = config.codewords
    norms = torch.stack([source.square().sum(dim=1) for source in guesses])
    return FusedNetwork(
        base=stacked([step.base for step in steps], K, D).float(),
        tables=stacked([step.table for step in made], K, E).float(),
        mixes=halves([step.mix for step in made], E, D),
        ups=layers([step.ups for step in made], H, E),
        downs=layers([step.downs for step in made], E, H),
        outs=halves(outs, D, E),
        mean=network.mean.float(),
        std=float(network.std),
        centroids=network.centroids,
        guesses=halves(list(guesses), _power(K), D),
        norms=pad(norms.float(), (0, _power(K) - K), value=torch.inf),
        up_tables=stacked([_times(step.table, up) for step, up in zip(made, ups, strict=True)], K, H).float(),
        up_mixes=halves([_after(up, step.mix) for step, up in zip(made, ups, strict=True)], H, D),
        grams=halves([None if out is None else out.T @ out for out in outs], E, E),
        base_across=stacked(
            [None if out is None else step.base @ out for step, out in zip(made, outs, strict=True)], K, E
        ).float(),
        has_guesses=not any(step.preselector is not None for step in made),
        d_block=d_block,
        h_block=h_block,
    )  # fmt: skip


def padded(matrix: Tensor, rows: int, columns: int) -> Tensor:
    """A matrix with rows and columns of zeros after its own."""
    return pad(matrix.detach(), (0, columns - matrix.shape[1], 0, rows - matrix.shape[0]))


def _times(rows: Tensor | None, matrix: Tensor | None) -> Tensor | None:
    return None if rows is None or matrix is None else rows @ matrix.T


def _after(left: Tensor | None, right: Tensor | None) -> Tensor | None:
    return None if left is None or right is None else left @ right


def _power(size: int) -> int:
    """The smallest power of two that a matrix product takes and that is no less."""
    return max(LEAST_BLOCK, 1 << (size - 1).bit_length())


def _whole(size: int, block: int) -> int:
    return -(-size // block) * block
