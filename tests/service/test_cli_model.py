"""`qinco-server model`: what a codec's file holds, its conversion, its quality."""

import hashlib
import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from model import PRESETS, NetworkCodec, ProductCodec, load_codec, preset_config, save_codec
from model.checkpoint.ours import read_training
from service.cli.model_costs import decode_macs, encode_macs, table
from service.cli.model_info import nearest_preset
from tests.builders import clustered, tiny_codec
from tests.model.builders import random_network
from tests.model.test_fixtures import FIXTURES, NAMES
from tests.service.command_line import Run, runner

KINDS = {
    "qinco2_d16_M4_K16": "QINCo2",
    "qinco2_d24_proj40_M4_K32": "QINCo2",
    "qinco2_d16_noA_B3": "QINCo2",
    "qinco1mode_d16_M4_K16": "QINCo",
    "ivf_qinco2_d32_M4_K16": "IVF-QINCo2",
    "sift_s_8x8": "QINCo2",
    "v1_qinco_d16_M4_K16_L2": "QINCo",
    "v1_qincolr_d24_M4_K16_h12": "QINCo-LR",
    "v1_ivfqinco_d16_512_M3": "IVF-QINCo",
    "v1_pqqinco_d32_2x3": "PQ-QINCo",
    "v1_opqqinco_d32_2x3": "PQ-QINCo",
}


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(monkeypatch, capsys)


@pytest.fixture
def vectors(tmp_path: Path) -> Path:
    np.save(tmp_path / "base.npy", clustered(300, seed=5))
    np.save(tmp_path / "queries.npy", clustered(20, seed=6))
    return tmp_path


def authors_file(name: str) -> Path:
    if not FIXTURES.is_dir():
        message = f"the authors' fixtures are not at {FIXTURES}; set QINCO_FIXTURES"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return FIXTURES / name


def facts(run: Run, file: Path) -> dict[str, Any]:
    done = run("model", "info", file, "--json")
    assert done.status == 0, done.err
    answer: dict[str, Any] = json.loads(done.out)
    return answer


def refused(done: Any, *words: str) -> None:
    """One line, which says these words."""
    assert done.status in (1, 2)
    assert len(done.err.splitlines()) == 1, done.err
    assert "Traceback" not in done.err
    for word in words:
        assert word in done.err


# info


