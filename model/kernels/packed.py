"""A network's folded steps as the arrays that the Numba kernels read: padded, stacked by step, matrices in panels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.kernels.folding import Array, FoldedStep
from model.kernels.processor import HAS_BFLOAT16
from model.kernels.tiles import pack, padded

if TYPE_CHECKING:
    from model.networks import QINCo2
    from model.weights import Weights

Float32 = NDArray[np.float32]
Panels = NDArray[Any]

MOST_BYTES = 256 << 20
"""Tables above this are not copied into packed form; PyTorch's operators then do the work."""


class PackedNetwork(NamedTuple):
    """What decoding reads. S steps have a network; D, E, H are dim, D_e, D_h padded to whole registers.

    Panels hold float32, or bfloat16 where the processor multiplies it; everything that sums is float32.
    """

    base: Float32  # [M, K, D], what a step adds besides its network's output
    tables: Float32  # [S, K, E], T of `folded`
    mixes: Panels  # [S, ·] of W_x
    ups: Panels  # [S, L, ·] of U_l
    downs: Panels  # [S, L, ·] of V_l
    outs: Panels  # [S, ·] of P_o, [S, 0] where the network does not project
    hidden: int  # H
    mean: Float32  # [dim]
    std: float

    def prefix(self, steps: int) -> PackedNetwork:
        """That of the first steps alone, sharing memory."""
        first = len(self.base) - len(self.tables)
        return self._replace(base=self.base[:steps], tables=self.tables[: steps - first])

    def arrays(self) -> Iterator[NDArray[Any]]:
        """Its arrays, for whoever counts what is held."""
        return (part for part in self if isinstance(part, np.ndarray))


def pack_network(
    network: Weights | QINCo2, steps: list[FoldedStep], is_half: bool = HAS_BFLOAT16
) -> PackedNetwork | None:
    """The packed form of a network on a CPU; None where it would be too large or there is nothing to multiply.

    steps  folded, as arrays or, while training, as tensors
    """
    config = network.config
    made = [step for step in steps if step.table is not None]
    if not made or 4 * config.steps * config.codewords * (config.dim + config.embedding) > MOST_BYTES:
        return None
    D, E = padded(config.dim), padded(config.embedding)
    return PackedNetwork(
        base=np.stack([_table(step.base, D) for step in steps]),
        tables=np.stack([_table(step.table, E) for step in made]),
        mixes=np.stack([_panels(step.mix, is_half) for step in made]),
        ups=_stacked([step.ups for step in made], is_half),
        downs=_stacked([step.downs for step in made], is_half),
        outs=np.stack([_panels(step.out, is_half) for step in made]),
        hidden=padded(config.hidden),
        mean=_array(network.mean).astype(np.float32),
        std=float(network.std),
    )


class PackedSearch(NamedTuple):
    """What encoding reads beyond decoding."""

    guesses: Panels  # [M, ·] of G, or of base where the step has no network
    norms: Float32  # [M, K], their squared norms
    is_needed: NDArray[np.bool_]  # [M], whether there are guesses: not where every codeword goes through the network
    up_tables: Float32  # [S, K, H], U_1 T
    up_mixes: Panels  # [S, ·] of U_1 W_x
    outs_across: Panels  # [S, ·] of P_oᵀ; this and what follows: [S, 0] where the network does not project
    grams: Panels  # [S, ·] of P_oᵀP_o
    base_across: Float32  # [S, K, E], base · P_o

    def arrays(self) -> Iterator[NDArray[Any]]:
        """As `PackedNetwork.arrays`."""
        return (part for part in self if isinstance(part, np.ndarray))


def pack_search(
    network: Weights | QINCo2, steps: list[FoldedStep], is_half: bool = HAS_BFLOAT16
) -> PackedSearch | None:
    """What beam search reads of a network that `pack_network` packs; None where its pre-selection is a network."""
    made, config = [step for step in steps if step.table is not None], network.config
    if not made or any(step.preselector is not None for step in made):
        return None
    if 4 * config.steps * config.codewords * (config.dim + config.embedding + config.hidden) > MOST_BYTES:
        return None
    own = network.steps
    sources = [step.preselection if step.has_network else step.codebook for step in own]
    known = [0 * _array(own[0].codebook) if one is None else _array(one) for one in sources]
    H, E = padded(config.hidden), padded(config.embedding)
    ups = [step.ups[0] if step.ups else None for step in made]
    outs = [None if step.out is None else step.out.T for step in made]
    return PackedSearch(
        guesses=np.stack([_panels(source, is_half) for source in known]),
        norms=np.stack([np.square(source).sum(axis=1) for source in known]),
        is_needed=np.array([source is not None for source in sources]),
        up_tables=np.stack(
            [_table(_times(step.table, up), 0 if up is None else H) for step, up in zip(made, ups, strict=True)]
        ),
        up_mixes=np.stack([_panels(_after(up, step.mix), is_half) for step, up in zip(made, ups, strict=True)]),
        outs_across=np.stack([_panels(out, is_half) for out in outs]),
        grams=np.stack([_panels(_after(out, step.out), is_half) for step, out in zip(made, outs, strict=True)]),
        base_across=np.stack(
            [_table(_times(step.base, out), 0 if out is None else E) for step, out in zip(made, outs, strict=True)]
        ),
    )


def _after(left: Array | None, right: Array | None) -> Array | None:
    """left · right; nothing where either is nothing."""
    return None if left is None or right is None else left @ right


def _times(rows: Array | None, matrix: Array | None) -> Array:
    """rows · matrixᵀ; no columns where there is no matrix."""
    assert rows is not None
    return rows[:, :0] if matrix is None else rows @ matrix.T


def _table(rows: Array | None, width: int) -> Float32:
    """Rows, padded with zeros to a width."""
    assert rows is not None
    table = np.zeros((len(rows), width), np.float32)
    table[:, : rows.shape[1]] = _array(rows)
    return table


def _panels(matrix: Array | None, is_half: bool) -> Panels:
    if matrix is None:
        return np.zeros(0, np.uint16 if is_half else np.float32)
    return pack(_array(matrix), is_half)


def _stacked(matrices: list[tuple[Array, ...]], is_half: bool) -> Panels:
    """[S, L, ·], also where L is 0."""
    if not matrices[0]:
        return np.zeros((len(matrices), 0, 0), np.uint16 if is_half else np.float32)
    return np.stack([np.stack([_panels(matrix, is_half) for matrix in blocks]) for blocks in matrices])


def _array(values: Array) -> NDArray[Any]:
    array: NDArray[Any] = values if isinstance(values, np.ndarray) else values.detach().numpy()
    return array
