"""The training loop: take a batch and the codes that beam search found, decode them differentiably, and step.

QINCo2 (Vallaeys et al., ICLR 2025), section 3.3: AdamW, every step's reconstruction error in the loss. What is ours:
networks start at f = c, dead codewords are re-seeded from real residuals, one cosine.
"""

import math
import time
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from model.networks import QINCo2
from model.training.batches import Batch, Batches
from model.training.best import Best
from model.training.codes_ahead import CodesAhead
from model.training.objective import error, losses
from model.training.optimizer import AdamW
from model.training.patience import Patience
from model.training.peers import ALONE, Peers
from model.training.progress import Progress
from model.training.recipe import Recipe
from model.training.revival import revive
from model.training.schedule import share_of_rate

CALIBRATION_BATCHES = 10
PROGRESS_S = 2.0
MEMORY = 0.98
"""Of the running means, from batch to batch."""

LAST_REVIVAL = 0.7
"""Share of the training after which dead codewords are left alone, so that what replaces them still settles."""

CENSUS_VECTORS = 1_000_000
"""Codewords are counted over an epoch, or so many vectors if that is less."""

VALIDATION_SHARE = 0.05
"""Vectors set apart that are encoded to measure their error, at most, for each vector trained on."""

VALIDATION_ROWS = 2048