@pytest.mark.parametrize("name", NAMES)
def test_info_names_the_kind_of_every_file_of_the_authors(run: Run, name: str) -> None:
    file = authors_file(f"{name}.pt")
    found = facts(run, file)
    assert found["kind"] == KINDS[name]
    assert found["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert found["rotation"] == ("opq" in name)
    assert f"{KINDS[name]}" in run("model", "info", file).out


def test_info_tells_the_sizes_of_a_trained_codec(run: Run, tmp_path: Path) -> None:
    file = tiny_codec(tmp_path)
    found, codec = facts(run, file), load_codec(file)
    assert isinstance(codec, NetworkCodec)
    expected = {
        "kind": "IVF-QINCo2", "dim": 16, "steps": 4, "codewords": 16, "lists": 8, "bytes_per_vector": 4, "preset": "XS",
        "is_preset": True, "candidates": 4, "beam": 4, "additive": True, "pairwise": "network", "licence": None,
        "ram_bytes": codec.size_bytes, "file_bytes": file.stat().st_size, "training": read_training(file),
        "parameters": sum(p.numel() for p in codec.network.parameters()),
    }  # fmt: skip
    assert {name: found[name] for name in expected} == expected
    assert found["parameters"] - found["parameters_to_decode"] == 4 * 16 * 16
    text = run("model", "info", file).out
    assert all(word in text for word in ("IVF-QINCo2", "XS", "the file does not tell", "training.recipe.steps"))


def test_multiply_adds_are_those_of_the_equations() -> None:
    """The published S at 128 dimensions: its equations multiplied out by hand."""
    config = preset_config("S", dim=128, steps=8)
    network = 128 * 256 + 2 * 2 * 128 * 256
    assert decode_macs(config) == 7 * network
    assert encode_macs(config, 8, 4) == 256 * 128 + 7 * 4 * (256 * 128 + 8 * (network + 128))
    assert encode_macs(config, 0, 1) == 256 * 128 + 7 * 256 * (network + 128)


def test_the_nearest_preset_is_itself_for_each() -> None:
    for name in PRESETS:
        assert nearest_preset(preset_config(name, dim=768, steps=8)) == (name, True)


def test_the_table_of_costs_is_in_the_docs() -> None:
    assert table() in (Path(__file__).parents[2] / "docs" / "models.md").read_text()


# convert


@pytest.mark.parametrize("name", NAMES)
def test_a_converted_file_decodes_as_before_and_knows_where_it_came_from(run: Run, tmp_path: Path, name: str) -> None:
    file, out = authors_file(f"{name}.pt"), tmp_path / "converted.safetensors"
    done = run("model", "convert", file, out, "--licence", "CC-BY-NC")
    assert done.status == 0, done.err
    found = facts(run, out)
    assert found["kind"] == KINDS[name]
    assert found["licence"] == "CC-BY-NC"
    assert found["training"]["converted_from"] == {
        "file": file.name, "kind": KINDS[name], "sha256": hashlib.sha256(file.read_bytes()).hexdigest()
    }  # fmt: skip
    before, after = load_codec(file), load_codec(out)
    x = clustered(50, before.dim)
    exact, rounded = (codec.decode(before.encode(x)) for codec in (before, after))
    np.testing.assert_allclose(rounded, exact, atol=0.02 * np.abs(exact).max())
    assert [path.name for path in tmp_path.iterdir()] == [out.name]


def test_the_authors_decoders_come_along(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "converted.safetensors"
    with np.load(authors_file("ivf_qinco2_d32_M4_K16.npz")) as arrays:
        codes, additive, pairwise = arrays["codes"], arrays["aq_recons"], arrays["pairwise_recons"]
    done = run(
        "model", "convert", FIXTURES / "ivf_qinco2_d32_M4_K16.pt", out, "--json",
        "--pairs", FIXTURES / "ivf_qinco2_d32_pairwise.pt", "--additive", FIXTURES / "ivf_qinco2_d32_ivf.faissindex",
    )  # fmt: skip
    assert json.loads(done.out) == {
        "file": out.name, "kind": "IVF-QINCo2", "additive": True, "pairwise": True, "bytes": out.stat().st_size
    }  # fmt: skip
    codec = load_codec(out)
    np.testing.assert_allclose(codec.decode_additive(codes), additive, atol=0.3)
    np.testing.assert_allclose(codec.decode_pairwise(codes), pairwise, atol=0.3)
    found = facts(run, out)
    assert found["pairwise"] == "fitted"
    assert set(found["training"]["shortlist_decoders"]) == {"additive", "pairs"}


@pytest.mark.parametrize("is_product", [False, True])
def test_decoders_are_fitted_to_a_sample(run: Run, vectors: Path, is_product: bool) -> None:
    bare, out = vectors / "bare.safetensors", vectors / "fitted.safetensors"
    save_codec(
        ProductCodec([NetworkCodec(random_network(s, dim=8)) for s in (1, 2)])
        if is_product
        else NetworkCodec(random_network(dim=16)),
        bare,
        {"recipe": "mine"},
    )
    assert not facts(run, bare)["additive"]
    done = run("model", "convert", bare, out, "--fit", vectors / "base.npy", "--beam", 2, "--candidates", 3)
    assert done.status == 0, done.err
    found = facts(run, out)
    assert found["additive"]
    assert found["pairwise"] == "network"
    assert found["training"]["recipe"] == "mine"
    assert found["training"]["shortlist_decoders"]["fitted_to"]["vectors"] == 300
    codec, x = load_codec(out), clustered(300, seed=5)
    codes = codec.encode(x, 3, 2)
    plain = np.square(x - x.mean(axis=0)).sum(axis=1).mean()
    assert np.square(codec.decode_additive(codes) - x).sum(axis=1).mean() < plain


def test_converting_twice_keeps_the_first_origin(run: Run, vectors: Path) -> None:
    first, second, third = (vectors / f"{n}.safetensors" for n in "abc")
    save_codec(NetworkCodec(random_network(dim=16)), first)
    run("model", "convert", first, second, "--licence", "mine")
    run("model", "convert", second, third, "--fit", vectors / "base.npy", "--cosine")
    training = facts(run, third)["training"]
    assert training["converted_from"]["file"] == "a.safetensors"
    assert training["licence"] == "mine"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--fit", "{}/none.npy"], ["There is no file"]),
        (["--pairs", "{}/none.pt"], ["There is no file"]),
        (["--additive", "{}"], ["There is no file"]),
        (["--fit", "{}/few.npy"], ["5 vectors", "at least 16"]),
        (["--fit", "{}/narrow.npy"], ["12 numbers", "for vectors of 16"]),
        (["--fit", "{}/empty"], ["empty"]),
        (["--fit", "{}/base.npy", "--candidates", "17"], ["0 (all) to 16 codewords"]),
        (["--fit", "{}/base.npy", "--additive", "{}/base.npy"], ["choose one"]),
        (["--pairs", "{}/base.npy"], ["no lists"]),
        (["--beam", "none"], ["--beam"]),
    ],
)
def test_a_conversion_that_cannot_be_is_told_in_a_line(
    run: Run, vectors: Path, options: list[str], words: list[str]
) -> None:
    np.save(vectors / "few.npy", clustered(5))
    np.save(vectors / "narrow.npy", clustered(50, dim=12))
    (vectors / "empty").touch()
    file, out = tiny_codec(vectors, lists=0), vectors / "out.safetensors"
    refused(run("model", "convert", file, out, *[option.format(vectors) for option in options]), *words)
    assert not out.exists()


