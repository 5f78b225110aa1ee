"""QINCo-LR while it trains: each step's concatenation is a product of two matrices of rank h, without a bias.

QINCo (Huijben et al., ICML 2024), section 4: z_0 = c + W_2 W_1 [c; x̂], with h the width of the residual blocks. Nothing
lies between the two, so checkpoints hold their product.
"""

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from model.networks import QINCo2


def factorise(network: QINCo2) -> None:
    """Replace each concatenation by a product that starts at zero: W_2 = 0, W_1 uniform as any other layer's."""
    for step in _steps(network):
        parametrize.register_parametrization(step, "concat_weight", _Product(network.config.hidden), unsafe=True)
        step.concat_bias.requires_grad_(False)


def multiply_out(network: QINCo2) -> None:
    """Put the product of each pair of matrices in their place."""
    for step in _steps(network):
        if parametrize.is_parametrized(step, "concat_weight"):
            parametrize.remove_parametrizations(step, "concat_weight", leave_parametrized=True)


def _steps(network: QINCo2) -> list[nn.Module]:
    return [step for step in network.steps if step.has_network]


class _Product(nn.Module):
    def __init__(self, rank: int) -> None:
        super().__init__()
        self._rank = rank

    def forward(self, second: Tensor, first: Tensor) -> Tensor:
        """W_2 [D_e, h] · W_1 [h, D_e + D]."""
        return second @ first

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Where the two start, whatever the weight was."""
        bound = weight.shape[1] ** -0.5
        first = torch.empty(self._rank, weight.shape[1]).uniform_(-bound, bound)
        return weight.new_zeros(weight.shape[0], self._rank), first.to(weight)
