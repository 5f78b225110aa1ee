"""The codec's public face: types, shapes, and errors that say what is wrong."""

import numpy as np
import pytest
import torch

from model import CodecConfig, NetworkCodec, load_codec, save_codec, size_bytes
from model.errors import DimensionMismatch, InvalidCheckpoint, InvalidCodes, InvalidVectors, UnsupportedOption
from tests.builders import clustered, tiny_codec


@pytest.fixture(params=[8, 0], ids=["with lists", "without lists"])
def codec(request, tmp_path):
    return load_codec(tiny_codec(tmp_path, lists=request.param))


def test_codes_hold_the_list_first_and_then_a_symbol_a_step(codec):
    codes = codec.encode(clustered(10))
    assert codes.dtype == np.int32
    assert codes.shape == (10, codec.steps + (1 if codec.ivf_lists else 0))


def test_decoding_undoes_encoding_up_to_the_codec_s_error(codec):
    x = clustered(500, seed=3)
    error = np.square(codec.decode(codec.encode(x)) - x).sum(axis=1).mean()
    assert error < 0.6 * np.square(x - x.mean(axis=0)).sum(axis=1).mean()


def test_more_steps_decode_better(codec):
    x = clustered(500, seed=3)
    codes = codec.encode(x)
    errors = [np.square(codec.decode(codes, steps) - x).sum(axis=1).mean() for steps in range(1, codec.steps + 1)]
    assert errors == sorted(errors, reverse=True)


def test_a_wider_search_finds_better_codes(codec):
    x = clustered(500, seed=3)
    narrow, wide = codec.encode(x, candidates=1, beam=1), codec.encode(x, candidates=8, beam=8)
    assert np.square(codec.decode(wide) - x).sum() < np.square(codec.decode(narrow) - x).sum()


def test_tensors_come_back_as_tensors(codec):
    x = torch.from_numpy(clustered(5))
    codes = codec.encode(x)
    assert isinstance(codes, torch.Tensor)
    assert isinstance(codec.decode(codes), torch.Tensor)
    np.testing.assert_array_equal(codes.numpy(), codec.encode(x.numpy()))


def test_no_vectors_give_no_codes(codec):
    codes = codec.encode(np.zeros((0, codec.dim), dtype=np.float32))
    assert codec.decode(codes).shape == (0, codec.dim)


def test_additive_tables_and_centroids_sum_to_what_decode_additive_gives(codec):
    codes = codec.encode(clustered(50))
    symbols = codes[:, 1:] if codec.ivf_lists else codes
    summed = sum(table[symbols[:, m]] for m, table in enumerate(codec.additive_tables))
    if codec.ivf_lists:
        summed = summed + codec.centroids[codes[:, 0]]
    np.testing.assert_allclose(codec.decode_additive(codes), summed, rtol=1e-4, atol=1e-4)


