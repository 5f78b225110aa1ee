"""What a training does in each step: losses, learning rate, optimizer; what it tells meanwhile."""

import json
import pickle
import sys

import pytest
import torch

from model.training import list_count
from model.training.objective import losses
from model.training.optimizer import NOTED, AdamW
from model.training.progress import Progress
from model.training.schedule import cosine
from tests.builders import clustered
from tests.model.builders import random_network, random_vectors
from tests.model.trained import SMALL, trained


def test_the_loss_follows_every_step_and_the_preselection():
    network = random_network()
    x = random_vectors(network, 30)
    codes = torch.randint(0, 8, (30, 3))
    found = losses(network, x, codes)
    with torch.no_grad():
        prefixes = [network.decode(codes, steps) for steps in (1, 2, 3)]
        expected = torch.stack([(prefix - x).square().mean() for prefix in prefixes])
        guessed = [
            prefixes[m - 1] + step.preselection[codes[:, m]] for m, step in enumerate(network.steps) if step.has_network
        ]
    torch.testing.assert_close(found.steps, expected)
    torch.testing.assert_close(found.preselection, sum((guess - x).square().mean() for guess in guessed))
    found.preselection.backward()
    assert network.steps[0].codebook.grad is None


def test_the_learning_rate_climbs_and_then_falls_to_a_thousandth():
    rates = [cosine(progress / 100, warmup=0.05) for progress in range(101)]
    assert rates[0] < 0.05
    assert max(rates) == pytest.approx(1.0)
    assert rates[5:] == sorted(rates[5:], reverse=True)
    assert rates[-1] == pytest.approx(1e-3)


def test_the_optimizer_updates_as_pytorchs_does_and_its_state_fits_either():
    def losses_of(first, second):
        torch.manual_seed(0)
        network = torch.nn.Linear(5, 3)
        x, optimizer, told = torch.randn(20, 5), first(network.parameters(), lr=0.01, fused=True), []
        for turn in range(8):
            if turn == 4:
                state = optimizer.state_dict()
                optimizer = second(network.parameters(), lr=0.01, fused=True)
                optimizer.load_state_dict(state)
            optimizer.zero_grad()
            loss = network(x).square().sum()
            loss.backward()
            optimizer.step()
            told.append(loss.item())
        return told

    theirs = torch.optim.AdamW
    expected = losses_of(theirs, theirs)
    assert expected[-1] < expected[0]
    assert losses_of(AdamW, AdamW) == losses_of(AdamW, theirs) == losses_of(theirs, AdamW) == expected


def test_the_optimizer_does_not_import_what_compiles_networks(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch._dynamo", None)  # an import fails
    for method in vars(torch.optim.Optimizer).values():
        monkeypatch.delattr(getattr(method, "__wrapped__", None), NOTED, raising=False)
    network = torch.nn.Linear(5, 3)
    optimizer = AdamW(network.parameters(), fused=True)
    network(torch.ones(1, 5)).sum().backward()
    optimizer.step()
    optimizer.load_state_dict(optimizer.state_dict())
    optimizer.zero_grad()
    with pytest.raises(ImportError):
        torch.optim.AdamW(network.parameters()).step()


def test_progress_tells_all_figures_and_goes_through_pipes_and_json(tmp_path):
    _, said, _ = trained(SMALL, clustered(3000), tmp_path)
    last = [news for news in said if isinstance(news, Progress)][-1]
    assert (last.epoch, last.done, last.codewords, len(last.dead_codewords)) == (last.epochs, 1.0, 16, 4)
    assert last.validation_mse is not None
    assert 0 < last.training_mse < 2 * last.validation_mse
    assert last.vectors_per_s > 0
    assert last.elapsed_s > 0
    assert pickle.loads(pickle.dumps(last)) == last
    assert json.loads(json.dumps(vars(last)))["loss"] == last.loss


def test_dead_codewords_are_warned_of_when_they_are_more_than_a_fifth():
    figures = dict.fromkeys(("epoch", "epochs", "loss", "training_mse", "vectors_per_s", "eta_s", "elapsed_s"), 1.0)
    assert Progress(**figures, validation_mse=None, dead_codewords=(51, 0), codewords=256).warning is None
    warning = Progress(**figures, validation_mse=None, dead_codewords=(60, 99, 0), codewords=256).warning
    assert warning.startswith("99 of 256 codewords of step 2, and more than a fifth in 2 steps, are chosen by no")


@pytest.mark.parametrize(("n", "lists"), [(1, 4), (20_000, 512), (91_611, 1024), (10**6, 4096)])
def test_lists_number_about_four_times_the_root_of_the_vectors(n, lists):
    assert list_count(n) == lists
