"""What tests are built from: clustered vectors, and a codec trained on them in a second."""

import tempfile
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.training import Recipe, train

Float32 = NDArray[np.float32]


def clustered(n: int, dim: int = 16, seed: int = 0) -> Float32:
    """Vectors [n, dim] around 50 centres, which are the same for every seed."""
    centres = np.random.default_rng(2024).normal(size=(50, dim)) * 3
    rng = np.random.default_rng(seed)
    return (centres[rng.integers(0, len(centres), n)] + rng.normal(size=(n, dim))).astype(np.float32)


def tiny_codec(
    folder: Path, dim: int = 16, steps: int = 4, codewords: int = 16, lists: int = 8, seed: int = 0, candidates: int = 4
) -> Path:
    """A checkpoint of a codec trained for a moment on `clustered` vectors; lists = 0 makes one without IVF."""
    path = folder / f"tiny-{dim}-{steps}x{codewords}-{lists}-{seed}-{candidates}.safetensors"
    path.write_bytes(_tiny_checkpoint(dim, steps, codewords, lists, seed, candidates))
    return path


@cache
def _tiny_checkpoint(dim: int, steps: int, codewords: int, lists: int, seed: int, candidates: int) -> bytes:
    recipe = Recipe(
        steps=steps, codewords=codewords, preset="XS", lists=lists, candidates=candidates, epochs=2, seed=seed
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "codec.safetensors"
        train(clustered(2000, dim, seed), recipe, path, report=lambda _: None)
        return path.read_bytes()
