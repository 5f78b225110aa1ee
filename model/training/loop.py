"""The training loop: encode a batch by beam search, decode it differentiably, follow the gradient.

QINCo2 (Vallaeys et al., ICLR 2025), section 3.3: AdamW, every step's reconstruction error in the loss, codes found
without gradient. What is ours: networks start at f = c, dead codewords are re-seeded from real residuals, one cosine.
"""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from model.kernels import folded
from model.networks import QINCo2, Step
from model.training.recipe import Recipe

CALIBRATION_BATCHES = 10
PROGRESS_S = 2.0
LAST_REVIVAL = 0.7
"""Share of the training after which dead codewords are left alone, so that what replaces them still settles."""


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


class Trainer:
    """A network in training: everything that the next step depends on, and nothing else.

    Trains in place on normalised vectors [n, D], wherever they are. `state` taken between two steps and restored in
    another process continues with the same losses as if nothing had happened.
    """

    def __init__(self, network: QINCo2, training: Tensor, held_out: Tensor, recipe: Recipe) -> None:
        self._network, self._training, self._held_out, self._recipe = network, training, held_out, recipe
        self._lists = _nearest_lists(network, training)
        self._held_out_lists = _nearest_lists(network, held_out)
        self._optimizer = torch.optim.AdamW(
            network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True
        )
        self._batch = min(recipe.batch, len(training))
        self._batches_an_epoch = len(training) // self._batch
        self._generator = torch.Generator().manual_seed(recipe.seed)
        self._order = torch.randperm(len(training), generator=self._generator)
        self._used = torch.zeros(len(network.steps), network.config.codewords, dtype=torch.int64)
        self._total = max(1, round(recipe.epochs * self._batches_an_epoch))
        self._done, self._mean_loss, self._dead = 0, 0.0, 0

    def run(self, deadline_s: float | None) -> Iterator[Progress]:
        """Train to the end; yields progress every few seconds, between two steps.

        deadline_s  seconds it may take, unless a state that was restored had settled the number of steps before
        """
        began = said = time.monotonic()
        first, settled = self._done, deadline_s is None or self._done >= CALIBRATION_BATCHES
        while self._done < self._total:
            if not settled and deadline_s is not None and self._done - first == CALIBRATION_BATCHES:
                self._total = max(self._done, int(self._done * deadline_s / (time.monotonic() - began)))
                settled = True
            self._train_on_next_batch()
            is_end_of_epoch = self._done % self._batches_an_epoch == 0
            if is_end_of_epoch or self._done == self._total or time.monotonic() - said > PROGRESS_S:
                said = time.monotonic()
                rate = (self._done - first) * self._batch / (said - began)
                yield self._progress(rate, is_end_of_epoch or self._done == self._total)

    def state(self) -> dict[str, Any]:
        """All that `restore` needs: tensors and plain values."""
        return {
            "network": self._network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "generator": self._generator.get_state(),
            "order": self._order,
            "used": self._used,
            "counts": [self._done, self._total, self._dead],
            "mean_loss": self._mean_loss,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue where `state` was taken."""
        self._network.load_state_dict(state["network"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._generator.set_state(state["generator"])
        self._order, self._used = state["order"], state["used"]
        self._done, self._total, self._dead = state["counts"]
        self._mean_loss = state["mean_loss"]

    def _train_on_next_batch(self) -> None:
        for group in self._optimizer.param_groups:
            group["lr"] = self._recipe.learning_rate * schedule(self._done / self._total, self._recipe.warmup)
        begin = self._done % self._batches_an_epoch * self._batch
        rows = self._order[begin : begin + self._batch].to(self._training.device)
        x, lists = self._training[rows], None if self._lists is None else self._lists[rows]
        loss, symbols = _step(self._network, x, lists, self._recipe, self._optimizer)
        for m, column in enumerate(symbols.cpu().unbind(1)):
            self._used[m] += torch.bincount(column, minlength=self._used.shape[1])
        self._mean_loss = loss if self._done == 0 else 0.98 * self._mean_loss + 0.02 * loss
        self._done += 1
        if self._done % self._batches_an_epoch == 0:
            self._end_epoch(x, lists, symbols)

    def _end_epoch(self, x: Tensor, lists: Tensor | None, symbols: Tensor) -> None:
        self._order = torch.randperm(len(self._training), generator=self._generator)
        self._dead = int((self._used == 0).sum())
        if self._done < LAST_REVIVAL * self._total:
            _revive(self._network, self._used, x, lists, symbols, self._generator)
        self._used.zero_()

    def _progress(self, vectors_per_s: float, with_error: bool) -> Progress:
        mse = error(self._network, self._held_out, self._held_out_lists, self._recipe) if with_error else None
        eta_s = (self._total - self._done) * self._batch / vectors_per_s
        epoch, epochs = self._done / self._batches_an_epoch, self._total / self._batches_an_epoch
        return Progress(epoch, epochs, self._mean_loss, mse, vectors_per_s, eta_s, self._dead)


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
            dead = (used[m] == 0).nonzero()[:, 0].to(x.device)
            donors = torch.randint(len(x), (len(dead),), generator=generator).to(x.device)
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
