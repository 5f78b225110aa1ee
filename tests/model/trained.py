"""A training small enough for a test, and what comes of it."""

import torch

from model import load_codec
from model.training import Recipe, train
from model.training.progress import Progress

SMALL = Recipe(steps=4, codewords=16, preset="XS", lists=0, epochs=4, batch=128)


def trained(recipe: Recipe, x, tmp_path):
    """Its summary, what was said meanwhile, and the codec, read back."""
    said: list[str | Progress] = []
    summary = train(x, recipe, tmp_path / "codec.safetensors", said.append)
    return summary, said, load_codec(tmp_path / "codec.safetensors")


def list_of(network, x):
    """The list of each vector [n, dim] in the network's units; None without IVF."""
    return torch.cdist(x, network.centroids).argmin(dim=1) if network.config.ivf_lists else None
