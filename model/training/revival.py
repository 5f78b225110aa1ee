"""Codewords that no vector chooses are put where vectors are: on the residual of a random one.

QINCo2's authors draw them from a box around the mean residual, which on SIFT revives almost none.
"""

import torch
from torch import Tensor

from model.kernels import folded, folding
from model.networks import QINCo2


def revive(network: QINCo2, used: Tensor, x: Tensor, codes: Tensor, generator: torch.Generator) -> None:
    """Change codewords in place whose count used [M, K] is 0; donors are the vectors x [n, D] with their codes."""
    with torch.no_grad():
        lists, symbols = network.split(codes)
        decoded = network.start(lists, len(x))
        for m, step in enumerate(network.steps):
            dead = (used[m] == 0).nonzero()[:, 0].to(x.device)
            donors = torch.randint(len(x), (len(dead),), generator=generator).to(x.device)
            residuals = (x - decoded)[donors]
            decoded = decoded + folded.decode_step(folding.fold(step), symbols[:, m], decoded)
            step.codebook[dead] = residuals / 2 if step.adds_twice else residuals
            if step.has_network and step.preselection is not None:
                step.preselection[dead] = residuals
            if step.has_network and step.preselector is not None:
                step.preselector.codebook[dead] = step.codebook[dead]
