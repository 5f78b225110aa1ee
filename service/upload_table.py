"""An upload as a table, an Arrow stream or a Parquet file: columns `id` (optional) and `vector`, the rest is payload.

The body rests in a temporary file, and another process unpacks it from there batch by batch. A null in a column is a
key that the point does not have; dates and times become text in ISO form.
"""

import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Any

import anyio
import anyio.to_thread
import numpy as np
from fastapi import Request
from numpy.typing import NDArray

from model.errors import DimensionMismatch
from service.errors import MalformedRequest
from service.point_ids import point_ids
from service.points_json import Ids, Points, check_finite, numbered
from service.unpacking import PIECE_BYTES
from service.unpacking.process import Unpacking
from service.vector_names import DEFAULT

ID, VECTOR = "id", "vector"
NUMBERS = ("float", "halffloat", "double", "uint8", "int8")
"""As Arrow calls them."""


@dataclass
class Table:
    """n rows, still packed; `batches` gives them in order, each at most so many rows."""

    unpacking: Unpacking
    dim: int
    n: int
    has_ids: bool

    def batches(self, rows: int) -> Iterator[Points]:
        """Checked points, whose ids are empty where the table has none; raises MalformedRequest, DimensionMismatch."""
        first = 0
        for batch in _gathered(self.unpacking.batches(), rows):
            yield _points(batch, self.dim, first)
            first += batch.num_rows


@asynccontextmanager
async def open_table(request: Request, kind: str, dim: int) -> AsyncIterator[Table]:
    """The body as a table whose schema was checked; the temporary file is gone when the block ends."""
    with tempfile.TemporaryFile() as file:
        async for piece in request.stream():
            await anyio.to_thread.run_sync(file.write, piece)
        unpacking = await anyio.to_thread.run_sync(Unpacking, file, kind)
        try:
            names = unpacking.schema.names
            if VECTOR not in names:
                raise MalformedRequest(f"The table has no column '{VECTOR}'; it has {names}.")
            yield Table(unpacking, dim, unpacking.rows, ID in names)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(unpacking.close)


def _gathered(batches: Iterator[Any], rows: int) -> Iterator[Any]:
    """The same rows, as many together as may be: each write syncs the disk."""
    import pyarrow as pa

    held: list[Any] = []
    for batch in batches:
        for start in range(0, batch.num_rows, rows):
            part = batch.slice(start, rows)
            if held and (_rows(held) + len(part) > rows or _bytes(held) + part.nbytes > PIECE_BYTES):
                yield pa.concat_batches(held)
                held = []
            held.append(part)
    if held:
        yield pa.concat_batches(held)


def _rows(batches: list[Any]) -> int:
    return sum(batch.num_rows for batch in batches)


def _bytes(batches: list[Any]) -> int:
    return sum(batch.nbytes for batch in batches)


def _points(batch: Any, dim: int, first: int) -> Points:
    vectors = _vectors(batch.column(VECTOR), dim, first)
    check_finite(vectors, numbered("Row", first))
    names = [name for name in batch.schema.names if name not in (ID, VECTOR)]
    payloads: list[dict[str, Any] | None] = [
        {name: _as_json(value, name) for name, value in row.items() if value is not None}
        for row in batch.select(names).to_pylist()
    ]
    ids: Ids = _ids(batch.column(ID), first) if ID in batch.schema.names else []
    return Points(ids, {DEFAULT: vectors}, payloads if names else None)


def _vectors(column: Any, dim: int, first: int) -> NDArray[np.float32]:
    import pyarrow as pa

    if not (pa.types.is_fixed_size_list(column.type) or pa.types.is_list(column.type)):
        raise MalformedRequest(f"The column '{VECTOR}' is of {column.type}; it must be lists of numbers.")
    if column.null_count:
        raise MalformedRequest(f"A row from {first} on has no vector; every point needs one.")
    values = column.flatten()
    if str(values.type) not in NUMBERS or values.null_count:
        raise MalformedRequest(f"The column '{VECTOR}' holds {values.type}; numbers come as {', '.join(NUMBERS)}.")
    lengths = {column.type.list_size} if pa.types.is_fixed_size_list(column.type) else _lengths(column)
    if len(column) and lengths != {dim}:
        raise DimensionMismatch(f"This collection holds vectors of {dim} numbers; the table's have {sorted(lengths)}.")
    with np.errstate(over="ignore"):  # beyond float32 becomes infinity, which is refused
        return np.asarray(values.to_numpy(zero_copy_only=False), np.float32).reshape(len(column), dim)


def _lengths(column: Any) -> set[int]:
    return set(np.diff(column.offsets.to_numpy()).tolist())


def _ids(column: Any, first: int) -> Ids:
    if column.null_count:
        raise MalformedRequest(f"A row from {first} on has no id; give one to each, or leave the column out.")
    return point_ids(column.to_pylist(), f"rows from {first} on, id")


def _as_json(value: Any, name: str) -> Any:
    if isinstance(value, dict):
        return {key: _as_json(one, name) for key, one in value.items() if one is not None}
    if isinstance(value, list):
        return [_as_json(one, name) for one in value]
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise MalformedRequest(f"The column '{name}' holds {type(value).__name__}, which JSON does not know.")
