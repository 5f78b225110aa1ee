"""Very many lists: compared in blocks, or found through a graph that lies beside the checkpoint."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from model import NetworkCodec, attach_graph, coarse, list_graph, load_codec, save_codec
from model.coarse import CoarseQuantiser
from model.coarse_there import CoarseThere
from model.errors import InvalidCheckpoint
from tests.model.builders import random_network, random_vectors

LISTS, DIM = 3000, 12
SHA256 = "ab" * 32


@pytest.fixture(autouse=True)
def few_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coarse, "MANY_LISTS", LISTS)
    monkeypatch.setattr(coarse, "_BLOCK", 700)


def made(dtype: type = np.float16, lists: int = LISTS) -> tuple[CoarseQuantiser, NDArray[np.float32]]:
    """A coarse quantiser, and vectors [200, DIM] to assign."""
    random = np.random.default_rng(1)
    centroids: NDArray[Any] = random.normal(size=(lists, DIM)).astype(dtype)
    return CoarseQuantiser(centroids), random.normal(size=(200, DIM)).astype(np.float32)


def stored(quantiser: CoarseQuantiser, path: Path) -> list[float]:
    """Build a graph for a quantiser and write it; what the build reported."""
    shares: list[float] = []
    graph = list_graph.build(quantiser.centroids.astype(np.float32), shares.append)
    list_graph.save(graph, path, SHA256)
    return shares


def exactly(quantiser: CoarseQuantiser, x: NDArray[np.float32]) -> torch.Tensor:
    """Distances [n, lists]."""
    return torch.cdist(torch.from_numpy(x).double(), torch.from_numpy(quantiser.centroids).double())


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_many_lists_are_held_once_in_the_numbers_of_the_checkpoint(dtype):
    quantiser, _ = made(dtype)
    given_centroids = np.random.default_rng(1).normal(size=(LISTS, DIM)).astype(dtype)
    assert quantiser.centroids.dtype == dtype
    assert (quantiser.centroids == given_centroids).all()
    kept = quantiser.centroids
    del quantiser
    assert (kept == given_centroids).all()  # the array keeps the memory that it looks into


@settings(deadline=None)
@given(lists=st.integers(1, 2 * 700 + 1), count=st.integers(1, 40), by_inner_product=st.booleans())
def test_lists_compared_in_blocks_are_the_nearest_of_all(lists, count, by_inner_product):
    quantiser, x = made(np.float32, lists)
    x, count = x[:9], min(count, lists)
    products = torch.from_numpy(x @ quantiser.centroids.T)
    distances = -products if by_inner_product else exactly(quantiser, x).float()
    expected = distances.topk(count, largest=False).values
    for one in (quantiser, CoarseThere(torch.from_numpy(quantiser.centroids))):
        found = one.nearest_many(x, count, by_inner_product)
        torch.testing.assert_close(distances.gather(1, torch.from_numpy(found)), expected, rtol=1e-4, atol=1e-4)
    if not by_inner_product:
        there = CoarseThere(torch.from_numpy(quantiser.centroids)).assign(torch.from_numpy(x))
        for assigned in (torch.from_numpy(quantiser.nearest(x)), there):
            nearest = distances.gather(1, assigned[:, None])
            torch.testing.assert_close(nearest, expected[:, :1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_a_graph_read_back_finds_nearly_all_that_comparing_finds(dtype, tmp_path):
    quantiser, x = made(dtype)
    shares = stored(quantiser, tmp_path / "m.graph")
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    compared = quantiser.nearest(x)
    quantiser.take_graph(tmp_path / "m.graph", SHA256)
    found = quantiser.nearest(x)
    assert (found == compared).mean() >= 0.99
    many = torch.from_numpy(quantiser.graph.nearest(x, 50))
    true = exactly(quantiser, x).topk(50, largest=False).indices
    shared = [len({*a} & {*b}) for a, b in zip(many.tolist(), true.tolist(), strict=True)]
    assert np.mean(shared) >= 49


@pytest.mark.parametrize("by_inner_product", [False, True])
def test_a_graph_finds_the_nearest_of_those_lists_that_count(tmp_path, by_inner_product):
    quantiser, x = made()
    stored(quantiser, tmp_path / "m.graph")
    quantiser.take_graph(tmp_path / "m.graph", SHA256)
    counts = np.random.default_rng(2).random(LISTS) < 0.2
    found = quantiser.graph.nearest_of(x, 20, 400, np.packbits(counts, bitorder="little"), by_inner_product)
    assert counts[found[found >= 0]].all()
    products = torch.from_numpy(x @ quantiser.centroids.astype(np.float32).T)
    distances = -products if by_inner_product else exactly(quantiser, x)
    distances[:, ~torch.from_numpy(counts)] = torch.inf
    true = distances.topk(20, largest=False).indices
    shared = [len({*a} & {*b}) for a, b in zip(found.tolist(), true.tolist(), strict=True)]
    assert np.mean(shared) >= 19


def test_a_graph_of_another_checkpoint_is_refused(tmp_path):
    quantiser, _ = made()
    stored(quantiser, tmp_path / "m.graph")
    with pytest.raises(InvalidCheckpoint, match="another checkpoint"):
        quantiser.take_graph(tmp_path / "m.graph", "cd" * 32)
    fewer, _ = made(lists=LISTS + 1)
    with pytest.raises(InvalidCheckpoint, match="another checkpoint"):
        fewer.take_graph(tmp_path / "m.graph", SHA256)


def test_a_graph_cut_or_changed_anywhere_is_refused(tmp_path):
    quantiser, _ = made()
    path = tmp_path / "m.graph"
    stored(quantiser, path)
    whole = path.read_bytes()
    for length in [0, 7, 40, 75, 80, *range(1024, len(whole), len(whole) // 17), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(InvalidCheckpoint):
            quantiser.take_graph(path, SHA256)
    for place in [0, 9, 14, 20, 26, 34, 50, 73, 77, len(whole) // 2, len(whole) - 1]:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(InvalidCheckpoint):
            quantiser.take_graph(path, SHA256)
    path.write_bytes(whole + b"\0")
    with pytest.raises(InvalidCheckpoint):
        quantiser.take_graph(path, SHA256)


def test_a_checkpoint_of_many_lists_encodes_as_if_its_numbers_were_float32(tmp_path, monkeypatch):
    network = random_network(dim=DIM, ivf_lists=LISTS)
    x = random_vectors(network, 100).numpy()
    path = tmp_path / "many.safetensors"
    save_codec(NetworkCodec(network).with_shortlist_decoders(x), path)
    many = load_codec(path)
    monkeypatch.setattr(coarse, "MANY_LISTS", LISTS + 1)
    few = load_codec(path)
    assert (many.weights.centroids.dtype, few.weights.centroids.dtype) == (np.float16, np.float32)
    codes = few.encode(x)
    np.testing.assert_array_equal(many.encode(x), codes)
    for decoder in ("decode", "decode_additive", "decode_pairwise"):
        np.testing.assert_allclose(getattr(many, decoder)(codes), getattr(few, decoder)(codes), rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(many.centroids, few.centroids)
    save_codec(many, tmp_path / "again.safetensors")
    np.testing.assert_array_equal(load_codec(tmp_path / "again.safetensors").encode(x), codes)


def test_a_codec_finds_its_lists_through_the_graph_beside_its_checkpoint(tmp_path):
    network = random_network(dim=DIM, ivf_lists=LISTS)
    path = tmp_path / "many.safetensors"
    save_codec(NetworkCodec(network), path)
    codec = load_codec(path)
    x = random_vectors(network, 200).numpy()
    compared = codec.encode(x)
    assert not attach_graph(codec, path)
    graph = list_graph.build(codec.coarse.rows(np.arange(LISTS)), lambda share: None)
    list_graph.save(graph, list_graph.path_beside(path), codec.sha256)
    assert attach_graph(codec, path)
    assert (codec.encode(x)[:, 0] == compared[:, 0]).mean() >= 0.99
    assert codec.prefix(2).coarse.graph is codec.coarse.graph
    assert codec.size_bytes > load_codec(path).size_bytes
