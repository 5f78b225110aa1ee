"""The step networks of QINCo and QINCo2 in their plain form: every line is an equation of the paper.

QINCo2 (Vallaeys et al., ICLR 2025), equations 5 to 8. A vector is the sum of what M steps add; what step m adds is
its codeword, bent by a small network that sees what has been decoded so far:

    e   = P_i c                            P_i [D_e, D], absent when D_e = D
    z   = e + W [e; x̂] + b                 W [D_e, D_e + D]
    z   = z + V_l relu(U_l z)              l = 1..L, U_l [D_h, D_e], V_l [D_e, D_h]
    f   = c + P_o z                        P_o [D, D_e], absent when D_e = D

QINCo (Huijben et al., ICML 2024) is the same with D_e = D and without the codeword in the last line; in
QINCo-LR, W is the product of two matrices of low rank.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from model.config import CodecConfig
from model.weights import Weights, shallow


class Step(nn.Module):
    """One quantisation step: a codebook, and a network where something was decoded before it.

    codebook [K, D] · preselection [K, D], a second codebook that says which codewords are worth evaluating, or in its
    place a preselector, a step of its own with fewer blocks, that guesses what each codeword would add (section 3.2)
    """

    def __init__(self, config: CodecConfig, has_network: bool) -> None:
        super().__init__()
        K, D, D_e = config.codewords, config.dim, config.embedding
        self.has_network, self.outer_skip = has_network, config.outer_skip
        self.codebook = nn.Parameter(torch.zeros(K, D))
        if not has_network:
            return
        self.preselector: Step | None = None
        if config.candidates and config.preselection_blocks:
            self.preselector = Step(shallow(config), has_network=True)
        by_codebook = config.candidates > 0 and self.preselector is None
        self.preselection = nn.Parameter(torch.zeros(K, D)) if by_codebook else None
        self.in_projection = nn.Parameter(_kaiming(D_e, D)) if config.has_projection else None
        self.concat_weight = nn.Parameter(torch.zeros(D_e, D_e + D))
        self.concat_bias = nn.Parameter(torch.zeros(D_e))
        self.up = nn.ParameterList([_kaiming(config.hidden, D_e) for _ in range(config.blocks)])
        self.down = nn.ParameterList([torch.zeros(D_e, config.hidden) for _ in range(config.blocks)])
        # With P_o = 0 the network starts as f = c, the residual quantiser it is initialised from.
        self.out_projection = nn.Parameter(torch.zeros(D, D_e)) if config.has_projection else None

    def forward(self, codewords: Tensor, decoded: Tensor) -> Tensor:
        """What this step adds: codewords [n, D], decoded so far [n, D] → [n, D]."""
        if not self.has_network:
            return codewords
        e = codewords if self.in_projection is None else codewords @ self.in_projection.T
        z = e + torch.cat([e, decoded], dim=-1) @ self.concat_weight.T + self.concat_bias
        for up, down in zip(self.up, self.down, strict=True):
            z = z + torch.relu(z @ up.T) @ down.T
        added = z if self.out_projection is None else z @ self.out_projection.T
        return codewords + added if self.outer_skip else added

    @property
    def adds_twice(self) -> bool:
        """Whether a network that has learned nothing adds its codeword twice: e = c inside, and once more outside."""
        return self.has_network and self.outer_skip and self.out_projection is None

    def guesses(self, decoded: Tensor) -> Tensor:
        """What pre-selection takes each codeword to add after x̂ [..., D]: [..., K, D], or [K, D] for all alike."""
        if self.preselector is None:
            assert self.preselection is not None
            return self.preselection
        codebook = self.preselector.codebook
        shape = (*decoded.shape[:-1], *codebook.shape)
        return self.preselector.forward(codebook.expand(shape), decoded[..., None, :].expand(shape))


class QINCo2(nn.Module):
    """The whole network: M steps over normalised vectors x̃ = (x − mean) / std.

    mean [D] · std, one number · centroids [lists, D], normalised, the step before the first when there is IVF
    """

    mean: Tensor
    std: Tensor
    centroids: Tensor
    steps: Sequence[Step]

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("mean", torch.zeros(config.dim))
        self.register_buffer("std", torch.ones(()))
        self.register_buffer("centroids", torch.zeros(config.ivf_lists, config.dim))
        first = 0 if config.ivf_lists else 1  # the first step that has something decoded before it
        steps = nn.ModuleList(Step(config, has_network=m >= first) for m in range(config.steps))
        self.steps = cast(Sequence[Step], steps)

    @classmethod
    def of(cls, weights: Weights) -> "QINCo2":
        """The network of some weights, over the same memory where that is float32."""
        with torch.device("meta"):
            network = cls(weights.config)
        arrays = {
            name: array if name == "centroids" else np.asarray(array, np.float32)
            for name, array in weights.arrays.items()
        }
        network.load_state_dict({name: _over(array) for name, array in arrays.items()}, assign=True)
        return network

    def normalise(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.std

    def restore(self, x: Tensor) -> Tensor:
        return x * self.std + self.mean

    def start(self, lists: Tensor | None, n: int) -> Tensor:
        """x̂ before the first learned step: the lists' centroids, else nothing; [n, D]."""
        if lists is None:
            return self.mean.new_zeros(n, self.config.dim)
        return self.centroids[lists].float()  # of very many lists they are kept as float16

    def decode(self, codes: Tensor, steps: int | None = None) -> Tensor:
        """codes [n, M] ([n, 1 + M] with IVF), of which the first `steps` symbols count → x̂ [n, D], normalised."""
        lists, symbols = self.split(codes)
        decoded = self.start(lists, len(codes))
        for m in range(self.config.steps if steps is None else steps):
            step = self.steps[m]
            decoded = decoded + step.forward(step.codebook[symbols[:, m]], decoded)
        return decoded

    def prefix(self, steps: int) -> "QINCo2":
        """The network of the first `steps` steps, sharing their parameters."""
        with torch.device("meta"):
            network = QINCo2(replace(self.config, steps=steps))
        kept = network.state_dict().keys()
        network.load_state_dict({name: t for name, t in self.state_dict().items() if name in kept}, assign=True)
        return network

    def split(self, codes: Tensor) -> tuple[Tensor | None, Tensor]:
        """codes → the lists [n], None without IVF, and the symbols [n, M]."""
        if self.config.ivf_lists:
            return codes[:, 0], codes[:, 1:]
        return None, codes


def _over(array: NDArray[Any]) -> Tensor:
    return torch.from_numpy(np.require(array, requirements="W"))  # of others PyTorch warns; they are copied


def _kaiming(rows: int, columns: int) -> Tensor:
    """Uniform in ±√(6 / fan_in), He et al. 2015, as the reference initialises."""
    bound = math.sqrt(6 / columns)
    return torch.empty(rows, columns).uniform_(-bound, bound)
