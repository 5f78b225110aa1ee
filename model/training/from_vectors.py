"""From vectors to a checkpoint that carries all that search needs."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from model.checkpoint import ours
from model.errors import InvalidTrainingData
from model.networks import QINCo2
from model.training.data import Rows, TrainingData, prepare
from model.training.finish import baselines_beside, finish
from model.training.initialise import initial_network
from model.training.loop import Trainer
from model.training.low_rank import factorise, multiply_out
from model.training.memory import available_bytes
from model.training.peers import ALONE, Peers
from model.training.progress import Progress
from model.training.recipe import Recipe
from model.training.resume import state_path, take_up, train_and_keep
from model.training.state_file import remove_state
from model.training.supply import batches, held_out

Report = Callable[[str | Progress], None]

SHARE_FOR_FITTING = 0.1
"""Of a time budget, to measure the codec and fit its shortlist decoders."""


def train(
    vectors: Rows,
    recipe: Recipe,
    out: Path,
    report: Report,
    resume: bool = False,
    device: str = "cpu",
    memory_bytes: int | None = None,
    with_baselines: bool = False,
    state_part_bytes: int | None = None,
    peers: Peers = ALONE,
) -> dict[str, Any]:
    """Train a codec on vectors [n, dim], write it to `out`, and say how good it is on vectors set apart.

    Returns what the checkpoint tells of its training: recipe, data, quality, every step's figures, the course of the
    training, seconds. `write_report` makes a page of it.

    report   called from the calling thread with a sentence at each new stage (one for each codebook that k-means
             makes), and with Progress every two seconds while the network trains. **Whatever it raises ends the
             training there and passes through**: so a job is cancelled. Nothing is at `out` then; the state of the
             network's training, if that had begun, is at `state_path(out)`, for `resume` or `remove_state`.
    resume   continue from that state, on the same vectors by the same recipe; it is also kept once a minute, so that a
             kill loses no more
    memory_bytes  what training may take, by default half of what is available; vectors that do not fit stay in their
             file, and their blocks are read as they are needed
    with_baselines  train and measure Faiss' PQ, OPQ, RQ and LSQ of as many symbols too, beyond any time budget
    state_part_bytes  keep the state in parts of at most so many bytes; either kind is resumed from
    peers    the processes that train together (`peers.joined`), each of which calls this with the same arguments on its
             own device; the first alone reports, writes and measures, the others return {} once the network is trained
    Time is bounded by `recipe.time_budget_s`. Threads are PyTorch's and Faiss' of the calling process: who serves
    meanwhile should train in a process of its own, with few threads and a low priority (`os.nice`).

    Raises InvalidTrainingData before time is spent.
    """
    began = time.monotonic()
    _check_shares(recipe, peers)
    spool = out.with_name(f".{out.name}.vectors" + (f".{peers.rank}" if peers.rank else ""))
    if not peers.is_first:
        report = _quietly
    try:
        memory_bytes = available_bytes() // 2 if memory_bytes is None else memory_bytes
        data = prepare(vectors, recipe, spool, int(peers.of_the_first(memory_bytes)) // peers.count)
        kept = take_up(state_path(out), recipe, data.fingerprint) if resume else None
        network = _first_network(data, recipe, kept, peers, report).to(device)
        peers.take_the_firsts(network)
        budget_s = None
        if recipe.time_budget_s is not None:
            spent_s = peers.of_the_first(0 if kept else time.monotonic() - began)
            budget_s = (1 - SHARE_FOR_FITTING) * recipe.time_budget_s - spent_s
        trainer = Trainer(network, batches(data, network, recipe), held_out(data, network), recipe, peers)
        if kept is not None:
            trainer.restore(kept)
            began -= trainer.elapsed_s
        with _fast_products():
            keep_at = state_path(out) if peers.is_first else None
            train_and_keep(trainer, budget_s, keep_at, recipe, data.fingerprint, report, state_part_bytes)
    finally:
        spool.unlink(missing_ok=True)
    if not peers.is_first:
        return {}
    multiply_out(network)
    codec, training = finish(network, trainer, data, recipe, began, report)
    if with_baselines:
        training["baselines"] = baselines_beside(data, recipe, training["quality"], report)
    training["seconds"] = round(time.monotonic() - began, 1)
    ours.save(codec, out, training)
    remove_state(state_path(out))
    return training


def _quietly(news: str | Progress) -> None:
    pass


def _check_shares(recipe: Recipe, peers: Peers) -> None:
    if recipe.batch % peers.count:
        raise InvalidTrainingData(
            f"A batch of {recipe.batch} vectors is not to be shared out evenly to {peers.count} processes: "
            "choose another number of either."
        )


def _first_network(
    data: TrainingData, recipe: Recipe, kept: dict[str, Any] | None, peers: Peers, report: Report
) -> QINCo2:
    """What training begins with, or goes on with; only the first process makes it, for the others to take."""
    config = recipe.configuration(data.rows, data.dim)
    if kept is None and peers.is_first:
        report(
            f"Making {config.ivf_lists} lists and a residual quantiser of {recipe.steps} steps "
            f"from {data.rows} vectors of {data.dim} numbers"
        )
        network = initial_network(config, data.sample, recipe.seed, report)
        if recipe.family == "QINCo-LR":
            factorise(network)
        report("Training the network")
        return network
    network = QINCo2(config)
    if recipe.family == "QINCo-LR":
        factorise(network)
    if kept is None:
        return network
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
