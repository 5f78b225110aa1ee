"""Training vectors: read, checked before time is spent, held-out rows set apart, and a fingerprint."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.errors import InvalidTrainingData

Float32 = NDArray[np.float32]

VECTOR_TYPES = (np.float32, np.float16, np.float64, np.uint8, np.int8)


@dataclass(frozen=True)
class TrainingData:
    """training [n, dim] · held_out [h, dim], float32 · fingerprint, the SHA-256 of all rows used."""

    training: Float32
    held_out: Float32
    fingerprint: str


def read_vectors(path: Path) -> NDArray[np.generic]:
    """The vectors of a .npy, .fvecs or .bvecs file, mapped rather than read: [n, dim]."""
    try:
        if path.suffix == ".npy":
            vectors: NDArray[np.generic] = np.load(path, mmap_mode="r", allow_pickle=False)
        elif path.suffix in (".fvecs", ".bvecs"):
            vectors = _texmex(path)
        else:
            raise InvalidTrainingData(f"'{path.name}' is none of .npy, .fvecs, .bvecs.")
    except (OSError, ValueError, EOFError) as error:
        raise InvalidTrainingData(f"'{path.name}' cannot be read as vectors: {error}.") from error
    if vectors.ndim != 2 or vectors.dtype not in VECTOR_TYPES:
        raise InvalidTrainingData(
            f"'{path.name}' holds {vectors.dtype} of shape {list(vectors.shape)}; "
            "training takes a two-dimensional array of float32, float16, float64, uint8 or int8."
        )
    return vectors


def prepare(vectors: NDArray[np.generic], codewords: int, held_out: int, normalise: bool, seed: int) -> TrainingData:
    """Check and shuffle vectors [n, dim] and set rows apart. Raises InvalidTrainingData."""
    held_out = min(held_out, len(vectors) // 10)
    if len(vectors) - held_out < codewords:
        raise InvalidTrainingData(
            f"{len(vectors)} vectors are too few to train {codewords} codewords a step; bring at least {2 * codewords}."
        )
    rows = np.ascontiguousarray(vectors, dtype=np.float32)
    finite = np.isfinite(rows).all(axis=1)
    if not finite.all():
        raise InvalidTrainingData(f"Vector {int(np.argmin(finite))} holds a value that is not finite.")
    fingerprint = hashlib.sha256(rows.data).hexdigest()
    if normalise:
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        if not lengths.all():
            raise InvalidTrainingData(f"Vector {int(np.argmin(lengths))} is zero and has no direction to normalise.")
        rows /= lengths
    if (rows == rows[0]).all():
        raise InvalidTrainingData("All vectors are the same; there is nothing to learn.")
    order = np.random.default_rng(seed).permutation(len(rows))
    return TrainingData(rows[order[held_out:]], rows[order[:held_out]], fingerprint)


def _texmex(path: Path) -> NDArray[np.generic]:
    """fvecs and bvecs: each vector behind its dimension as an int32 (http://corpus-texmex.irisa.fr)."""
    raw = np.memmap(path, dtype=np.uint8, mode="r")
    if len(raw) < 4:
        raise ValueError("it is empty")
    dim = int(raw[:4].view("<i4")[0])
    item = np.dtype("<f4" if path.suffix == ".fvecs" else "u1")
    record = 4 + dim * item.itemsize
    if dim < 1 or len(raw) % record:
        raise ValueError(f"its length {len(raw)} is no multiple of a record of dimension {dim}")
    return raw.reshape(-1, record)[:, 4:].view(item)
