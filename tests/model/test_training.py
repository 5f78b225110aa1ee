"""Training: it gets better than it started, says what is wrong with data, and writes what it measured."""

import json
import pickle
import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors import safe_open

from model import load_codec
from model.checkpoint import ours
from model.config import preset_config
from model.errors import InvalidTrainingData
from model.training import Recipe, list_count, resume, train
from model.training.batches import Batch, BatchesInMemory
from model.training.best import Best
from model.training.data import prepare
from model.training.initialise import continued, initial_network, k_means, nearest, progressive_k_means, shrunk
from model.training.loop import Trainer, schedule
from model.training.objective import error, losses
from model.training.optimizer import NOTED, AdamW
from model.training.patience import VALIDATIONS, Patience
from model.training.progress import Progress
from model.training.quality import queries_and_base
from model.training.report import markdown
from model.training.state_file import read_state
from tests.builders import clustered
from tests.model.builders import random_network, random_vectors

SMALL = Recipe(steps=4, codewords=16, preset="XS", lists=0, epochs=4, batch=128)


def trained(recipe: Recipe, x, tmp_path):
    said: list[str | Progress] = []
    summary = train(x, recipe, tmp_path / "codec.safetensors", said.append)
    return summary, said, load_codec(tmp_path / "codec.safetensors")


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
    batches = BatchesInMemory(x, _lists(network, x), SMALL.batch, seed=0)
    list(Trainer(network, batches, Batch(held_out, _lists(network, held_out)), SMALL).run(budget_s=None))
    after = error(network, held_out, _lists(network, held_out), 4, 4)
    fresh = initial_network(config, clustered(4000), seed=0)
    assert after < 0.97 * error(fresh, held_out, _lists(fresh, held_out), 4, 4)


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


def test_a_training_that_only_does_harm_keeps_what_it_began_with(tmp_path):
    recipe = Recipe(**{**vars(SMALL), "learning_rate": 1.0, "epochs": 2})
    summary, said, _ = trained(recipe, clustered(2000), tmp_path)
    assert summary["kept_at"] == 0
    assert summary["quality"]["mse"] == pytest.approx(summary["start_mse"], rel=0.05)
    worst = max(news.training_mse for news in said if isinstance(news, Progress))
    assert worst > 1.2 * summary["start_mse"]
    assert "did not improve on the residual quantiser" in markdown(summary, "codec.safetensors", "plots.png")


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


def test_better_decoders_have_smaller_errors(tmp_path):
    summary, _, _ = trained(Recipe(**{**vars(SMALL), "lists": 4, "epochs": 10}), clustered(6000), tmp_path)
    quality = summary["quality"]
    assert quality["mse"] < quality["mse_pairwise"] < 1.05 * quality["mse_additive"]


def test_a_resumed_training_ends_where_an_unbroken_one_does(tmp_path):
    recipe = Recipe(**{**vars(SMALL), "epochs": 6})
    x = clustered(2000)
    unbroken = train(x, recipe, tmp_path / "unbroken.safetensors", lambda _: None)

    class Killed(Exception):
        pass

    def killed_in_the_third_epoch(news):
        if isinstance(news, Progress) and news.epoch > 2:
            raise Killed

    broken = tmp_path / "broken.safetensors"
    with pytest.raises(Killed):
        train(x, recipe, broken, killed_in_the_third_epoch)
    said: list[str | Progress] = []
    resumed = train(x, recipe, broken, said.append, resume=True)
    assert said[0] == "Resuming the training of the network"
    assert resumed["quality"] == unbroken["quality"]
    first, second = (load_codec(tmp_path / f"{name}.safetensors") for name in ("unbroken", "broken"))
    np.testing.assert_array_equal(first.additive_tables, second.additive_tables)
    assert not resume.state_path(broken).exists()


def test_the_state_is_kept_while_training_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(resume, "SAVE_EVERY_S", 0.0)
    kept: list[bool] = []
    out = tmp_path / "codec.safetensors"
    train(clustered(1000), SMALL, out, lambda _: kept.append(resume.state_path(out).exists()))
    assert not kept[0]
    assert kept[-2]
    assert not resume.state_path(out).exists()


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


