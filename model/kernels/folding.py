"""What depends on a codeword alone, folded into tables: what all fast forms of decoding and encoding read.

z_0 = T[k] + W_x x̂ with the table T[k] = e_k + W_e e_k + b, for e = P_i c and W = [W_e | W_x]: the input projection and
half of the concatenation are read from K rows. Folding costs K · D · D_e multiply-adds a step, little beside a batch:
training folds anew for each batch, and since all of this is differentiable, decodes through it as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from model.networks import Step
    from model.weights import StepWeights

Array = Any
"""A NumPy array or a PyTorch tensor: these lines read the same for both, and give what they are given."""


@dataclass(frozen=True)
class FoldedStep:
    """One step with its tables: base [K, D], table T [K, D_e], mix W_x [D_e, D]; ups, downs, out as in `Step`.

    base is what a step adds besides its network's output: the codebook, or nothing where there is no outer skip.
    preselector, where pre-selection is a network, is its own folded step.
    """

    base: Array
    table: Array | None
    mix: Array | None
    ups: tuple[Array, ...]
    downs: tuple[Array, ...]
    out: Array | None
    preselector: FoldedStep | None = None


def fold(step: Step | StepWeights) -> FoldedStep:
    """The step's network with everything that depends on the codeword alone multiplied out."""
    if not step.has_network:
        return FoldedStep(step.codebook, None, None, (), (), None)
    weight: Array = step.concat_weight
    e = step.codebook if step.in_projection is None else step.codebook @ step.in_projection.T  # [K, D_e]
    w_e, w_x = weight[:, : e.shape[1]], weight[:, e.shape[1] :]
    table = e + e @ w_e.T + step.concat_bias
    preselector = None if step.preselector is None else fold(step.preselector)
    return FoldedStep(base_of(step), table, w_x, tuple(step.up), tuple(step.down), step.out_projection, preselector)


def base_of(step: Step | StepWeights) -> Array:
    """What a step adds besides its network's output, [K, D]."""
    return step.codebook if step.outer_skip or not step.has_network else 0 * step.codebook
