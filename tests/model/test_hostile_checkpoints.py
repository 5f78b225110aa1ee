"""Files in our format that no release wrote: each is refused with a sentence when it is read, not when it is used."""

import json

import numpy as np
import pytest
from safetensors.numpy import load, save

from model import NetworkCodec, ProductCodec, load_codec, save_codec
from model.errors import InvalidCheckpoint
from tests.model.builders import random_network, random_vectors

PAIRS = {
    "pairs.columns": np.array([[0, 1], [1, 3]], np.int64),
    "pairs.tables": np.zeros((2, 64, 12), np.float32),
    "pairs.list_codes": np.zeros((6, 2), np.int64),
}


def edited(path, codec, tensors=None, config=None):
    """Write a codec, some of its tensors and its configuration changed."""
    save_codec(codec, path)
    whole = path.read_bytes()
    metadata = json.loads(whole[8 : 8 + int.from_bytes(whole[:8], "little")])["__metadata__"]
    changed = config(json.loads(metadata["config"])) if config else metadata["config"]
    metadata["config"] = changed if isinstance(changed, str) else json.dumps(changed)
    path.write_bytes(save({**load(whole), **(tensors or {})}, metadata))
    return path


def codec_with_lists():
    return NetworkCodec(random_network(ivf_lists=6))


def sliced():
    return ProductCodec([NetworkCodec(random_network(seed)) for seed in (0, 1)], np.eye(24, dtype=np.float32))


@pytest.mark.parametrize("value", [float("nan"), True, None, "3", [3], 3.0])
@pytest.mark.parametrize("name", ["dim", "steps", "blocks", "ivf_lists", "candidates", "beam", "preselection_blocks"])
def test_a_size_that_is_no_whole_number_is_refused(tmp_path, name, value):
    path = edited(tmp_path / "c", codec_with_lists(), config=lambda config: {**config, name: value})
    with pytest.raises(InvalidCheckpoint, match=name):
        load_codec(path)


@pytest.mark.parametrize("text", ["[" * 100_000 + "]" * 100_000, "1" * 5000, "[1, 2]", "null", '{"slices": [1]}'])
def test_a_configuration_that_is_none_is_refused(tmp_path, text):
    path = edited(tmp_path / "c", codec_with_lists(), config=lambda config: text)
    with pytest.raises(InvalidCheckpoint, match="configuration"):
        load_codec(path)


@pytest.mark.parametrize(
    ("tensors", "sentence"),
    [
        ({"std": np.zeros((), np.float32)}, "more than 0"),
        ({"std": np.array(-1, np.float32)}, "more than 0"),
        ({"steps.0.codebook": np.full((8, 12), 3e38, np.float32)}, "beyond"),
        ({"pairs.tables": PAIRS["pairs.tables"]}, "without their columns"),
        ({**PAIRS, "pairs.columns": np.array([[0, 1], [1, 5]])}, "columns that a code of 5"),
        ({**PAIRS, "pairs.columns": np.array([[0, 1], [1, -1]])}, "columns that a code of 5"),
        ({**PAIRS, "pairs.columns": np.array([0, 1])}, "two by two"),
        ({**PAIRS, "pairs.tables": np.zeros((2, 9, 12), np.float32)}, "another codec"),
        ({**PAIRS, "pairs.list_codes": np.zeros((5, 2), np.int64)}, "another codec"),
        ({**PAIRS, "pairs.list_codes": np.full((6, 2), 8)}, "not all from 0 to 7"),
    ],
)
def test_numbers_that_would_fail_in_a_query_are_refused(tmp_path, tensors, sentence):
    with pytest.raises(InvalidCheckpoint, match=sentence):
        load_codec(edited(tmp_path / "c", codec_with_lists(), tensors))


def test_pairs_that_fit_are_read(tmp_path):
    codec = load_codec(edited(tmp_path / "c", codec_with_lists(), PAIRS))
    codes = codec.encode(random_vectors(codec.network, 5).numpy())
    assert codec.decode_pairwise(codes).shape == (5, 12)


@pytest.mark.parametrize("change", [{"ivf_lists": 2}, {"steps": 2}, {"codewords": 4}, {"dim": 6}])
def test_slices_that_differ_are_refused(tmp_path, change):
    def differing(config):
        return {"slices": [config["slices"][0], {**config["slices"][1], **change}]}

    with pytest.raises(InvalidCheckpoint, match="slices of the codec differ"):
        load_codec(edited(tmp_path / "c", sliced(), config=differing))


def test_a_beam_wider_than_the_codebook_becomes_the_codebook_s(tmp_path):
    codec = load_codec(edited(tmp_path / "c", codec_with_lists(), config=lambda config: {**config, "beam": 100}))
    assert codec.default_beam == 8
    assert len(codec.encode(random_vectors(codec.network, 5).numpy())) == 5
