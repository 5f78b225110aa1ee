"""From vectors to a checkpoint that carries all that search needs."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from model.checkpoint import ours
from model.codec import NetworkCodec
from model.networks import QINCo2
from model.training.data import Rows, TrainingData, prepare
from model.training.initialise import initial_network
from model.training.loop import Trainer
from model.training.progress import Progress
from model.training.recipe import Recipe, list_count
from model.training.resume import state_path, take_up, train_and_keep
from model.training.supply import batches, held_out

__all__ = ["Progress", "Recipe", "Rows", "list_count", "state_path", "train"]

Report = Callable[[str | Progress], None]

FIT_ROWS = 300_000
SHARE_FOR_FITTING = 0.1


def train(
    vectors: Rows,
    recipe: Recipe,
    out: Path,
    report: Report,
    resume: bool = False,
    device: str = "cpu",
    memory_bytes: int | None = None,
) -> dict[str, Any]:
    """Train a codec on vectors [n, dim], write it to `out`, and say how good it is on vectors set apart.

    Returns what the checkpoint tells of its training: recipe, data, quality, seconds.

    report   called from the calling thread with a sentence at each new stage (one for each codebook that k-means
             makes), and with Progress every two seconds while the network trains. **Whatever it raises ends the
             training there and passes through**: so a job is cancelled. Nothing is at `out` then; the state of the
             network's training, if that had begun, is at `state_path(out)`, for `resume` or to be deleted.
    resume   continue from that state, on the same vectors by the same recipe; it is also kept once a minute, so that a
             kill loses no more
    memory_bytes  what training may take, by default half of what is available; vectors that do not fit stay in their
             file, and their blocks are read as they are needed
    Time is bounded by `recipe.time_budget_s`. Threads are PyTorch's and Faiss' of the calling process: who serves
    meanwhile should train in a process of its own, with few threads and a low priority (`os.nice(19)`).

    Raises InvalidTrainingData before time is spent.
    """
    began = time.monotonic()
    spool = out.with_name(f".{out.name}.vectors")
    try:
        data = prepare(vectors, recipe, spool, memory_bytes)
        kept = take_up(state_path(out), recipe, data.fingerprint) if resume else None
        network = _first_network(data, recipe, kept, report).to(device)
        budget_s = None
        if recipe.time_budget_s is not None:
            budget_s = (1 - SHARE_FOR_FITTING) * recipe.time_budget_s - (0 if kept else time.monotonic() - began)
        trainer = Trainer(network, batches(data, network, recipe), held_out(data, network), recipe)
        if kept is not None:
            trainer.restore(kept)
        with _fast_products():
            train_and_keep(trainer, budget_s, state_path(out), recipe, data.fingerprint, report)
    finally:
        spool.unlink(missing_ok=True)
    network.cpu()
    _round_to_float16(network)
    report("Fitting the shortlist decoders")
    codec = NetworkCodec(network).with_shortlist_decoders(data.sample[:FIT_ROWS])
    training = {
        "recipe": asdict(recipe),
        "data": {"vectors": data.rows, "held_out": len(data.held_out), "sha256": data.fingerprint},
        "quality": measure(codec, data.held_out),
        "seconds": round(time.monotonic() - began, 1),
    }
    ours.save(codec, out, training)
    state_path(out).unlink(missing_ok=True)
    return training


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


def _first_network(data: TrainingData, recipe: Recipe, kept: dict[str, Any] | None, report: Report) -> QINCo2:
    config = recipe.configuration(data.rows, data.dim)
    if kept is None:
        report(
            f"Making {config.ivf_lists} lists and a residual quantiser of {recipe.steps} steps "
            f"from {data.rows} vectors of {data.dim} numbers"
        )
        network = initial_network(config, data.sample, recipe.seed, report)
        report("Training the network")
        return network
    network = QINCo2(config)
    network.load_state_dict(kept["network"])
    report("Resuming the training of the network")
    return network


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