def test_files_of_another_codec_are_refused(run: Run, tmp_path: Path) -> None:
    file, out = tiny_codec(tmp_path), tmp_path / "out.safetensors"
    refused(run("model", "convert", file, out, "--pairs", authors_file("ivf_qinco2_d32_pairwise.pt")), "another codec")
    refused(run("model", "convert", file, out, "--additive", FIXTURES / "ivf_qinco2_d32_ivf.faissindex"), "no Faiss")
    refused(run("model", "convert", FIXTURES / "ivf_qinco2_d32_M4_K16.pt", out, "--pairs", file), "--additive or --fit")
    assert not out.exists()


# evaluate


def test_evaluate_prints_what_brute_force_finds(run: Run, vectors: Path) -> None:
    file = tiny_codec(vectors)
    ground_truth = np.arange(20)[:, None] * 3
    np.save(vectors / "truth.npy", ground_truth)
    files = ["--base", vectors / "base.npy", "--queries", vectors / "queries.npy"]
    done = run("model", "evaluate", file, *files, "--groundtruth", vectors / "truth.npy", "--prefixes", "--json")
    assert done.status == 0, done.err
    figures = json.loads(done.out)
    codec, base, queries = load_codec(file), np.load(vectors / "base.npy"), np.load(vectors / "queries.npy")
    decoded = codec.decode(codec.encode(base))
    assert [one["bytes"] for one in figures["prefixes"]] == [1, 2, 3, 4]
    whole = figures["prefixes"][-1]
    assert whole["mse"] == pytest.approx(np.square(base - decoded).sum(axis=1).mean(), rel=1e-4)
    ranked = np.square(queries[:, None] - decoded[None]).sum(axis=2).argsort(axis=1)[:, :100]
    assert whole["recall_at_100"] == pytest.approx((ranked == ground_truth).any(axis=1).mean(), abs=0.051)
    assert (figures["vectors"], figures["queries"], figures["candidates"], figures["beam"]) == (300, 20, 4, 4)
    text = run("model", "evaluate", file, *files, "--candidates", 0, "--beam", 2, "--cosine").out
    assert all(word in text for word in ("R@100", "A = all, B = 2", "300 vectors", "encode", "decode"))