def test_the_pairwise_decoder_knows_the_first_pair_exactly(codec):
    codes = codec.encode(clustered(200))
    steps = 1 if codec.ivf_lists else 2
    symbols = codes[:, 1:] if codec.ivf_lists else codes
    tables = codec.additive_tables
    rest = sum(tables[m][symbols[:, m]] for m in range(steps, codec.steps))
    np.testing.assert_allclose(codec.decode_pairwise(codes), codec.decode(codes, steps) + rest, rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("lists", [8, 0])
def test_a_table_for_pairs_keeps_to_its_bound(tmp_path, lists):
    path = tiny_codec(tmp_path, lists=lists)
    bounded, free = load_codec(path, pair_table_bytes=1000), load_codec(path)
    codes = free.encode(clustered(200))
    before = size_bytes([bounded]), size_bytes([free])
    np.testing.assert_allclose(bounded.decode_pairwise(codes), free.decode_pairwise(codes), rtol=2e-2, atol=2e-2)
    assert size_bytes([bounded]) == before[0]
    assert size_bytes([free]) > before[1]


def test_a_checkpoint_round_trips_with_its_provenance(codec, tmp_path):
    path = tmp_path / "copy.safetensors"
    save_codec(codec, path)
    copy = load_codec(path)
    x = clustered(100)
    np.testing.assert_array_equal(copy.encode(x), codec.encode(x))
    np.testing.assert_allclose(copy.decode_pairwise(copy.encode(x)), codec.decode_pairwise(codec.encode(x)), rtol=1e-3)
    assert len(copy.sha256) == 64


@pytest.mark.parametrize(
    ("vectors", "error", "sentence"),
    [
        (np.zeros((3, 17), np.float32), DimensionMismatch, "vectors of 16 numbers; these have 17"),
        (np.zeros(16, np.float32), InvalidVectors, r"array \[n, 16\]"),
        (np.full((2, 16), np.nan, np.float32), InvalidVectors, "Vector 0 holds a value that is not finite"),
        (np.full((2, 16), np.inf, np.float32), InvalidVectors, "not finite"),
    ],
)
def test_vectors_that_cannot_be_encoded_are_refused_with_a_reason(codec, vectors, error, sentence):
    with pytest.raises(error, match=sentence):
        codec.encode(vectors)


def test_codes_that_no_encoder_made_are_refused(codec):
    codes = codec.encode(clustered(3))
    with pytest.raises(InvalidCodes, match="Symbols go from 0 to 15"):
        codec.decode(codes + np.eye(codes.shape[1], dtype=np.int32)[-1] * 16)
    with pytest.raises(InvalidCodes, match="Codes come as integers"):
        codec.decode(codes[:, 1:])
    with pytest.raises(InvalidCodes, match="9 of them"):
        codec.decode(codes, steps=9)


def test_lists_beyond_the_last_are_refused(tmp_path):
    codec = load_codec(tiny_codec(tmp_path, lists=8))
    codes = codec.encode(clustered(3))
    codes[1, 0] = 8
    with pytest.raises(InvalidCodes, match="Lists go from 0 to 7"):
        codec.decode(codes)


def test_pre_selection_is_refused_where_none_was_trained(tmp_path):
    codec = load_codec(tiny_codec(tmp_path, candidates=0))
    with pytest.raises(UnsupportedOption, match="trained without pre-selection"):
        codec.encode(clustered(3), candidates=4)
    assert codec.encode(clustered(3), beam=3).shape == (3, 5)


@pytest.mark.parametrize("search", [{"beam": 0}, {"beam": 17}, {"candidates": 17}, {"candidates": -1}])
def test_an_impossible_search_is_refused(codec, search):
    with pytest.raises(UnsupportedOption):
        codec.encode(clustered(3), **search)


@pytest.mark.parametrize("length", [0, 5, 100, 3000, -1])
def test_a_truncated_checkpoint_is_refused(tmp_path, length):
    path = tiny_codec(tmp_path)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(InvalidCheckpoint):
        load_codec(path)


def test_a_missing_or_foreign_file_is_no_checkpoint(tmp_path):
    with pytest.raises(InvalidCheckpoint, match="No such file"):
        load_codec(tmp_path / "absent.safetensors")
    (tmp_path / "text").write_text("hello " * 100)
    with pytest.raises(InvalidCheckpoint):
        load_codec(tmp_path / "text")


def test_a_prefix_is_a_codec_of_its_own(codec):
    x = clustered(1000, seed=5)
    codes = codec.encode(x)
    shorter = codec.prefix(3).with_shortlist_decoders(x, codes[:, :-1])
    np.testing.assert_allclose(shorter.decode(codes[:, :-1]), codec.decode(codes, steps=3), rtol=1e-5, atol=1e-5)
    assert shorter.steps == shorter.additive_tables.shape[0] == 3
    assert shorter.size_bytes < codec.size_bytes
    errors = [np.square(d(codes[:, :-1]) - x).sum() for d in (shorter.decode, shorter.decode_additive)]
    assert errors[1] < 1.2 * errors[0]
    with pytest.raises(InvalidCodes, match="a prefix of 5"):
        codec.prefix(5)


def test_shortlist_decoders_are_fitted_to_the_vectors_given(codec):
    x = clustered(2000, seed=6)
    bare = NetworkCodec(codec.network)
    with pytest.raises(UnsupportedOption, match="no additive tables"):
        bare.decode_additive(bare.encode(x))
    fitted = bare.with_shortlist_decoders(x)
    codes = codec.encode(x)
    ours, before = (np.square(c.decode_additive(codes) - x).sum() for c in (fitted, codec))
    assert ours < 1.02 * before


@pytest.mark.parametrize("name", ["dim", "steps", "codewords", "blocks", "embedding", "hidden", "ivf_lists"])
def test_a_configuration_out_of_all_proportion_is_refused_before_it_is_built(name):
    with pytest.raises(InvalidCheckpoint, match=f"'{name}' may be at most"):
        CodecConfig(**{"dim": 8, "steps": 2, name: 10**9})


def test_a_prefix_shares_its_memory_with_the_whole_codec(codec):
    x = clustered(1000, seed=5)
    codes = codec.encode(x)
    shorter = codec.prefix(3).with_shortlist_decoders(x, codes[:, :-1])
    together = size_bytes([codec, shorter])
    assert together - codec.size_bytes == shorter.normalised_tables.nbytes  # nothing but its own tables
    again = NetworkCodec(codec.network.prefix(3)).with_shortlist_decoders(x, codes[:, :-1])
    np.testing.assert_array_equal(shorter.decode_pairwise(codes[:, :-1]), again.decode_pairwise(codes[:, :-1]))
