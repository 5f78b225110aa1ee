"""Training: it gets better than it started, says what is wrong with data, and writes what it measured."""

import json

import numpy as np
import pytest
import torch
from safetensors import safe_open

from model.checkpoint import ours
from model.config import preset_config
from model.training import Recipe, train
from model.training.batches import Batch, BatchesInMemory
from model.training.data import prepare
from model.training.initialise import initial_network
from model.training.loop import Trainer
from model.training.objective import error
from model.training.progress import Progress
from model.training.quality import queries_and_base
from tests.builders import clustered
from tests.model.trained import SMALL, list_of, trained


@pytest.mark.parametrize("embedding", [8, 16], ids=["with projections", "without projections"])
@pytest.mark.parametrize(("lists", "depth"), [(0, 0), (8, 0), (0, 1)], ids=["without lists", "with lists", "L_s = 1"])
def test_training_starts_at_the_residual_quantiser_and_improves_on_it(embedding, lists, depth):
    x, held_out = clustered(4000), clustered(500, seed=1)
    config = preset_config("XS", 16, 4, lists)
    config = type(config)(
        **{
            **vars(config),
            "codewords": 16,
            "embedding": embedding,
            "candidates": 4,
            "beam": 4,
            "preselection_blocks": depth,
        }
    )
    network = initial_network(config, x, seed=0)
    with torch.no_grad():
        last, decoded = network.steps[-1], torch.randn(16, 16)
        added = last.forward(last.codebook, decoded)
        guessed = last.preselection if depth == 0 else last.preselector.forward(last.preselector.codebook, decoded)
        assert torch.allclose(added, guessed, atol=1e-5)
    x, held_out = network.normalise(torch.from_numpy(x)), network.normalise(torch.from_numpy(held_out))
    batches = BatchesInMemory(x, list_of(network, x), SMALL.batch, seed=0)
    list(Trainer(network, batches, Batch(held_out, list_of(network, held_out)), SMALL).run(budget_s=None))
    after = error(network, held_out, list_of(network, held_out), 4, 4)
    fresh = initial_network(config, clustered(4000), seed=0)
    assert after < 0.97 * error(fresh, held_out, list_of(fresh, held_out), 4, 4)


def test_the_checkpoint_tells_how_it_was_trained_and_how_good_it_is(tmp_path):
    x = clustered(3000)
    summary, said, codec = trained(SMALL, x, tmp_path)
    stored = ours.read_training(tmp_path / "codec.safetensors")
    assert stored == json.loads(json.dumps(summary))
    assert stored["data"]["vectors"] == 2700
    assert stored["recipe"]["steps"] == 4
    queries, base = queries_and_base(prepare(x, SMALL, tmp_path / "spool").held_out)
    measured = np.square(codec.decode(codec.encode(base)) - base).sum(axis=1).mean()
    assert stored["quality"]["mse"] == pytest.approx(measured, rel=1e-3)
    assert (stored["quality"]["queries"], stored["quality"]["vectors"]) == (len(queries), len(base)) == (30, 270)
    assert stored["steps"][-1]["recall_at_1"] == stored["quality"]["recall_at_1"]
    assert [one["steps"] for one in stored["steps"]] == [1, 2, 3, 4]
    assert stored["steps"][0]["mse"] > stored["steps"][3]["mse"]
    assert all(0 < one["bits"] <= 4 for one in stored["steps"])
    assert stored["history"][-1]["epoch"] == 4
    assert [line for line in said if isinstance(line, Progress)][-1].eta_s == 0


def test_better_decoders_have_smaller_errors(tmp_path):
    summary, _, _ = trained(Recipe(**{**vars(SMALL), "lists": 4, "epochs": 10}), clustered(6000), tmp_path)
    quality = summary["quality"]
    assert quality["mse"] < quality["mse_pairwise"] < 1.05 * quality["mse_additive"]


def test_checkpoints_are_stored_in_half_precision(tmp_path):
    trained(SMALL, clustered(1000), tmp_path)
    with safe_open(tmp_path / "codec.safetensors", framework="pt") as file:
        types = {name: file.get_tensor(name).dtype for name in file.keys()}  # noqa: SIM118
    assert types["steps.1.codebook"] == types["additive"] == torch.float16
    assert types["mean"] == torch.float32


def test_a_network_that_pre_selects_is_trained_and_kept(tmp_path):
    recipe = Recipe(**{**vars(SMALL), "preselection_blocks": 1, "candidates": 2})
    _, _, codec = trained(recipe, clustered(3000), tmp_path)
    assert codec.config.preselection_blocks == 1
    codes = codec.encode(clustered(100, seed=1))
    assert codes.shape == (100, 4)
    assert codec.size_bytes > 0


@pytest.mark.parametrize(("family", "lists"), [("QINCo", 4), ("QINCo-LR", 0)])
def test_the_first_papers_networks_are_trained_and_kept(tmp_path, family, lists):
    """Better than the residual quantiser they start from, resumed as well as unbroken, of their own shape."""
    recipe = Recipe(**{**vars(SMALL), "family": family, "lists": lists, "epochs": 3, "learning_rate": 3e-3})
    x = clustered(3000)
    summary, _, codec = trained(recipe, x, tmp_path)
    assert (codec.config.outer_skip, codec.config.embedding, codec.default_candidates, codec.default_beam) == (
        False, 16, 0, 1,
    )  # fmt: skip
    start = initial_network(recipe.configuration(2700, 16), x, seed=0)
    held_out = torch.from_numpy(clustered(500, seed=1))
    before = error(start, start.normalise(held_out), list_of(start, start.normalise(held_out)), 0, 1)
    after = np.square(codec.decode(codec.encode(held_out.numpy())) - held_out.numpy()).sum(axis=1).mean()
    assert after < 0.98 * before * float(start.std) ** 2
    if family == "QINCo-LR":
        network = codec.network.steps[-1]
        assert not network.concat_bias.any()
    out = tmp_path / "broken.safetensors"

    def stop(news):
        if isinstance(news, Progress) and news.epoch > 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(x, recipe, out, stop)
    assert train(x, recipe, out, lambda _: None, resume=True)["quality"] == summary["quality"]


def test_cosine_training_sees_vectors_of_length_one(tmp_path):
    _, _, codec = trained(Recipe(**{**vars(SMALL), "normalise": True}), 100 * clustered(1000), tmp_path)
    lengths = np.linalg.norm(codec.decode(codec.encode(clustered(50) / 12)), axis=1)
    assert lengths.max() < 2


def test_the_same_seed_trains_the_same_codec(tmp_path):
    first = trained(SMALL, clustered(1000), tmp_path)[2]
    second = trained(SMALL, clustered(1000), tmp_path)[2]
    assert first.sha256 != ""
    np.testing.assert_array_equal(first.additive_tables, second.additive_tables)