def test_a_cut_base_is_searched_for_its_own_neighbours(run: Run, vectors: Path) -> None:
    """A ground truth over all vectors says nothing of the first few."""
    np.save(vectors / "truth.npy", np.full((20, 1), 299))
    files = ["--base", vectors / "base.npy", "--queries", vectors / "queries.npy"]
    cut, exact = (
        json.loads(run("model", "evaluate", tiny_codec(vectors), *files, "--rows", 200, "--json", *options).out)
        for options in (["--groundtruth", vectors / "truth.npy"], [])
    )
    assert cut["vectors"] == 200
    assert cut["prefixes"] == exact["prefixes"]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"--base": "none.npy"}, ["none.npy", "cannot be read"]),
        ({"--base": "narrow.npy"}, ["for vectors of 16", "base have 12"]),
        ({"--queries": "narrow.npy"}, ["for vectors of 16", "queries have 12"]),
        ({"--queries": "flat.npy"}, ["flat.npy", "[n, dim]"]),
        ({"--queries": "."}, ["."]),
        ({"--rows": "301"}, ["300 vectors", "--rows 301"]),
        ({"--rows": "0"}, ["--rows"]),
        ({"--groundtruth": "narrow.npy"}, ["integers"]),
        ({"--groundtruth": "flat.npy"}, ["flat.npy"]),
        ({"--groundtruth": "short.npy"}, ["each of 20 queries"]),
        ({"--groundtruth": "beyond.npy"}, ["beyond the 300"]),
        ({"--candidates": "17"}, ["0 (all) to 16"]),
        ({"--beam": "17"}, ["1 to 16"]),
    ],
)
def test_an_evaluation_that_cannot_be_is_told_in_a_line(
    run: Run, vectors: Path, changed: dict[str, str], words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save(vectors / "narrow.npy", clustered(20, dim=12))
    np.save(vectors / "flat.npy", np.arange(20))
    np.save(vectors / "short.npy", np.zeros((19, 1), int))
    np.save(vectors / "beyond.npy", np.full((20, 1), 300))
    file = tiny_codec(vectors)
    monkeypatch.chdir(vectors)
    options = {"--base": "base.npy", "--queries": "queries.npy"} | changed
    refused(run("model", "evaluate", file, *[word for pair in options.items() for word in pair]), *words)


# files that are no codecs


@pytest.mark.parametrize("command", ["info", "convert", "evaluate"])
@pytest.mark.parametrize("what", ["missing", "empty", "folder", "text", "pickle", "other tensors", "bad training"])
def test_a_file_that_is_no_codec_is_told_in_a_line(run: Run, vectors: Path, command: str, what: str) -> None:
    file = vectors / "file"
    if what == "empty":
        file.touch()
    elif what == "folder":
        file.mkdir()
    elif what == "text":
        file.write_text("PK or not\n" * 100)
    elif what == "pickle":
        file.write_bytes(pickle.dumps(print))
    elif what == "other tensors":
        save_file({"a": np.zeros(3, np.float32)}, file)
    elif what == "bad training":
        file.write_bytes(tiny_codec(vectors).read_bytes().replace(b'"training":"{', b'"training":"['))
    rest: dict[str, list[Any]] = {
        "info": [],
        "convert": [vectors / "out"],
        "evaluate": ["--base", vectors / "base.npy", "--queries", vectors / "queries.npy"],
    }
    refused(run("model", command, file, *rest[command]), "file")


def test_a_place_that_cannot_be_written_is_told_before_time_is_spent(run: Run, tmp_path: Path) -> None:
    file = tiny_codec(tmp_path)
    refused(run("model", "convert", file, tmp_path / "none" / "out"), "no folder")
    refused(run("model", "convert", file, tmp_path), "is a folder")
