"""PQ-QINCo: vectors cut into equal slices, each with a codec of its own, trained one after the other.

For long codes, where one long chain of steps is dear (QINCo, section 5.4). The slices are cut from the vectors as they
are, or after the rotation that OPQ learns (Ge et al., CVPR 2013), which spreads what there is to tell over all slices.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import torch
from numpy.typing import NDArray

from model.checkpoint import ours
from model.codec import NetworkCodec
from model.errors import InvalidTrainingData
from model.product_codec import ProductCodec
from model.training.data import Rows, TrainingData, prepare, reader
from model.training.finish import baselines_beside, machine_name
from model.training.from_vectors import Report, train
from model.training.progress import Progress
from model.training.quality import COMPARED_ROWS, measure, prefix_errors, step_figures, summary
from model.training.recipe import Recipe
from model.training.resume import state_path
from model.training.state_file import remove_state

Float32 = NDArray[np.float32]

ROTATED_ROWS = 50_000
"""Vectors that the rotation is learned from, at most."""
SHARE_FOR_SLICES = 0.9
"""Of a time budget; the rest is for the rotation and for measuring."""


def train_sliced(
    vectors: Rows,
    recipe: Recipe,
    slices: int,
    out: Path,
    report: Report,
    rotate: bool = False,
    resume: bool = False,
    device: str = "cpu",
    memory_bytes: int | None = None,
    with_baselines: bool = False,
    state_part_bytes: int | None = None,
) -> dict[str, Any]:
    """What `train` does, for a codec of so many slices; `recipe.steps` counts the symbols of all. It has no lists.

    rotate  turn vectors by the rotation that OPQ learns for these slices
    resume  keep the slices that are done, and continue with the one that was interrupted
    The time budget is shared out evenly. Raises InvalidTrainingData before time is spent.
    """
    began, recipe = time.monotonic(), replace(recipe, lists=0)
    own_dim = _share(vectors.shape[-1], slices, "numbers of a vector")
    own_steps = _share(recipe.steps, slices, "symbols of a code")
    spool = out.with_name(f".{out.name}.vectors")
    try:
        data = prepare(vectors, recipe, spool, memory_bytes)
    finally:
        spool.unlink(missing_ok=True)
    budget_s = None if recipe.time_budget_s is None else SHARE_FOR_SLICES * recipe.time_budget_s / slices
    # What is wrong with vectors was found on the whole ones; a slice of sound ones may well hold a constant.
    own = replace(recipe, steps=own_steps, normalise=False, allow_constant=True, time_budget_s=budget_s)
    files = _Files(out, data.fingerprint, slices)
    if not resume:
        files.remove()
    rotation = files.rotation(data.sample) if rotate else None
    for number, path in enumerate(files.slices):
        if path.exists() and ours.read_training(path)["recipe"] == asdict(own):
            continue
        part = _Slice(vectors, rotation, slice(number * own_dim, (number + 1) * own_dim), reader(recipe))
        train(
            part, own, path, _told(report, number, slices), state_path(path).exists(), device, memory_bytes,
            state_part_bytes=state_part_bytes,
        )  # fmt: skip
    report("Measuring the codec on vectors set apart")
    codec = ProductCodec([_network_codec(path) for path in files.slices], rotation)
    training = _training(codec, data, recipe, rotate)
    if with_baselines:
        training["baselines"] = baselines_beside(data, recipe, training["quality"], report)
    training["seconds"] = round(time.monotonic() - began, 1)
    ours.save(codec, out, training)
    files.remove()
    return training


class _Files:
    """What is kept beside `out` until all slices are done, under a name that no other vectors have."""

    def __init__(self, out: Path, fingerprint: str, slices: int) -> None:
        name = f".{out.name}.{fingerprint[:12]}"
        self.slices = [out.with_name(f"{name}.slice-{number}-of-{slices}") for number in range(slices)]
        self._rotation = out.with_name(f"{name}.rotation-{slices}.npy")

    def rotation(self, sample: Float32) -> Float32:
        """R [dim, dim], kept for `resume`: learned anew, it would not be the same to the last digit."""
        if not self._rotation.exists():
            learned = _opq(sample, len(self.slices))
            with self._rotation.open("wb") as file:
                np.save(file, learned)
        return np.asarray(np.load(self._rotation), np.float32)

    def remove(self) -> None:
        """Forget all of it."""
        for path in self.slices:
            path.unlink(missing_ok=True)
            remove_state(state_path(path))
        self._rotation.unlink(missing_ok=True)


class _Slice:
    """Some dimensions of vectors that are read by slices, after the rotation."""

    def __init__(
        self, vectors: Rows, rotation: Float32 | None, own: slice, read: Callable[[NDArray[Any]], Float32]
    ) -> None:
        self._vectors, self._rotation, self._own, self._read = vectors, rotation, own, read
        self.shape, self.dtype = (vectors.shape[0], own.stop - own.start), np.dtype(np.float32)

    def __getitem__(self, rows: slice) -> Float32:
        vectors = self._read(self._vectors[rows])
        turned = vectors if self._rotation is None else vectors @ self._rotation.T
        return np.ascontiguousarray(turned[:, self._own])


def _opq(sample: Float32, slices: int) -> Float32:
    """The rotation R [dim, dim] that OPQ learns for so many slices of a byte each: x Rᵀ is cut."""
    learning = faiss.OPQMatrix(sample.shape[1], slices, sample.shape[1])
    learning.train(np.ascontiguousarray(sample[:ROTATED_ROWS]))
    return np.asarray(faiss.vector_to_array(learning.A), np.float32).reshape(sample.shape[1], -1)


def _share(whole: int, slices: int, what: str) -> int:
    if whole % slices:
        raise InvalidTrainingData(f"{whole} {what} cannot be cut into {slices} equal slices.")
    return whole // slices


def _told(report: Report, number: int, slices: int) -> Report:
    def tell(news: str | Progress) -> None:
        report(f"Slice {number + 1} of {slices}: {news}" if isinstance(news, str) else news)

    return tell


def _network_codec(path: Path) -> NetworkCodec:
    codec = ours.load(path, "cpu", "")
    assert isinstance(codec, NetworkCodec)
    return codec


def _training(codec: ProductCodec, data: TrainingData, recipe: Recipe, rotate: bool) -> dict[str, Any]:
    """What the checkpoint tells of it; the course of each slice's training is not kept."""
    evaluation = measure(codec, data.held_out, recipe.normalise)
    codes = codec.encode(data.sample[:COMPARED_ROWS])
    errors = prefix_errors(codec, data.sample, codes)
    return {
        "recipe": asdict(recipe) | {"slices": len(codec.slices), "rotated": rotate},
        "data": data.told() | {"lists": 0},
        "quality": summary(codec, data.held_out, evaluation),
        "machine": machine_name(torch.device(codec.device)),
        "encode_us": round(evaluation.encode_us, 1),
        "decode_us": round(evaluation.decode_us, 2),
        "steps": step_figures(evaluation, errors, codes, recipe.codewords, len(codec.slices)),
        "history": [],
    }