class Trainer:
    """A network in training: everything that the next step depends on, and nothing else.

    Trains in place. `state` taken between two steps and restored in another process continues with the same losses as
    if nothing had happened.
    """

    def __init__(
        self, network: QINCo2, batches: Batches, held_out: Batch, recipe: Recipe, peers: Peers = ALONE
    ) -> None:
        self._network, self._batches, self._recipe, self._peers = network, batches, recipe, peers
        self._optimizer = AdamW(
            network.parameters(), lr=recipe.highest_rate, weight_decay=recipe.weight_decay, fused=True
        )
        self._used = torch.zeros(len(network.steps), network.config.codewords, dtype=torch.int64)
        self._dead: tuple[int, ...] = ()
        self._census = min(batches.an_epoch, max(1, CENSUS_VECTORS * batches.an_epoch // batches.rows))
        self._total = max(1, round(recipe.epochs * batches.an_epoch))
        self._done, self._seconds = 0, 0.0
        rows = min(VALIDATION_ROWS, len(held_out.x)) // peers.count * peers.count
        self._apart = held_out.rows(slice(rows))
        a_batch = batches.rows / batches.an_epoch
        self._validate_every = math.ceil(len(self._apart.x) / VALIDATION_SHARE / a_batch)
        self._loss, self._errors = 0.0, torch.zeros(len(network.steps))
        self._validation: float | None = None
        self._start_mse: float | None = None
        self._best = Best()
        self._patience = Patience()
        self._codes = CodesAhead(network, batches, peers)
        self.history: list[Progress] = []

    @property
    def elapsed_s(self) -> float:
        """Seconds of training so far, those before an interruption included."""
        return self._seconds

    @property
    def errors(self) -> Tensor:
        """Running mean of the squared error a vector after each step, float32 [M], in the vectors' own units."""
        return self._errors * self._units

    @property
    def start_mse(self) -> float | None:
        """Squared error a vector, on vectors set apart, of the residual quantiser that training began from."""
        return self._start_mse

    @property
    def kept_at(self) -> float:
        """The share of the training that was done when the weights were as they are now, 0 to 1."""
        return self._best.at / max(1, self._done)

    @property
    def has_ended_early(self) -> bool:
        """Whether it ended since error on vectors set apart did not fall any more."""
        return self._patience.has_run_out

    def run(self, budget_s: float | None) -> Iterator[Progress]:
        """Train to the end; yields progress every few seconds and at the end of an epoch, between two steps.

        The network then has the weights of least error on vectors set apart, which may be those it began with. Where
        that error has not fallen for long (`patience`), the end is there.

        budget_s  seconds that all of it may take, those before an interruption included; it then settles the epochs
        """
        first, began, before = self._done, time.monotonic(), self._seconds
        said = began
        if not self._done:
            self._start_mse = self._validate()
        while self._done < self._total:
            self._train_on(*self._codes.next(self._done, self._done / self._total))
            now = time.monotonic()
            self._seconds = self._peers.of_the_first(before + now - began)
            if budget_s is not None and self._done - first >= CALIBRATION_BATCHES:
                self._settle(budget_s)
            if self._done >= self._total or self._done % self._validate_every == 0:
                self._patience.hear(self._validate(), self._validate_every / self._total)
                if self._patience.has_run_out:
                    self._total = self._done
            is_epoch, is_end = self._done % self._batches.an_epoch == 0, self._done >= self._total
            if is_end:
                self._best.put_back(self._network)
                self._validation = self._best.mse
            if is_epoch or is_end or now - said > PROGRESS_S:
                said = now
                rate = (self._done - first) * self._batches.rows / self._batches.an_epoch / (now - began)
                self.history.append(self._progress(rate))
                yield self.history[-1]

    def state(self) -> dict[str, Any]:
        """All that `restore` needs: tensors and plain values."""
        return {
            "network": self._network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "used": self._used,
            "errors": self._errors,
            "counts": [self._done, self._total],
            "dead": list(self._dead),
            "numbers": [self._loss, self._seconds, self._validation, self._start_mse],
            "best": self._best.state(),
            "patience": self._patience.state(),
            "ahead": self._codes.state(),
            "history": [list(vars(one).values()) for one in self.history],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue where `state` was taken."""
        self._network.load_state_dict(state["network"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._used, self._errors = state["used"], state["errors"]
        self._done, self._total = state["counts"]
        self._dead = tuple(state["dead"])
        self._loss, self._seconds, self._validation, self._start_mse = state["numbers"]
        self._best.restore(state["best"])
        self._patience.restore(state["patience"])
        self._codes.restore(state["ahead"], self._done)
        self.history = [Progress(*values) for values in state["history"]]

    def _train_on(self, batch: Batch, codes: Tensor) -> None:
        share = self._done / self._total
        for group in self._optimizer.param_groups:
            group["lr"] = self._recipe.highest_rate * share_of_rate(self._recipe.schedule, share, self._recipe.warmup)
        own = batch.rows(self._peers.slice)
        found = losses(self._network, own.x, codes[self._peers.slice])
        self._optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(found.total)
        gradients = [parameter.grad for parameter in self._network.parameters() if parameter.grad is not None]
        errors = found.steps.detach()
        self._peers.average([*gradients, errors])
        for gradient in gradients:
            gradient.clamp_(-self._recipe.gradient_limit, self._recipe.gradient_limit)
        self._optimizer.step()
        self._remember(errors.cpu())
        self._count(batch, codes)

    def _remember(self, errors: Tensor) -> None:
        memory = MEMORY if self._done else 0.0
        self._errors = memory * self._errors + (1 - memory) * errors
        self._loss = memory * self._loss + (1 - memory) * float(errors.sum())
        self._done += 1

    def _count(self, batch: Batch, codes: Tensor) -> None:
        """Count which codewords are chosen, and now and then revive those that are not."""
        for m, column in enumerate(self._network.split(codes)[1].cpu().unbind(1)):
            self._used[m] += torch.bincount(column, minlength=self._used.shape[1])
        if self._done % self._census:
            return
        self._dead = tuple((self._used == 0).sum(dim=1).tolist())
        if self._done < LAST_REVIVAL * self._total:
            generator = torch.Generator().manual_seed(self._recipe.seed + self._done)
            revive(self._network, self._used, batch.x, codes, generator)
        self._used.zero_()

    def _settle(self, budget_s: float) -> None:
        """As many batches as fit in the budget at the speed so far, which other work on the machine may change."""
        self._total = max(self._done, int(self._done * budget_s / self._seconds))

    def _validate(self) -> float:
        config, own = self._network.config, self._apart.rows(self._peers.slice)
        share = error(self._network, own.x, own.lists, config.candidates, config.beam)
        normalised = float(self._peers.together(torch.tensor([share], dtype=torch.float64)).mean())
        mse = self._validation = normalised * float(self._network.std) ** 2
        self._best.offer(self._network, mse, self._done)
        return mse

    def _progress(self, vectors_per_s: float) -> Progress:
        a_batch = self._batches.rows / self._batches.an_epoch
        return Progress(
            epoch=self._done / self._batches.an_epoch,
            epochs=self._total / self._batches.an_epoch,
            loss=self._loss,
            training_mse=float(self.errors[-1]),
            validation_mse=self._validation,
            vectors_per_s=vectors_per_s,
            eta_s=(self._total - self._done) * a_batch / vectors_per_s,
            elapsed_s=self._seconds,
            dead_codewords=self._dead,
            codewords=self._network.config.codewords,
        )

    @property
    def _units(self) -> float:
        """From a mean over dimensions in normalised units to the sum over them in the vectors' own."""
        return self._network.config.dim * float(self._network.std) ** 2
