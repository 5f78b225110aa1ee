"""A training ends by its time, or when it learns nothing more, with the best weights that there were."""

import itertools
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from model.training import Recipe, loop
from model.training.batches import Batch, BatchesInMemory
from model.training.best import Best
from model.training.initialise import initial_network
from model.training.loop import Trainer
from model.training.patience import VALIDATIONS, Patience
from model.training.progress import Progress
from model.training.report import markdown
from tests.builders import clustered
from tests.model.trained import SMALL, trained


def test_a_training_that_only_does_harm_keeps_what_it_began_with(tmp_path):
    recipe = Recipe(**{**vars(SMALL), "learning_rate": 1.0, "epochs": 2})
    summary, said, _ = trained(recipe, clustered(2000), tmp_path)
    assert summary["kept_at"] == 0
    assert summary["quality"]["mse"] == pytest.approx(summary["start_mse"], rel=0.05)
    worst = max(news.training_mse for news in said if isinstance(news, Progress))
    assert worst > 1.2 * summary["start_mse"]
    assert "did not improve on the residual quantiser" in markdown(summary, "codec.safetensors", "plots.png")


def test_a_training_that_learns_its_vectors_by_heart_ends_early_with_what_it_knew_before(tmp_path):
    """Noise has nothing in it that serves others."""
    x = np.random.default_rng(0).normal(size=(400, 16)).astype(np.float32)
    summary, said, _ = trained(replace(SMALL, epochs=100, learning_rate=0.02, batch=64), x, tmp_path)
    assert summary["ended_early"]
    progress = [news for news in said if isinstance(news, Progress)]
    assert progress[-1].epoch < 90
    assert progress[-1].done == 1
    assert progress[-1].training_mse < progress[-1].validation_mse
    assert progress[-1].validation_mse <= summary["start_mse"]
    assert "ended before its time" in markdown(summary, "codec.safetensors", "plots.png")


def test_weights_are_kept_as_long_as_none_are_better():
    network, best = torch.nn.Linear(1, 1, bias=False), Best()
    for batches, (weight, mse) in enumerate([(1.0, 5.0), (2.0, 3.0), (3.0, 4.0)]):
        torch.nn.init.constant_(network.weight, weight)
        best.offer(network, mse, batches)
    taken_up = Best()
    taken_up.restore(best.state())
    taken_up.put_back(network)
    assert (network.weight.item(), taken_up.mse, taken_up.at) == (2.0, 3.0, 1)


def test_patience_runs_out_when_nothing_is_learned_for_long_and_starts_anew_when_something_is():
    patience = Patience()
    for mse in [9.0, 8.0] + [8.5] * (VALIDATIONS - 1) + [7.0] + [7.0] * (VALIDATIONS - 1):
        patience.hear(mse, share=0.1)
        assert not patience.has_run_out
    taken_up = Patience()
    taken_up.restore(patience.state())
    taken_up.hear(7.5, share=0.1)
    assert taken_up.has_run_out


def test_patience_lasts_for_a_fifth_of_a_training():
    patience = Patience()
    for _ in range(20):
        patience.hear(1.0, share=0.01)
        assert not patience.has_run_out
    patience.hear(1.0, share=0.01)
    assert patience.has_run_out


def test_a_time_budget_is_kept(monkeypatch):
    """Hours' worth of epochs, on a clock by which every batch takes 10 ms."""
    ticks = itertools.count()
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: next(ticks) / 100))
    recipe = replace(SMALL, epochs=10_000)
    x = clustered(2000)
    network = initial_network(recipe.configuration(len(x), 16), x, seed=0)
    batches = BatchesInMemory(network.normalise(torch.from_numpy(x)), None, SMALL.batch, seed=0)
    apart = Batch(network.normalise(torch.from_numpy(clustered(200, seed=1))), None)
    said = list(Trainer(network, batches, apart, recipe).run(budget_s=0.5))
    assert said[-1].elapsed_s == pytest.approx(0.5, abs=0.02)
    assert (said[-1].done, said[-1].eta_s) == (1, 0)
