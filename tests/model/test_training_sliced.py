"""PQ-QINCo is trained slice by slice, and goes on with the slice it was interrupted in."""

from dataclasses import replace

import numpy as np
import pytest

from model import ProductCodec, load_codec
from model.checkpoint import ours
from model.errors import InvalidTrainingData
from model.training.progress import Progress
from model.training.report import write_report
from model.training.sliced import train_sliced
from tests.builders import clustered
from tests.model.trained import SMALL

RECIPE = replace(SMALL, epochs=1)


def mse(decoded, x):
    return np.square(decoded - x).sum(axis=1).mean()


@pytest.mark.parametrize(("rotate", "cosine"), [(False, False), (True, True)])
def test_a_codec_of_slices_is_trained_and_read_back(tmp_path, rotate, cosine):
    x, out = clustered(1500), tmp_path / "codec.safetensors"
    recipe, said = replace(RECIPE, normalise=cosine), []
    training = train_sliced(x, recipe, 2, out, said.append, rotate)
    codec = load_codec(out)
    assert isinstance(codec, ProductCodec)
    assert (len(codec.slices), codec.steps, codec.slices[0].dim) == (2, 4, x.shape[1] // 2)
    assert (codec.rotation is not None) == rotate
    if rotate:
        turned = codec.rotation @ codec.rotation.T
        assert np.allclose(turned, np.eye(x.shape[1]), atol=1e-4)
    given = x / np.linalg.norm(x, axis=1, keepdims=True) if cosine else x
    error = mse(codec.decode(codec.encode(given)), given)
    assert error < 0.5 * np.square(given - given.mean(axis=0)).sum(axis=1).mean()
    assert training["quality"]["mse"] == pytest.approx(error, rel=0.3)
    assert [one["steps"] for one in training["steps"]] == [2, 4]
    assert training["recipe"]["slices"] == 2
    assert any("Slice 2 of 2: Training the network" in one for one in said if isinstance(one, str))
    assert any(isinstance(one, Progress) for one in said)
    assert "slices 2" in write_report(training, out).read_text()
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


def test_slices_that_are_done_are_not_trained_again(tmp_path):
    x, out = clustered(1500), tmp_path / "codec.safetensors"
    train_sliced(x, RECIPE, 2, tmp_path / "unbroken.safetensors", lambda news: None, rotate=True)

    def stop(news):
        if isinstance(news, str) and "Slice 2 of 2: Training the network" in news:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_sliced(x, RECIPE, 2, out, stop, rotate=True)
    assert not out.exists()
    said = []
    train_sliced(x, RECIPE, 2, out, said.append, rotate=True, resume=True)
    assert not any("Slice 1" in one for one in said if isinstance(one, str))
    codes = [load_codec(path).encode(x[:200]) for path in (out, tmp_path / "unbroken.safetensors")]
    assert np.array_equal(codes[0][:, :2], codes[1][:, :2])  # the slice that was done is the same
    assert ours.read_training(out)["data"]["lists"] == 0


def test_what_cannot_be_cut_evenly_is_refused_before_time_is_spent(tmp_path):
    with pytest.raises(InvalidTrainingData, match="16 numbers of a vector cannot be cut into 3"):
        train_sliced(clustered(600), replace(RECIPE, steps=6), 3, tmp_path / "codec.safetensors", print)
    with pytest.raises(InvalidTrainingData, match="5 symbols of a code cannot be cut into 2"):
        train_sliced(clustered(600), replace(RECIPE, steps=5), 2, tmp_path / "codec.safetensors", print)
