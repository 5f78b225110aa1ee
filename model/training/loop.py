"""The training loop: encode a batch by beam search, decode it differentiably, follow the gradient.

QINCo2 (Vallaeys et al., ICLR 2025), section 3.3: AdamW, every step's reconstruction error in the loss, codes found
without gradient. What is ours: networks start at f = c, dead codewords are re-seeded from real residuals, one cosine.
"""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from model.kernels import folded
from model.networks import QINCo2, Step
from model.training.recipe import Recipe

CALIBRATION_BATCHES = 10


@dataclass(frozen=True)
class Progress:
    """Where training stands: epoch, epochs in all, mean loss of late, MSE on held-out vectors (normalised units)."""

    epoch: float
    epochs: float
    loss: float
    validation_mse: float | None
    vectors_per_s: float
    eta_s: float
    dead_codewords: int


def train_network(
    network: QINCo2, training: Tensor, held_out: Tensor, recipe: Recipe, deadline_s: float | None
) -> Iterator[Progress]:
    """Train in place on normalised vectors [n, D]; yields progress every few seconds.

    deadline_s  seconds it may take
    """
    n = len(training)
    batch = min(recipe.batch, n)
    lists = _nearest_lists(network, training)
    held_out_lists = _nearest_lists(network, held_out)
    decay = [p for p in network.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(decay, lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True)
    generator = torch.Generator().manual_seed(recipe.seed)
    batches_an_epoch = n // batch
    total = max(1, round(recipe.epochs * batches_an_epoch))
    used = torch.zeros(len(network.steps), network.config.codewords, dtype=torch.int64)
    order = torch.randperm(n, generator=generator)
    began = said = time.monotonic()
    mean_loss, dead, done = 0.0, 0, 0
    while done < total:
        if done == CALIBRATION_BATCHES and deadline_s is not None:
            total = max(done, int(done * deadline_s / (time.monotonic() - began)))
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate * schedule(done / total, recipe.warmup)
        position = done % batches_an_epoch
        rows = order[position * batch : (position + 1) * batch]
        x = training[rows]
        loss, symbols = _step(network, x, None if lists is None else lists[rows], recipe, optimizer)
        for m in range(len(network.steps)):
            used[m] += torch.bincount(symbols[:, m], minlength=used.shape[1])
        mean_loss = loss if done == 0 else 0.98 * mean_loss + 0.02 * loss
        done += 1
        end_of_epoch = done % batches_an_epoch == 0
        if end_of_epoch:
            order = torch.randperm(n, generator=generator)
            dead = int((used == 0).sum())
            if done < 0.7 * total:
                _revive(network, used, x, None if lists is None else lists[rows], symbols, generator)
            used.zero_()
        if end_of_epoch or done == total or time.monotonic() - said > 2:
            said = time.monotonic()
            rate = done * batch / (said - began)
            mse = error(network, held_out, held_out_lists, recipe) if end_of_epoch or done == total else None
            eta = (total - done) * batch / rate
            yield Progress(done / batches_an_epoch, total / batches_an_epoch, mean_loss, mse, rate, eta, dead)


def schedule(progress: float, warmup: float) -> float:
    """Share of the learning rate at a share of the training: a ramp, then half a cosine down to a thousandth."""
    if progress < warmup:
        return (progress + 1e-3) / (warmup + 1e-3)
    return 1e-3 + (1 - 1e-3) * 0.5 * (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup)))


def encode(network: QINCo2, x: Tensor, lists: Tensor | None, candidates: int, beam: int, block: int = 256) -> Tensor:
    """Codes of normalised vectors [n, D] by the network as it stands, without gradient."""
    with torch.no_grad():
        steps = [folded.fold(step) for step in network.steps]
        tables = [folded.encoding_tables(step) for step in network.steps]
        x_blocks = torch.split(x, block)
        list_blocks = [None] * len(x_blocks) if lists is None else torch.split(lists, block)
        return torch.cat(
            [
                folded.encode(network, steps, tables, part, part_lists, candidates, beam)
                for part, part_lists in zip(x_blocks, list_blocks, strict=True)
            ]
        )


