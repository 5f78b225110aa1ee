"""Vectors in files: .npy, .fvecs and .bvecs as arrays that are mapped rather than read."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.cli.failure import CommandFailed

# What the server takes as it is; other numbers are sent as float32.
SENT_AS_THEY_ARE = ("float32", "float16", "uint8", "int8")


def open_vectors(path: Path) -> NDArray[Any]:
    """The vectors [n, dim] of a file; raises CommandFailed for what is no such file."""
    try:
        vectors = np.load(path, mmap_mode="r", allow_pickle=False) if path.suffix == ".npy" else _open_vecs(path)
    except (OSError, ValueError) as error:
        raise CommandFailed(f"{path} cannot be read: {error}") from error
    if vectors.ndim != 2 or vectors.dtype.kind not in "fiu":
        raise CommandFailed(f"{path} holds {vectors.dtype} of shape {vectors.shape}; vectors are numbers [n, dim].")
    return vectors


def as_sent(vectors: NDArray[Any]) -> NDArray[Any]:
    """In a type that the server reads, rows one after the other."""
    kind = vectors.dtype if vectors.dtype.name in SENT_AS_THEY_ARE else np.float32
    return np.ascontiguousarray(vectors, dtype=kind)


def _open_vecs(path: Path) -> NDArray[Any]:
    """Each vector comes after its dimension as int32, in the format of the TEXMEX sets."""
    kind = {".fvecs": np.dtype("<f4"), ".bvecs": np.dtype("u1")}.get(path.suffix)
    if kind is None:
        raise CommandFailed(f"{path}: vectors are read from .npy, .fvecs, .bvecs and .jsonl files.")
    dim = int(np.fromfile(path, "<i4", count=1)[0])
    record = np.dtype([("dim", "<i4"), ("vector", kind, (dim,))])
    records = np.memmap(path, record, mode="r")
    if (records["dim"] != dim).any():
        raise ValueError(f"not all vectors have {dim} numbers")
    vectors: NDArray[Any] = records["vector"]
    return vectors
