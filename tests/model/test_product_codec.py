"""A codec of slices: it cuts, rotates, and is otherwise like any other."""

import numpy as np
import pytest
import torch

from model import NetworkCodec, ProductCodec, load_codec, save_codec
from model.errors import DimensionMismatch, InvalidCheckpoint, InvalidCodes, InvalidVectors
from tests.builders import clustered
from tests.model.builders import random_network


@pytest.fixture(params=[False, True], ids=["as it is", "rotated"])
def codec(request):
    slices = [NetworkCodec(random_network(seed, dim=6, steps=2)) for seed in range(2)]
    rotation = torch.linalg.qr(torch.randn(12, 12, generator=torch.Generator().manual_seed(0)))[0]
    return ProductCodec(slices, rotation.numpy() if request.param else None, "abc")


def test_each_slice_is_coded_by_itself(codec):
    x = clustered(20, dim=12)
    rotated = x if codec.rotation is None else x @ codec.rotation.T
    expected = [one.encode(rotated[:, 6 * s : 6 * s + 6]) for s, one in enumerate(codec.slices)]
    codes = codec.encode(x)
    np.testing.assert_array_equal(codes, np.hstack(expected))
    decoded = np.hstack([one.decode(part) for one, part in zip(codec.slices, expected, strict=True)])
    decoded = decoded if codec.rotation is None else decoded @ codec.rotation
    np.testing.assert_allclose(codec.decode(codes), decoded, rtol=1e-5, atol=1e-5)


def test_a_prefix_takes_as_many_steps_of_each_slice(codec):
    codes = codec.encode(clustered(20, dim=12))
    shorter = codec.prefix(2)
    np.testing.assert_array_equal(codec.prefix_columns(2), [0, 2])
    np.testing.assert_allclose(shorter.decode(codes[:, [0, 2]]), codec.decode(codes, steps=2), rtol=1e-5, atol=1e-5)
    for steps in (0, 1, 3, 6):
        with pytest.raises(InvalidCodes, match="multiple of 2"):
            codec.decode(codes, steps=steps)


def test_fitted_tables_sum_to_the_additive_reconstruction_and_survive_the_file(codec, tmp_path):
    x = clustered(500, dim=12)
    assert not codec.has_additive
    fitted = codec.with_shortlist_decoders(x)
    codes = fitted.encode(x)
    summed = sum(table[codes[:, m]] for m, table in enumerate(fitted.additive_tables))
    np.testing.assert_allclose(fitted.decode_additive(codes), summed, rtol=1e-4, atol=1e-4)
    save_codec(fitted, tmp_path / "pq.safetensors")
    copy = load_codec(tmp_path / "pq.safetensors")
    assert isinstance(copy, ProductCodec)
    assert (copy.dim, copy.steps, copy.ivf_lists, copy.has_pairwise) == (12, 4, 0, True)
    np.testing.assert_allclose(copy.decode_pairwise(codes), fitted.decode_pairwise(codes), rtol=2e-2, atol=5e-2)
    assert copy.size_bytes < fitted.size_bytes  # the weights of a file stay in its float16


def test_tensors_come_back_as_tensors(codec):
    x = torch.from_numpy(clustered(5, dim=12))
    codes = codec.encode(x)
    assert isinstance(codes, torch.Tensor)
    assert isinstance(codec.decode(codes), torch.Tensor)


def test_what_does_not_fit_is_refused(codec):
    with pytest.raises(DimensionMismatch, match="12 numbers; these have 6"):
        codec.encode(np.zeros((2, 6), np.float32))
    with pytest.raises(InvalidVectors, match="array"):
        codec.encode(np.zeros(12, np.float32))
    with pytest.raises(InvalidCodes, match=r"integers \[n, 4\]"):
        codec.decode(np.zeros((2, 3), np.int32))


def test_a_rotation_of_another_size_is_refused(codec, tmp_path):
    codec.rotation = np.eye(5, dtype=np.float32)
    save_codec(codec, tmp_path / "pq.safetensors")
    with pytest.raises(InvalidCheckpoint, match="rotation has shape"):
        load_codec(tmp_path / "pq.safetensors")
