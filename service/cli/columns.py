"""Vectors in Parquet and HDF5 files, sliced as arrays are; nothing but the slices asked for is read."""

import bisect
from pathlib import Path
from typing import TYPE_CHECKING, Any

from service.cli.failure import CommandFailed

if TYPE_CHECKING:
    import numpy as np
    import pyarrow
    from numpy.typing import NDArray

NAMES = ("vector", "vectors", "embedding", "embeddings", "train")
"""Columns and datasets that are taken to be the vectors where several could be, first name first."""


def open_hdf5(path: Path) -> Any:
    """The two-dimensional dataset of numbers in an HDF5 file; raises CommandFailed."""
    import h5py

    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise CommandFailed(f"{path} cannot be read as HDF5: it is missing, cut short or something else.") from error
    found: dict[str, Any] = {}

    def look(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.ndim == 2 and item.dtype.kind in "fiu":
            found[name] = item

    file.visititems(look)
    return found[_chosen(path, list(found), "dataset")]


def open_parquet(path: Path) -> "ParquetVectors":
    """The column of lists of numbers in a Parquet file; raises CommandFailed."""
    import pyarrow
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(path)
    except (OSError, pyarrow.ArrowInvalid) as error:
        raise CommandFailed(f"{path} cannot be read as Parquet: it is missing, cut short or something else.") from error
    columns = [field.name for field in file.schema_arrow if _holds_vectors(field.type)]
    return ParquetVectors(path, file, _chosen(path, columns, "column"))


class ParquetVectors:
    """A column of lists as an array [n, dim], read row group by row group."""

    ndim = 2

    def __init__(self, path: Path, file: Any, column: str) -> None:
        self._path, self._file, self._column = path, file, column
        groups = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
        self._starts = [sum(groups[:place]) for place in range(len(groups) + 1)]
        self._held: tuple[int, NDArray[Any]] | None = None
        first = self._group(0) if sum(groups) else None
        if first is None:
            raise CommandFailed(f"{path} holds no vectors: its column '{column}' is empty.")
        self.shape = (self._starts[-1], first.shape[1])
        self.dtype: np.dtype[Any] = first.dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> "NDArray[Any]":
        import numpy as np

        begin, end, _ = rows.indices(len(self))
        parts = [np.empty((0, self.shape[1]), self.dtype)]
        while begin < end:
            group = bisect.bisect_right(self._starts, begin) - 1
            until = min(end, self._starts[group + 1])
            start = self._starts[group]
            parts.append(self._group(group)[begin - start : until - start])
            begin = until
        return np.concatenate(parts)

    def _group(self, number: int) -> "NDArray[Any]":
        if self._held is None or self._held[0] != number:
            column = self._file.read_row_group(number, columns=[self._column]).column(self._column)
            self._held = number, self._as_array(column.combine_chunks(), self._starts[number])
        return self._held[1]

    def _as_array(self, lists: "pyarrow.ListArray", first: int) -> "NDArray[Any]":
        import numpy as np
        import pyarrow.compute

        n = len(lists)
        numbers = lists.flatten()
        dim = self.shape[1] if self._held else (len(lists[0]) if lists[0].is_valid else 0)
        lengths = pyarrow.compute.list_value_length(lists).fill_null(0).to_numpy(zero_copy_only=False)
        if not dim or (lengths != dim).any():
            row = int(np.argmax(lengths != dim)) if dim else 0
            raise CommandFailed(f"{self._path}: vector {first + row} has {lengths[row]} numbers, others have {dim}.")
        if numbers.null_count:
            row = int(np.argmax(numbers.is_null().to_numpy(zero_copy_only=False))) // dim
            raise CommandFailed(f"{self._path}: vector {first + row} has a number missing.")
        return np.asarray(numbers.to_numpy(zero_copy_only=False)).reshape(n, dim)


def _holds_vectors(kind: "pyarrow.DataType") -> bool:
    import pyarrow.types as types

    is_list = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
    return is_list and (types.is_floating(kind.value_type) or types.is_integer(kind.value_type))


def _chosen(path: Path, names: list[str], what: str) -> str:
    """The one that holds the vectors; raises CommandFailed where that cannot be told."""
    if len(names) == 1:
        return names[0]
    if known := [name for name in NAMES if name in names]:
        return known[0]
    if not names:
        raise CommandFailed(f"{path} has no {what} of vectors.")
    listed = ", ".join(f"'{name}'" for name in names)
    raise CommandFailed(f"{path}: which {what} holds the vectors? There are {listed}; call one of them 'vector'.")
