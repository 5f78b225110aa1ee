"""What runs where a codec on a GPU is: the same host code, here on a device that is the CPU by another name."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from index_store import SearchPlan, search
from index_store.scan import on_device
from model.kernels import folded, folding
from tests.builders import clustered
from tests.index_store.making import DIM, encode_all, fill, make_collection, store_at
from tests.model.builders import random_network, random_vectors

PLANS = [
    SearchPlan(5, rescore=False),
    SearchPlan(5, rescore=False, rerank=30, shortlist=100, nprobe=6),
    SearchPlan(5),
]


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("distance", ["Euclid", "Dot"])
def test_a_query_finds_on_a_device_what_it_finds_on_the_host(tmp_path, monkeypatch, distance, plan):
    with store_at(tmp_path) as store:
        collection = make_collection(store, tmp_path, distance=distance)
        fill(collection, 600)
        encode_all(collection)
        collection.delete(np.arange(0, 600, 7, dtype=np.uint64))
        queries = clustered(9, DIM, seed=5)
        expected = collection.query(queries, plan)
        monkeypatch.setattr(search, "is_host", lambda device: False)
        scanned = []
        scan = on_device.scan
        monkeypatch.setattr(on_device, "scan", lambda *all_: (scanned.append(1), scan(*all_))[1])
        found = collection.query(queries, plan)
    assert scanned
    for ours, theirs in zip(found, expected, strict=True):
        scores = np.array([hit.score for hit in theirs])
        assert_allclose([hit.score for hit in ours], scores, rtol=1e-4, atol=1e-4)
        is_own = np.append(np.abs(np.diff(scores)) > 1e-3, False) & (np.abs(np.diff(scores, prepend=-9e9)) > 1e-3)
        ids = [[hit.id for hit in hits] for hits in (ours, theirs)]
        assert_array_equal(np.array(ids[0])[is_own], np.array(ids[1])[is_own])  # points of one code come in any order


@torch.no_grad()
@pytest.mark.parametrize("lists", [0, 6])
def test_a_block_is_encoded_and_decoded_without_looking_at_what_is_on_the_device(lists):
    """Tensors of the device "meta" have no values: to read one back, or to mix it with the host's, is an error."""
    network = random_network(1, ivf_lists=lists).to("meta")
    steps = [folding.fold(step) for step in network.steps]
    tables = [folded.encoding_tables(step) for step in network.steps]
    x = network.normalise(random_vectors(network, 5).to("meta"))
    of_lists = torch.zeros(5, dtype=torch.int64, device="meta") if lists else None
    codes = folded.encode(network, steps, tables, x, of_lists, 4, 3)
    assert codes.device.type == folded.decode(network, steps, codes).device.type == "meta"
