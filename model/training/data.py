"""Training vectors: checked before time is spent, rows set apart, a sample for what k-means makes, a fingerprint.

One pass over the vectors, in blocks. They are kept in memory where they fit, and read from their file otherwise.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from model.errors import InvalidTrainingData
from model.training.memory import available_bytes
from model.training.recipe import Recipe

Float32 = NDArray[np.float32]

BLOCK_BYTES = 32 << 20
SAMPLE_ROWS = 1_000_000
POINTS_A_LIST = 64
DISTINCT_ROWS = 65_536
COPIES = 3
"""Of the vectors, that training holds at most: as they are, normalised, and what is being computed from them."""


class Rows(Protocol):
    """Vectors in a row: an array, a mapped file, or whatever gives slices as arrays."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    def __getitem__(self, rows: slice, /) -> Any: ...


@dataclass(frozen=True)
class TrainingData:
    """What a codec is trained on; none of it is normalised by mean and std yet.

    training  Rows [n, dim], float32 in memory; or as they are in a file, where `held_rows`, sorted, are to be left out
    rows      vectors to train on
    sample [s, dim] of them, for k-means and fits · held_out [h, dim], both float32 and of length 1 if so asked
    read      from rows of `training` to float32, of length 1 if so asked
    """

    training: Rows
    rows: int
    held_rows: NDArray[np.int64] | None
    sample: Float32
    held_out: Float32
    fingerprint: str
    memory_bytes: int
    read: Callable[[NDArray[np.generic]], Float32]

    @property
    def dim(self) -> int:
        return int(self.held_out.shape[1])

    def told(self) -> dict[str, Any]:
        """What a checkpoint says of it."""
        return {"vectors": self.rows, "dim": self.dim, "held_out": len(self.held_out), "sha256": self.fingerprint}

    @property
    def is_in_memory(self) -> bool:
        return self.held_rows is None

    def rows_between(self, begin: int, end: int) -> Float32:
        """Rows of the file, less those held out."""
        assert self.held_rows is not None
        first, last = np.searchsorted(self.held_rows, (begin, end))
        return self.read(np.delete(self.training[begin:end], self.held_rows[first:last] - begin, axis=0))


def prepare(vectors: Rows, recipe: Recipe, spool: Path, memory_bytes: int | None = None) -> TrainingData:
    """Check vectors [n, dim], shuffle what is in memory, set rows apart. Raises InvalidTrainingData.

    memory_bytes  what training may take; by default half of what is available. Vectors that do not fit stay where they
                  are; if that is no array (Parquet, HDF5), unpacked at `spool`, which the caller removes
    """
    n, dim = _sizes(vectors, recipe)
    memory_bytes = available_bytes() // 2 if memory_bytes is None else memory_bytes
    rng = np.random.default_rng(recipe.seed)
    order = rng.permutation(n)
    held_out = held_out_rows(recipe, n)
    read = reader(recipe)
    if COPIES * 4 * n * dim <= memory_bytes:
        kept = np.empty((n, dim), np.float32)
        fingerprint = _checked(vectors, recipe, lambda begin, block: _keep(kept, begin, read(block)))
        _set_apart(kept, order[:held_out])
        training = kept[: n - held_out]
        return TrainingData(training, len(training), None, _sample(training, rng, recipe), kept[n - held_out :],
                            fingerprint, memory_bytes, _as_float32)  # fmt: skip
    flat = _Spool(spool, n, dim) if not isinstance(vectors, np.ndarray) else None
    fingerprint = _checked(vectors, recipe, lambda begin, block: flat.keep(block) if flat else None)
    source = vectors if flat is None else flat.mapped()
    sampled = min(n - held_out, _sample_rows(recipe, n), memory_bytes // (8 * COPIES * dim))
    held, some = np.sort(order[:held_out]), np.sort(order[held_out : held_out + sampled])
    sample, apart = (read(_gathered(source, rows, dim)) for rows in (some, held))
    rng.shuffle(sample)
    return TrainingData(source, n - held_out, held, sample, apart, fingerprint, memory_bytes, read)


def reader(recipe: Recipe) -> Callable[[NDArray[np.generic]], Float32]:
    """From rows as they are to float32, of length 1 if the recipe says so."""
    return _unit if recipe.normalise else _as_float32


def held_out_rows(recipe: Recipe, n: int) -> int:
    """How many of n vectors are set apart."""
    return min(recipe.held_out, max(2, n // 10))


def _sizes(vectors: Rows, recipe: Recipe) -> tuple[int, int]:
    dtype = getattr(vectors, "dtype", np.dtype(np.float32))
    if len(vectors.shape) != 2 or not vectors.shape[1] or dtype.kind not in "fiu":
        raise InvalidTrainingData(
            f"The vectors are {dtype} of shape {list(vectors.shape)}; training takes an array [n, dim] of numbers."
        )
    n, dim = vectors.shape
    if n - held_out_rows(recipe, n) < recipe.codewords:
        raise InvalidTrainingData(
            f"{n} vectors are too few to train {recipe.codewords} codewords a step; "
            f"bring at least {2 * recipe.codewords}."
        )
    return n, dim


def _checked(vectors: Rows, recipe: Recipe, keep: Callable[[int, Float32], object]) -> str:
    """Look at every vector once, keep it, and return the SHA-256 of all as float32. Raises InvalidTrainingData."""
    digest = hashlib.sha256()
    least, most = (_as_float32(vectors[:1])[0].copy() for _ in range(2))
    for begin, block in _blocks(vectors):
        _check_rows(begin, block, recipe.normalise)
        np.minimum(least, block.min(axis=0), out=least)
        np.maximum(most, block.max(axis=0), out=most)
        digest.update(block.data)
        keep(begin, block)
    _check_dimensions(least == most, recipe.allow_constant)
    _check_distinct(_as_float32(vectors[: min(vectors.shape[0], DISTINCT_ROWS)]), recipe.codewords)
    return digest.hexdigest()


def _blocks(vectors: Rows) -> Iterator[tuple[int, Float32]]:
    n, dim = vectors.shape
    rows = max(1, BLOCK_BYTES // (4 * dim))
    for begin in range(0, n, rows):
        block = _as_float32(vectors[begin : min(n, begin + rows)])
        if len(block) != min(rows, n - begin):
            raise InvalidTrainingData(f"The vectors end at number {begin + len(block)} of {n}: the file is cut short.")
        yield begin, block


def _check_rows(begin: int, block: Float32, normalise: bool) -> None:
    finite = np.isfinite(block).all(axis=1)
    if not finite.all():
        raise InvalidTrainingData(f"Vector {begin + int(np.argmin(finite))} holds a value that is not finite.")
    if normalise and not (present := block.any(axis=1)).all():
        raise InvalidTrainingData(
            f"Vector {begin + int(np.argmin(present))} is zero and has no direction to normalise."
        )


def _check_dimensions(constant: NDArray[np.bool_], allowed: bool) -> None:
    if constant.all():
        raise InvalidTrainingData("All vectors are the same; there is nothing to learn.")
    if constant.any() and not allowed:
        numbers = np.flatnonzero(constant)
        named = ", ".join(map(str, numbers[:5])) + (" …" if len(numbers) > 5 else "")
        raise InvalidTrainingData(
            f"{len(numbers)} of {len(constant)} dimensions hold one value in all vectors: {named}. "
            "Leave them out, or train with --allow-constant if the vectors to be searched are padded likewise."
        )


def _check_distinct(rows: Float32, codewords: int) -> None:
    different = len(np.unique(rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1])))))
    if different < codewords:
        raise InvalidTrainingData(
            f"The first {len(rows)} vectors hold only {different} different ones, too few for {codewords} codewords a "
            "step; shuffle them, or bring vectors without repetitions."
        )