def error(network: QINCo2, x: Tensor, lists: Tensor | None, recipe: Recipe) -> float:
    """Mean squared error a vector, normalised units: x [n, D]."""
    with torch.no_grad():
        codes = encode(network, x, lists, recipe.candidates, recipe.beam)
        steps = [folded.fold(step) for step in network.steps]
        return float((folded.decode(network, steps, codes) - x).square().sum(dim=1).mean())


def losses(network: QINCo2, x: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
    """The two sums of the loss: every step's reconstruction error, and every pre-selection's.

    Σ_m mean (x̂_m − x̃)²  and  Σ_m mean (x̂_{m−1} + g_m(i_m) − x̃)², x̂_{m−1} without gradient in the second.
    """
    lists, symbols = network.split(codes)
    decoded = network.start(lists, len(x))
    reconstruction, preselection = x.new_zeros(()), x.new_zeros(())
    for m, step in enumerate(network.steps):
        if (guess := _guess(step, symbols[:, m], decoded.detach())) is not None:
            preselection = preselection + (decoded.detach() + guess - x).square().mean()
        decoded = decoded + folded.decode_step(folded.fold(step), symbols[:, m], decoded)
        reconstruction = reconstruction + (decoded - x).square().mean()
    return reconstruction, preselection


def _guess(step: Step, symbols: Tensor, decoded: Tensor) -> Tensor | None:
    """What pre-selection takes the codewords [n] to add after x̂ [n, D]; None where all codewords are tried."""
    if not step.has_network:
        return None
    if step.preselector is not None:
        return folded.decode_step(folded.fold(step.preselector), symbols, decoded)
    return None if step.preselection is None else step.preselection[symbols]


def _step(
    network: QINCo2, x: Tensor, lists: Tensor | None, recipe: Recipe, optimizer: torch.optim.Optimizer
) -> tuple[float, Tensor]:
    codes = encode(network, x, lists, recipe.candidates, recipe.beam)
    reconstruction, preselection = losses(network, x, codes)
    optimizer.zero_grad(set_to_none=True)
    torch.autograd.backward(reconstruction + preselection)
    for parameter in network.parameters():
        if parameter.grad is not None:
            parameter.grad.clamp_(-recipe.gradient_limit, recipe.gradient_limit)
    optimizer.step()
    return float(reconstruction.detach()), network.split(codes)[1]


def _revive(
    network: QINCo2, used: Tensor, x: Tensor, lists: Tensor | None, symbols: Tensor, generator: torch.Generator
) -> None:
    """Give codewords that no vector chose for an epoch the residual of a random vector of the last batch."""
    with torch.no_grad():
        decoded = network.start(lists, len(x))
        for m, step in enumerate(network.steps):
            dead = (used[m] == 0).nonzero()[:, 0]
            donors = torch.randint(len(x), (len(dead),), generator=generator)
            residuals = (x - decoded)[donors]
            decoded = decoded + folded.decode_step(folded.fold(step), symbols[:, m], decoded)
            halved = step.has_network and step.out_projection is None
            step.codebook[dead] = residuals / 2 if halved else residuals
            if step.has_network and step.preselection is not None:
                step.preselection[dead] = residuals
            if step.has_network and step.preselector is not None:
                step.preselector.codebook[dead] = step.codebook[dead]


def _nearest_lists(network: QINCo2, x: Tensor) -> Tensor | None:
    if not network.config.ivf_lists:
        return None
    norms = network.centroids.square().sum(dim=1)
    blocks = [torch.addmm(norms, block, network.centroids.T, alpha=-2).argmin(dim=1) for block in torch.split(x, 4096)]
    return torch.cat(blocks)
