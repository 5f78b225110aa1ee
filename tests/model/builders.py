"""Networks with random weights: nothing trained, every term of every equation at work."""

from typing import Any

import torch

from model.config import CodecConfig
from model.networks import QINCo2


def random_network(seed: int = 0, **sizes: Any) -> QINCo2:
    """A network of the given sizes, by default D = 12, M = 3, K = 8, with all parameters drawn at random."""
    defaults: dict[str, Any] = {
        "dim": 12,
        "steps": 3,
        "codewords": 8,
        "blocks": 2,
        "embedding": 6,
        "hidden": 10,
        "candidates": 4,
        "beam": 3,
    }
    network = QINCo2(CodecConfig(**{**defaults, **sizes}))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            spread = 1.0 if "codebook" in name or "preselection" in name or name == "centroids" else 0.3
            tensor.copy_(torch.randn(tensor.shape, generator=generator) * spread)
        network.std.fill_(2.5)
    return network


def random_vectors(network: QINCo2, n: int, seed: int = 1) -> torch.Tensor:
    """Vectors [n, D] in the network's units."""
    return torch.randn((n, network.config.dim), generator=torch.Generator().manual_seed(seed)) * 1.5
