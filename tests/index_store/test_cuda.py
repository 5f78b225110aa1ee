"""On a CUDA card: what a collection answers there is what it answers on the CPU, whatever has happened to it."""

import gc

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from index_store import SearchPlan, Store
from index_store.scan.resident import residents
from model import NetworkCodec, ProductCodec, load_codec
from model.training import Recipe, train
from tests.builders import clustered, tiny_codec
from tests.devices import needs_cuda
from tests.index_store.making import DIM, encode_all, fill, make_collection
from tests.model.builders import random_network

pytestmark = [pytest.mark.cuda, needs_cuda]
PLANS = [SearchPlan(5, rescore=False), SearchPlan(5, rescore=False, rerank=30, shortlist=100, nprobe=6), SearchPlan(5)]


@pytest.mark.parametrize("lists", [0, 8])
@pytest.mark.parametrize("distance", ["Euclid", "Dot", "Cosine"])
def test_a_collection_answers_on_the_card_as_on_the_cpu(tmp_path, distance, lists):
    answers = {}
    for device in ("cpu", "cuda"):
        store = Store.open(tmp_path / device, device=device, threads=1)
        try:
            collection = make_collection(store, tmp_path, distance=distance, lists=lists)
            fill(collection, 700)
            encode_all(collection)
            fill(collection, 100, first=700, seed=9)
            encode_all(collection)
            collection.delete(np.arange(0, 800, 7, dtype=np.uint64))
            fill(collection, 5, first=800, seed=4)  # pending
            found = [collection.query(clustered(40, DIM, seed=5), plan) for plan in PLANS]
            answers[device] = [[[hit.score for hit in hits] for hits in one] for one in found]
        finally:
            store.close()
    for here, there in zip(answers["cpu"], answers["cuda"], strict=True):
        # Half precision may part two codes of nearly equal distance, and encoding two codewords: in few of the places.
        assert_allclose(np.median(there), np.median(here), rtol=0.02)
        assert (np.abs(np.array(there) - here) < 0.02 * (1 + np.abs(here))).mean() > 0.9


def test_what_a_closed_store_held_leaves_the_card(tmp_path):
    before = len(residents(torch.device("cuda"))._segments)
    store = Store.open(tmp_path / "s", device="cuda", threads=1)
    collection = make_collection(store, tmp_path)
    fill(collection, 300)
    encode_all(collection)
    collection.query(clustered(2, DIM), PLANS[0])
    assert len(residents(torch.device("cuda"))._segments) > before
    store.close()
    del collection, store
    gc.collect()
    assert len(residents(torch.device("cuda"))._segments) == before


@pytest.mark.parametrize("candidates", [0, 4])
def test_a_codec_on_the_card_is_as_good_as_on_the_cpu(tmp_path, candidates):
    path = tiny_codec(tmp_path, candidates=candidates)
    x, error = clustered(3000, seed=3), {}
    for device in ("cpu", "cuda"):
        codec = load_codec(path, device)
        assert not isinstance(codec, ProductCodec)
        error[device] = float(np.square(codec.decode(codec.encode(x)) - x).sum(axis=1).mean())
        assert device == "cpu" or codec.operators.fused is not None
    assert error["cuda"] == pytest.approx(error["cpu"], rel=0.01)


def test_float32_is_float32_on_the_card_too(tmp_path):
    path, x = tiny_codec(tmp_path), clustered(500, seed=3)
    exact = {device: load_codec(path, device, precision="float32") for device in ("cpu", "cuda")}
    codes = exact["cpu"].encode(x)
    assert_allclose(exact["cuda"].decode(codes), exact["cpu"].decode(codes), rtol=1e-4, atol=1e-4)
    assert (exact["cuda"].encode(x) == codes).mean() > 0.99


@pytest.mark.parametrize("sizes", [{"embedding": 300}, {"preselection_blocks": 1}, {"beam": 8, "candidates": 0}])
@torch.no_grad()
def test_what_has_no_kernels_runs_by_operators_on_the_card(sizes):
    codecs = [NetworkCodec(random_network(4, **sizes), device=device) for device in ("cpu", "cuda")]
    x = clustered(300, 12, seed=2)
    errors = [np.square(one.decode(one.encode(x)) - x).sum(axis=1).mean() for one in codecs]
    assert errors[1] == pytest.approx(errors[0], rel=0.02)


def test_a_training_on_the_card_ends_with_a_codec_of_the_quality_of_the_cpu(tmp_path):
    recipe = Recipe(steps=4, codewords=16, preset="XS", lists=0, epochs=3, batch=128)
    for device in ("cpu", "cuda"):
        train(clustered(3000), recipe, tmp_path / f"{device}.safetensors", lambda _: None, device=device)
    x = clustered(1000, seed=7)
    codecs = [load_codec(tmp_path / f"{device}.safetensors") for device in ("cpu", "cuda")]
    errors = [np.square(one.decode(one.encode(x)) - x).sum(axis=1).mean() for one in codecs]
    assert errors[1] == pytest.approx(errors[0], rel=0.1)
