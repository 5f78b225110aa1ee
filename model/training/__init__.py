"""From vectors to a checkpoint that carries all that search needs."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from model.checkpoint import ours
from model.codec import NetworkCodec
from model.config import preset_config
from model.networks import QINCo2
from model.training.data import TrainingData, prepare, read_vectors
from model.training.initialise import initial_network
from model.training.loop import Progress, Trainer
from model.training.recipe import Recipe
from model.training.resume import keep_while_training, state_path, take_up

__all__ = ["Progress", "Recipe", "read_vectors", "train"]

FIT_ROWS = 300_000
SHARE_FOR_FITTING = 0.1


def train(
    vectors: NDArray[np.generic],
    recipe: Recipe,
    out: Path,
    report: Callable[[str | Progress], None],
    resume: bool = False,
    device: str = "cpu",
) -> dict[str, Any]:
    """Train a codec on vectors [n, dim], write it to `out`, and say how good it is on vectors set apart.

    `report` is called with a sentence at each new stage and with Progress while the network trains. Once a minute the
    state is kept beside `out`; `resume` continues from there, on the same vectors by the same recipe.

    Raises InvalidTrainingData before time is spent.
    """
    began = time.monotonic()
    data = prepare(vectors, recipe.codewords, recipe.held_out, recipe.normalise, recipe.seed)
    n, dim = data.training.shape
    lists = list_count(n) if recipe.lists is None else recipe.lists
    config = replace(
        preset_config(recipe.preset, dim, recipe.steps, lists),
        codewords=recipe.codewords,
        candidates=recipe.candidates,
        beam=recipe.beam,
        preselection_blocks=recipe.preselection_blocks,
    )
    kept = take_up(state_path(out), recipe, data.fingerprint) if resume else None
    if kept is None:
        report(
            f"Making {lists} lists and a residual quantiser of {recipe.steps} steps from {n} vectors of {dim} numbers"
        )
        network = initial_network(config, data.training, recipe.seed)
        report("Training the network")
    else:
        network = QINCo2(config)
        network.load_state_dict(kept["network"])
        report("Resuming the training of the network")
    for progress in _trained(network.to(device), data, recipe, began, kept, state_path(out)):
        report(progress)
    network.cpu()
    _round_to_float16(network)
    report("Fitting the shortlist decoders")
    codec = _with_shortlist_decoders(network, data)
    quality = measure(codec, data.held_out)
    training = {
        "recipe": asdict(recipe),
        "data": {"vectors": n, "held_out": len(data.held_out), "sha256": data.fingerprint},
        "quality": quality,
        "seconds": round(time.monotonic() - began, 1),
    }
    ours.save(codec, out, training)
    state_path(out).unlink(missing_ok=True)
    return training


def list_count(n: int) -> int:
    """About 4 · √n IVF lists, a power of two."""
    return 1 << max(0, round(math.log2(4 * math.sqrt(n))))


def measure(codec: NetworkCodec, x: NDArray[np.float32]) -> dict[str, float]:
    """Mean squared error a vector of the three decoders on vectors [n, dim], in their own units."""
    codes = codec.encode(x)

    def mse(decoded: NDArray[np.float32]) -> float:
        return float(np.square(decoded - x).sum(axis=1).mean())

    return {
        "mse": mse(codec.decode(codes)),
        "mse_pairwise": mse(codec.decode_pairwise(codes)),
        "mse_additive": mse(codec.decode_additive(codes)),
    }


def _trained(
    network: QINCo2, data: TrainingData, recipe: Recipe, began: float, kept: dict[str, Any] | None, state: Path
) -> Iterator[Progress]:
    device = network.mean.device
    training = network.normalise(torch.from_numpy(data.training).to(device))
    held_out = network.normalise(torch.from_numpy(data.held_out).to(device))
    trainer = Trainer(network, training, held_out, recipe)
    if kept is not None:
        trainer.restore(kept)
    deadline_s = None
    if recipe.time_budget_s is not None:
        deadline_s = (1 - SHARE_FOR_FITTING) * recipe.time_budget_s - (time.monotonic() - began)
    with _fast_products():
        yield from keep_while_training(trainer, deadline_s, state, recipe, data.fingerprint)


@contextmanager
def _fast_products() -> Iterator[None]:
    """Let matrix products round their inputs to bfloat16 where the CPU multiplies it in hardware.

    Encoding is a third faster for it (AMX, D = 384, XS), at the same error to 0.01 %.
    """
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _round_to_float16(network: QINCo2) -> None:
    """Checkpoints keep float16; what follows is fitted to the network as it will be read back."""
    for name, tensor in network.state_dict().items():
        if name not in ("mean", "std"):
            tensor.copy_(tensor.half().float())


def _with_shortlist_decoders(network: QINCo2, data: TrainingData) -> NetworkCodec:
    return NetworkCodec(network).with_shortlist_decoders(data.training[:FIT_ROWS])