@pytest.mark.parametrize(
    ("vectors", "changes", "sentence"),
    [(1001, {}, "on other vectors"), (1000, {"epochs": 9, "seed": 4}, "another epochs, seed")],
)
def test_only_the_same_training_is_resumed(tmp_path, vectors, changes, sentence):
    out = tmp_path / "codec.safetensors"

    def stop(news):
        if isinstance(news, Progress) and news.epoch > 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(clustered(1000), SMALL, out, stop)
    with pytest.raises(InvalidTrainingData, match=sentence):
        train(clustered(vectors), Recipe(**{**vars(SMALL), **changes}), out, stop, resume=True)


def test_a_state_of_another_version_is_refused_by_a_sentence(tmp_path, monkeypatch):
    out = tmp_path / "codec.safetensors"
    assert not resume.can_go_on(resume.state_path(out))
    with monkeypatch.context() as before:
        before.setattr(resume, "VERSION", 2)
        interrupted(clustered(1000), out)
        assert resume.can_go_on(resume.state_path(out))
    assert not resume.can_go_on(resume.state_path(out))
    with pytest.raises(InvalidTrainingData, match="another version of this program"):
        train(clustered(1000), SMALL, out, lambda _: None, resume=True)


def interrupted(x, out, **options):
    """The files that a training of SMALL leaves which is stopped in its second epoch."""

    def stop(news):
        if isinstance(news, Progress) and news.epoch > 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(x, SMALL, out, stop, **options)
    return sorted(out.parent.iterdir())


def test_a_state_in_parts_moves_to_another_machine_and_is_resumed_there(tmp_path):
    x = clustered(1000)
    here, there = (tmp_path / name / "codec.safetensors" for name in ("here", "there"))
    here.parent.mkdir()
    there.parent.mkdir()
    files = interrupted(x, here, state_part_bytes=50_000)
    assert len(files) > 3
    assert all(file.stat().st_size <= 50_000 for file in files)
    for file in files:
        shutil.copy(file, there.parent)
    whole = train(x, SMALL, tmp_path / "whole.safetensors", lambda _: None)
    resumed = train(x, SMALL, there, lambda _: None, resume=True)
    assert resumed["quality"] == whole["quality"]
    assert list(there.parent.iterdir()) == [there]


def test_of_two_states_in_parts_the_later_one_is_left(tmp_path, monkeypatch):
    monkeypatch.setattr(resume, "SAVE_EVERY_S", 0.0)
    files = interrupted(clustered(1000), tmp_path / "codec.safetensors", state_part_bytes=50_000)
    assert len({file.name.split("-")[1] for file in files[1:]}) == 1
    read_state(resume.state_path(tmp_path / "codec.safetensors"))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda part: part.unlink(), "-00002' of the training's state is missing"),
        (lambda part: part.write_bytes(b"?" + part.read_bytes()[1:]), "-00002' of the training's state is damaged"),
    ],
)
def test_a_part_that_is_missing_or_damaged_is_named(tmp_path, change, sentence):
    x, out = clustered(1000), tmp_path / "codec.safetensors"
    files = interrupted(x, out, state_part_bytes=50_000)
    change(files[2])
    with pytest.raises(InvalidTrainingData, match=sentence):
        train(x, SMALL, out, lambda _: None, resume=True)


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


def test_there_must_be_a_training_to_resume(tmp_path):
    out = tmp_path / "codec.safetensors"
    with pytest.raises(InvalidTrainingData, match="no training to resume"):
        train(clustered(1000), SMALL, out, lambda _: None, resume=True)
    for content in (b"not a state", b"{not a list", b'{"format": "another"}', b"{}", b""):
        resume.state_path(out).write_bytes(content)
        with pytest.raises(InvalidTrainingData, match="cannot be read"):
            train(clustered(1000), SMALL, out, lambda _: None, resume=True)


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
    before = error(start, start.normalise(held_out), _lists(start, start.normalise(held_out)), 0, 1)
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


def test_a_time_budget_is_kept(tmp_path):
    """An hour's worth of epochs, cut to seconds; the bound is wide, since test machines are busy."""
    summary, said, _ = trained(
        Recipe(**{**vars(SMALL), "epochs": 10_000, "time_budget_s": 3.0}), clustered(2000), tmp_path
    )
    assert [line for line in said if isinstance(line, Progress)][-1].epochs < 2000
    assert summary["seconds"] < 60


