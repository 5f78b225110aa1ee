"""Codecs of any number of codewords go through the store: codes in the fewest whole bytes a step, and back."""

import tempfile
from pathlib import Path

import numpy as np
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from index_store import CodesConfig, CollectionConfig, SearchPlan, VectorConfig
from model import Codec, NetworkCodec, load_codec, save_codec
from model.shortlist import AdditiveDecoder
from tests.index_store.making import encode_all, ids_of, nearest_ids, store_at
from tests.model.builders import random_network

DIM, N = 6, 40
BY_CODES = SearchPlan(5, nprobe=1000, shortlist=N, rerank=N, rescore=False)


def checkpoint(path: Path, codewords: int, steps: int, lists: int, has_decoders: bool, seed: int) -> Codec:
    """A codec of random weights, as it comes back from its file."""
    network = random_network(
        seed, dim=DIM, steps=steps, codewords=codewords, embedding=4, hidden=5, blocks=1, ivf_lists=lists,
        candidates=min(2, codewords), beam=min(2, codewords),
    )  # fmt: skip
    tables = torch.stack([step.codebook for step in network.steps]).detach().numpy()
    save_codec(NetworkCodec(network, AdditiveDecoder(tables) if has_decoders else None), path)
    return load_codec(path)


@settings(deadline=None, max_examples=15)
@given(
    codewords=st.one_of(st.integers(2, 300), st.sampled_from([1024, 4096])),
    steps=st.integers(1, 3),
    lists=st.sampled_from([0, 3]),
    has_decoders=st.booleans(),
    seed=st.integers(0, 1000),
)
@example(codewords=2, steps=64, lists=0, has_decoders=False, seed=0)
@example(codewords=256, steps=2, lists=3, has_decoders=False, seed=1)
@example(codewords=257, steps=2, lists=0, has_decoders=False, seed=2)
@example(codewords=65_535, steps=2, lists=0, has_decoders=True, seed=3)
@example(codewords=65_536, steps=2, lists=3, has_decoders=True, seed=4)
def test_a_codec_of_any_size_is_stored_searched_and_read_back(
    codewords: int, steps: int, lists: int, has_decoders: bool, seed: int
) -> None:
    has_decoders = has_decoders or codewords * steps > 1024  # fitting more is slow
    vectors = (np.random.default_rng(seed).normal(size=(N, DIM)) * 3).astype(np.float32)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        codec = checkpoint(folder / "codec.safetensors", codewords, steps, lists, has_decoders, seed)
        decoded = codec.decode(codec.encode(vectors))
        expected = nearest_ids(decoded, vectors, 5)
        for is_new in (True, False):
            with store_at(folder) as store:
                if is_new:
                    store.put_model("any", folder / "codec.safetensors")
                    config = CollectionConfig({"default": VectorConfig(DIM, "Euclid")}, {"default": CodesConfig("any")})
                    collection = store.create_collection("terms", config)
                    collection.upsert(np.arange(N, dtype=np.uint64), {"default": vectors})
                    encode_all(collection)
                collection = store.collection("terms")
                (codes,) = (one.codes for one in collection.view().segments)
                assert codes.nbytes == N * collection.info().code_bytes == N * steps * (1 if codewords <= 256 else 2)
                hits = collection.query(vectors, BY_CODES)
                scores = np.array([[hit.score for hit in own] for own in hits])
                for ids in (np.array(ids_of(hits)), np.array(expected)):  # of equal codes any may come first
                    true = np.linalg.norm(decoded[ids] - vectors[:, None], axis=2)
                    np.testing.assert_allclose(scores, true, rtol=1e-3, atol=1e-3)
