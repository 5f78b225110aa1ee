"""What vectors are trained on: checked first, whatever their scale, and from their file where memory is small."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from model import load_codec
from model.errors import InvalidTrainingData
from model.training import Recipe, train
from model.training.batches import BatchesFromFile, BatchesInMemory
from model.training.data import prepare
from tests.builders import clustered

SMALL = Recipe(steps=4, codewords=16, preset="XS", lists=0, epochs=4, batch=128)


class Sliced:
    """Vectors that give nothing but slices, as Parquet does."""

    def __init__(self, x: np.ndarray[Any, Any], length: int | None = None) -> None:
        self._x, self.shape, self.dtype = x, (length or len(x), x.shape[1]), x.dtype

    def __getitem__(self, rows: slice) -> np.ndarray[Any, Any]:
        return self._x[rows]


def with_value(row: int, column: int, value: float) -> np.ndarray[Any, Any]:
    x = clustered(1000, 8)
    x[row, column] = value
    return x


@pytest.mark.parametrize(
    ("x", "sentence"),
    [
        (np.zeros((1000, 8), np.float32), "All vectors are the same"),
        (np.ones((10, 8), np.float32), "too few to train 16 codewords"),
        (with_value(9, 5, np.nan), "Vector 9 holds a value that is not finite"),
        (with_value(999, 0, np.inf), "Vector 999 holds"),
        (clustered(1000).astype(np.float64) * 1e39, "Vector 0 holds"),
        (np.hstack([clustered(1000), np.full((1000, 7), 3.0)]), "7 of 23 dimensions .*: 16, 17, 18, 19, 20 …"),
        (np.repeat(clustered(10), 100, axis=0), "only 10 different ones, too few for 16"),
        (clustered(1000).astype(complex), "complex128 of shape"),
        (np.zeros((1000, 3, 3)), r"float64 of shape \[1000, 3, 3\]"),
        (Sliced(clustered(1000), length=1200), "end at number 1000 of 1200: the file is cut short"),
    ],
)
def test_data_that_cannot_be_trained_on_is_refused_before_time_is_spent(tmp_path, x, sentence):
    with pytest.raises(InvalidTrainingData, match=sentence):
        train(x, SMALL, tmp_path / "codec.safetensors", lambda _: None)
    assert not list(tmp_path.iterdir())


def test_a_zero_vector_has_no_direction(tmp_path):
    x = clustered(1000)
    x[123] = 0
    with pytest.raises(InvalidTrainingData, match="Vector 123 is zero"):
        prepare(x, dataclasses.replace(SMALL, normalise=True), tmp_path / "spool")


def test_padded_vectors_are_trained_on_when_that_is_said(tmp_path):
    x = np.hstack([clustered(1000), np.zeros((1000, 8), np.float32)])
    recipe = dataclasses.replace(SMALL, allow_constant=True, epochs=1)
    train(x, recipe, tmp_path / "codec.safetensors", lambda _: None)
    codec = load_codec(tmp_path / "codec.safetensors")
    padding = codec.decode(codec.encode(x))[:, 16:]
    assert np.square(padding).mean() < 1e-3 * x[:, :16].var()


@pytest.mark.parametrize("scale", [2.0**-20, 2.0**20])
def test_vectors_of_any_scale_train_alike(tmp_path, scale):
    """By a power of two, so that every number is the same but for its exponent."""
    kept, scaled = (
        train(clustered(2000) * by, SMALL, tmp_path / "codec.safetensors", lambda _: None)["quality"]["mse"]
        for by in (np.float32(1), np.float32(scale))
    )
    assert scaled / scale**2 == pytest.approx(kept, rel=1e-4)


@pytest.mark.parametrize("memory_bytes", [None, 300_000], ids=["in memory", "from their file"])
@pytest.mark.parametrize("kind", [np.asarray, Sliced], ids=["array", "slices"])
def test_vectors_are_set_apart_once_and_all_others_trained_on(tmp_path, memory_bytes, kind):
    x = clustered(8000)
    data = prepare(kind(x), SMALL, tmp_path / "spool", memory_bytes)
    assert data.is_in_memory == (memory_bytes is None)
    assert (data.rows, data.held_out.shape) == (7200, (800, 16))
    training = data.training if data.is_in_memory else data.rows_between(0, 8000)
    together = np.concatenate([training, data.held_out])
    np.testing.assert_array_equal(np.unique(together, axis=0), np.unique(x, axis=0))
    assert {row.tobytes() for row in data.sample} <= {row.tobytes() for row in training}
    assert data.fingerprint == prepare(x, SMALL, tmp_path / "other").fingerprint


def test_vectors_larger_than_memory_train_from_their_file_as_well(tmp_path):
    """An eighth of the vectors fits; held-out error is near what all of them in memory give."""
    np.save(tmp_path / "x.npy", clustered(8000))
    x = np.load(tmp_path / "x.npy", mmap_mode="r")
    recipe = dataclasses.replace(SMALL, lists=8, epochs=3)
    out = tmp_path / "codec.safetensors"
    within, beyond = (
        train(x, recipe, out, lambda _: None, memory_bytes=size)["quality"]["mse"] for size in (None, 200_000)
    )
    assert beyond == pytest.approx(within, rel=0.15)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["codec.safetensors", "x.npy"]


def test_vectors_that_are_unpacked_to_train_leave_nothing_behind(tmp_path):
    def stop(news: object) -> None:
        assert (tmp_path / ".codec.safetensors.vectors").exists()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(Sliced(clustered(8000)), SMALL, tmp_path / "codec.safetensors", stop, memory_bytes=200_000)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("n", [1000, 1024, 999])
def test_an_epoch_in_memory_shows_every_vector_once(n):
    x = torch.arange(n, dtype=torch.float32)[:, None]
    batches = BatchesInMemory(x, None, 100, seed=0)
    epochs = [torch.cat([batches.at(epoch * batches.an_epoch + i).x for i in range(n // 100)]) for epoch in (0, 1)]
    assert all(len(epoch.unique()) == len(epoch) == n // 100 * 100 for epoch in epochs)
    assert not torch.equal(*epochs)


@pytest.mark.parametrize(("n", "pool"), [(1000, 300), (1024, 64), (999, 5000), (130, 1)])
def test_an_epoch_from_a_file_shows_most_vectors_once(n, pool):
    held = {3, 700}

    def read(begin, end):
        return torch.tensor([[row] for row in range(begin, end) if row not in held], dtype=torch.float32)

    def made():
        return BatchesFromFile(read, lambda x: x[:, 0].long(), n, 50, seed=0, pool_rows=pool, block_rows=32)

    batches = made()
    seen = torch.cat([batches.at(i).x for i in range(batches.an_epoch)])[:, 0]
    assert len(seen) == batches.rows > 0.6 * n
    assert len(seen.unique()) >= len(seen) - 2
    assert not held & set(seen.tolist())
    later = batches.an_epoch + 1
    assert torch.equal(batches.at(later).x, made().at(later).x)
    assert torch.equal(batches.at(later).lists, batches.at(later).x[:, 0].long())