def test_cosine_training_sees_vectors_of_length_one(tmp_path):
    _, _, codec = trained(Recipe(**{**vars(SMALL), "normalise": True}), 100 * clustered(1000), tmp_path)
    lengths = np.linalg.norm(codec.decode(codec.encode(clustered(50) / 12)), axis=1)
    assert lengths.max() < 2


def test_the_same_seed_trains_the_same_codec(tmp_path):
    first = trained(SMALL, clustered(1000), tmp_path)[2]
    second = trained(SMALL, clustered(1000), tmp_path)[2]
    assert first.sha256 != ""
    np.testing.assert_array_equal(first.additive_tables, second.additive_tables)


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
    rates = [schedule(progress / 100, warmup=0.05) for progress in range(101)]
    assert rates[0] < 0.05
    assert max(rates) == pytest.approx(1.0)
    assert rates[5:] == sorted(rates[5:], reverse=True)
    assert rates[-1] == pytest.approx(1e-3)


def test_progressive_k_means_finds_clusters_in_many_dimensions():
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(20, 128)).astype(np.float32)
    x = np.repeat(centres, 60, axis=0) + 0.3 * rng.normal(size=(1200, 128)).astype(np.float32)
    found = progressive_k_means(x, 20, 10, seed=0)
    distances = np.square(x[:, None] - found[None]).sum(axis=2).min(axis=1)
    assert np.median(distances) < 1.2 * 128 * 0.3**2


def test_codewords_of_few_vectors_are_drawn_towards_zero_which_serves_others_better():
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(8, 64)).astype(np.float32)
    x, others = (
        0.5 * directions[rng.integers(8, size=n)] + rng.normal(size=(n, 64)).astype(np.float32) for n in (400, 2000)
    )
    fitted = k_means(x, 64, 10, seed=0)
    few, many = shrunk(fitted, x), shrunk(fitted, np.repeat(x, 1000, axis=0))
    left = {name: np.square(others - c[nearest(c, others)]).sum(1).mean() for name, c in
            {"as fitted": fitted, "shrunk": few}.items()}  # fmt: skip
    assert left["shrunk"] < 0.98 * left["as fitted"]
    np.testing.assert_allclose(many, fitted, rtol=0.01)


@pytest.mark.parametrize(("F", "K", "beam"), [(1, 8, 4), (3, 8, 5), (2, 2, 5)])
def test_the_paths_that_are_followed_are_the_nearest(F, K, beam):
    rng = np.random.default_rng(0)
    paths, codebook = rng.normal(size=(50, F, 6)).astype(np.float32), rng.normal(size=(K, 6)).astype(np.float32)
    left = (paths[:, :, None] - codebook).reshape(50, F * K, 6)
    nearest_first = np.sort(np.square(left).sum(axis=2), axis=1)[:, : min(beam, F * K)]
    followed = continued(paths, codebook, beam)
    np.testing.assert_allclose(np.sort(np.square(followed).sum(axis=2), axis=1), nearest_first, rtol=1e-5)


def test_codebooks_made_for_a_beam_serve_a_beam_search_better():
    rng = np.random.default_rng(0)
    uneven = rng.normal(size=(64, 64)) * (0.9 ** np.arange(64))[:, None]
    x, others = ((rng.normal(size=(n, 64)) @ uneven).astype(np.float32) for n in (1000, 500))
    config = replace(preset_config("XS", 64, 8, 0), codewords=32, candidates=4)
    left = {}
    for beam in (1, 5):
        network = initial_network(replace(config, beam=beam), x, seed=0)
        apart = network.normalise(torch.from_numpy(others))
        left[beam] = error(network, apart, None, 4, 5) * float(network.std) ** 2
    assert left[5] < 0.95 * left[1]


@pytest.mark.parametrize(("n", "lists"), [(1, 4), (20_000, 512), (91_611, 1024), (10**6, 4096)])
def test_lists_number_about_four_times_the_root_of_the_vectors(n, lists):
    assert list_count(n) == lists


def _lists(network, x):
    return torch.cdist(x, network.centroids).argmin(dim=1) if network.config.ivf_lists else None
