"""Vectors in files: .npy, .fvecs and .bvecs as arrays that are mapped rather than read, .parquet and .h5 by slices."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.cli.columns import open_hdf5, open_parquet
from service.cli.failure import CommandFailed

# What the server takes as it is; other numbers are sent as float32.
SENT_AS_THEY_ARE = ("float32", "float16", "uint8", "int8")

MAGIC = b"\x93NUMPY"
TEXMEX: dict[str, np.dtype[Any]] = {".fvecs": np.dtype("<f4"), ".bvecs": np.dtype("u1")}


SUFFIXES = ".npy, .fvecs, .bvecs, .parquet and .h5"


def open_vectors(path: Path) -> NDArray[Any]:
    """The vectors [n, dim] of a file; raises CommandFailed for what is no such file.

    Those of .parquet and .h5 are no arrays, but have a shape, a dtype and slices that are.
    """
    vectors = _open(path)
    if vectors.ndim != 2 or not vectors.shape[1]:
        raise CommandFailed(f"{path} holds an array of shape {list(vectors.shape)}; vectors come as [n, dim].")
    return vectors


def _open(path: Path) -> Any:
    if path.suffix in TEXMEX:
        return open_texmex(path)
    if path.suffix in (".h5", ".hdf5"):
        return open_hdf5(path)
    return open_parquet(path) if path.suffix == ".parquet" else open_array(path)


def open_array(path: Path) -> NDArray[Any]:
    """The numbers of a .npy file, of any shape; raises CommandFailed."""
    if path.suffix != ".npy":
        raise CommandFailed(f"{path}: vectors are read from {SUFFIXES} files.")
    try:
        with path.open("rb") as file:
            if file.read(len(MAGIC)) != MAGIC:
                raise CommandFailed(f"{path} is no .npy file: it does not begin like one.")
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError as error:
        raise CommandFailed(f"{path} cannot be read: {error.strerror or error}.") from error
    except (ValueError, EOFError) as error:
        raise CommandFailed(f"{path} cannot be read: {str(error).rstrip('.')}.") from error
    if array.dtype.kind not in "fiu":
        raise CommandFailed(f"{path} holds {array.dtype}; vectors are real numbers.")
    return array


def open_texmex(path: Path) -> NDArray[Any]:
    """Each vector comes after its dimension as int32, in the format of the TEXMEX sets; raises CommandFailed."""
    kind = TEXMEX[path.suffix]
    try:
        size = path.stat().st_size
        first = np.fromfile(path, "<i4", count=1)
    except OSError as error:
        raise CommandFailed(f"{path} cannot be read: {error.strerror or error}.") from error
    dim = int(first[0]) if len(first) else 0
    if dim < 1 or size % (4 + dim * kind.itemsize):
        raise CommandFailed(f"{path} is no {path.suffix} file: its {size} bytes are not vectors of {dim} numbers each.")
    records = np.memmap(path, np.dtype([("dim", "<i4"), ("vector", kind, (dim,))]), mode="r")
    if (records["dim"] != dim).any():
        raise CommandFailed(f"{path} is no {path.suffix} file: not all of its vectors have {dim} numbers.")
    vectors: NDArray[Any] = records["vector"]
    return vectors


def as_sent(vectors: NDArray[Any]) -> NDArray[Any]:
    """In a type that the server reads, rows one after the other."""
    kind = vectors.dtype if vectors.dtype.name in SENT_AS_THEY_ARE else np.float32
    return np.ascontiguousarray(vectors, dtype=kind)


def without_first(vectors: NDArray[Any], skip: int) -> Any:
    """Vectors less the first so many: a view of an array, or of what is read by slices."""
    if not skip:
        return vectors
    return vectors[skip:] if isinstance(vectors, np.ndarray) else _Later(vectors, skip)


class _Later:
    """What follows the first rows of vectors that are read by slices."""

    def __init__(self, vectors: Any, skip: int) -> None:
        self._vectors, self._skip = vectors, min(skip, len(vectors))
        self.shape, self.dtype = (len(vectors) - self._skip, vectors.shape[1]), vectors.dtype

    def __getitem__(self, rows: slice) -> NDArray[Any]:
        begin, end, _ = rows.indices(self.shape[0])
        later: NDArray[Any] = self._vectors[begin + self._skip : end + self._skip]
        return later
