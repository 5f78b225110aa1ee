"""What a training leaves to read: a page with plots, and quantisers that people know beside it."""

import dataclasses

import numpy as np
import pytest

from model.training import Recipe, train, write_report
from model.training.baselines import baselines
from model.training.report import markdown, report_paths
from tests.builders import clustered

SMALL = Recipe(steps=4, codewords=16, preset="XS", lists=4, epochs=2, batch=128)


@pytest.fixture(scope="module")
def training(tmp_path_factory):
    out = tmp_path_factory.mktemp("training") / "codec.safetensors"
    return train(clustered(3000), SMALL, out, lambda _: None, with_baselines=True), out


def test_the_report_is_one_page_with_its_plots_beside_it(training):
    told, out = training
    page = write_report(told, out)
    assert (page, page.with_suffix(".png")) == report_paths(out)
    assert page.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    text = page.read_text()
    assert "![Curves of this training](codec.report.png)" in text
    for figure in ("with 4 lists", f"{told['quality']['mse']:.5g}", "Faiss RQ", "on 2700 vectors", "seed 0"):
        assert figure in text
    assert len(text.splitlines()) < 60


def test_baselines_are_measured_on_the_same_vectors_and_bytes(training):
    told, _ = training
    found = {one["name"]: one for one in told["baselines"]}
    assert list(found) == ["PQ", "OPQ", "RQ", "LSQ"]
    assert all(one["trained_on"] == 2700 for one in found.values())
    assert told["quality"]["mse"] < found["RQ"]["mse"] < found["PQ"]["mse"]
    assert found["LSQ"]["mse"] < found["PQ"]["mse"]
    assert all(0 < one["recall_at_1"] <= one["recall_at_10"] <= 1 for one in found.values())


@pytest.mark.parametrize(
    ("dim", "steps", "codewords", "skipped"),
    [(10, 4, 16, ["PQ"]), (16, 2, 12, ["PQ", "OPQ", "RQ", "LSQ"]), (3, 4, 16, ["PQ", "OPQ"])],
)
def test_baselines_that_cannot_have_so_many_bytes_say_why(training, dim, steps, codewords, skipped):
    found = baselines(clustered(1000, dim), clustered(200, dim, seed=1), steps, codewords, lambda _: None)
    assert [one["name"] for one in found if "skipped" in one] == skipped
    text = markdown(training[0] | {"baselines": found}, "codec.safetensors", "plots.png")
    assert all(one["skipped"] in text for one in found if "skipped" in one)


def test_a_training_without_baselines_or_history_is_reported_too(training, tmp_path):
    told = {key: value for key, value in training[0].items() if key != "baselines"}
    assert "Faiss" not in write_report(told | {"history": []}, tmp_path / "codec.safetensors").read_text()


def test_a_time_budget_leaves_time_for_what_follows_the_network(tmp_path):
    recipe = dataclasses.replace(SMALL, time_budget_s=2.0, epochs=10_000)
    told = train(clustered(3000), recipe, tmp_path / "codec.safetensors", lambda _: None)
    assert told["seconds"] < 60
    assert np.isfinite(told["quality"]["mse"])
