"""Training data as the network takes it: normalised batches with their lists, from memory or from a file."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.networks import QINCo2
from model.training.batches import Batch, Batches, BatchesFromFile, BatchesInMemory
from model.training.data import COPIES, TrainingData
from model.training.objective import nearest_lists
from model.training.recipe import Recipe

BLOCK_ROWS = 65_536


def batches(data: TrainingData, network: QINCo2, recipe: Recipe) -> Batches:
    """Batches of what a codec is trained on, on the network's device."""
    if data.is_in_memory:
        x = normalised(network, data.training[:])
        return BatchesInMemory(x, nearest_lists(network, x), recipe.batch, recipe.seed)

    def read(begin: int, end: int) -> Tensor:
        return normalised(network, data.rows_between(begin, end))

    pool_rows = data.memory_bytes // (COPIES * 4 * data.dim)
    lists = lambda x: nearest_lists(network, x)  # noqa: E731
    return BatchesFromFile(read, lists, data.training.shape[0], recipe.batch, recipe.seed, pool_rows)


def held_out(data: TrainingData, network: QINCo2) -> Batch:
    """The vectors set apart."""
    x = normalised(network, data.held_out)
    return Batch(x, nearest_lists(network, x))


def normalised(network: QINCo2, rows: NDArray[np.float32]) -> Tensor:
    """x̃ of vectors [n, D], block by block, so that no more than the result is held."""
    x = torch.empty(rows.shape, device=network.mean.device)
    for begin in range(0, len(rows), BLOCK_ROWS):
        block = torch.from_numpy(rows[begin : begin + BLOCK_ROWS]).to(x.device)
        x[begin : begin + BLOCK_ROWS] = network.normalise(block)
    return x