def _as_float32(block: NDArray[np.generic]) -> Float32:
    with np.errstate(over="ignore"):  # what is too large for float32 becomes infinite, which is then told by its number
        return np.ascontiguousarray(block, dtype=np.float32)


def _unit(block: NDArray[np.generic]) -> Float32:
    rows = _as_float32(block)
    lengths = np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    return np.asarray(rows / lengths, dtype=np.float32)


def _keep(kept: Float32, begin: int, block: Float32) -> None:
    kept[begin : begin + len(block)] = block


def _set_apart(rows: Float32, held: NDArray[np.int64]) -> None:
    """Exchange the rows held out with the last ones, in place."""
    last = np.arange(len(rows) - len(held), len(rows))
    moving_in, moving_out = np.setdiff1d(held, last), np.setdiff1d(last, held)
    rows[moving_out], rows[moving_in] = rows[moving_in], rows[moving_out]


def _sample(training: Float32, rng: np.random.Generator, recipe: Recipe) -> Float32:
    rows = _sample_rows(recipe, len(training))
    return training[rng.choice(len(training), min(len(training), rows), replace=False)]


def _sample_rows(recipe: Recipe, n: int) -> int:
    lists = recipe.lists_for(n)
    return max(SAMPLE_ROWS, POINTS_A_LIST * lists)


def _gathered(source: Rows, rows: NDArray[np.int64], dim: int) -> Float32:
    """Some rows of a file, sorted, read by the block that they are in."""
    found = np.empty((len(rows), dim), np.float32)
    n = source.shape[0]
    step = max(1, BLOCK_BYTES // (4 * dim))
    for begin in range(0, n, step):
        first, last = np.searchsorted(rows, (begin, begin + step))
        if last > first:
            found[first:last] = source[begin : min(n, begin + step)][rows[first:last] - begin]
    return found


class _Spool:
    """A flat file of float32 that vectors are unpacked into, block by block."""

    def __init__(self, path: Path, n: int, dim: int) -> None:
        self._path, self._shape = path, (n, dim)
        self._file = path.open("wb")

    def keep(self, block: Float32) -> None:
        self._file.write(block.data)

    def mapped(self) -> NDArray[np.float32]:
        self._file.close()
        return np.memmap(self._path, dtype=np.float32, mode="r", shape=self._shape)
