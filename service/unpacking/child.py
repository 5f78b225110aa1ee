"""The process that unpacks a table, its standard input, to an Arrow stream of small plain batches, its output.

`python -m service.unpacking.child KIND ALLOWED`: limits itself to so many bytes more, and tells by its exit status how
it went; a sentence for the client is on standard error. It imports neither PyTorch nor the store, to start quickly.
"""

import os
import sys
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from model.bounded_memory import limit_memory
from service.unpacking import PARQUET, PIECE_BYTES, REFUSED, ROWS, TOO_LARGE

READ_ROWS = 1024
A_VALUE, A_ROW = 8, 64
"""What a value and an object count beside their bytes: some take a bit here, and a Python object each in the server."""
CAST = {pa.string_view(): pa.string(), pa.binary_view(): pa.binary()}


class Refused(Exception):
    """What is wrong with the table, as a sentence."""


def main(kind: str, allowed: str) -> int:
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    limit_memory(int(allowed))
    try:
        with pa.memory_map("/dev/fd/0") as file:  # sizes that a file cannot have are seen before memory is taken
            unpack(file, kind)
    except Refused as error:
        return _told(str(error), REFUSED)
    except MemoryError:
        return _told("", TOO_LARGE)
    except BrokenPipeError:  # the server has seen enough
        os._exit(0)
    except (pa.ArrowException, OSError, ValueError) as error:
        named = "a Parquet file" if kind == PARQUET else "an Arrow stream"
        return _told(f"The body is not {named} that can be read: {str(error).splitlines()[0]:.200}", REFUSED)
    return 0


def unpack(file: Any, kind: str) -> None:
    """Write all of it; raises Refused, and what pyarrow raises."""
    rows = _count(file, kind)
    schema = _plain_schema(_opened(file, kind).schema_arrow if kind == PARQUET else _opened(file, kind).schema)
    with os.fdopen(1, "wb") as out, pa.ipc.new_stream(out, schema.with_metadata({ROWS: str(rows)})) as stream:
        first = 0
        for batch in _batches(file, kind):
            for piece in _pieces(_plain(batch, schema), first):
                stream.write_batch(piece)
            first += batch.num_rows


def _opened(file: Any, kind: str) -> Any:
    file.seek(0)
    return pq.ParquetFile(file) if kind == PARQUET else pa.ipc.open_stream(file)


def _count(file: Any, kind: str) -> int:
    opened = _opened(file, kind)
    return int(opened.metadata.num_rows) if kind == PARQUET else sum(batch.num_rows for batch in opened)


def _batches(file: Any, kind: str) -> Iterator[Any]:
    opened = _opened(file, kind)
    for batch in opened.iter_batches(READ_ROWS, use_threads=False) if kind == PARQUET else opened:
        for start in range(0, batch.num_rows, READ_ROWS):
            yield batch.slice(start, READ_ROWS)


def _plain_schema(schema: Any) -> Any:
    if len(set(schema.names)) < len(schema.names):
        raise Refused(f"The table has two columns of one name: {schema.names}.")
    return pa.schema([pa.field(one.name, _plain_type(one)) for one in schema])


def _plain_type(field: Any) -> Any:
    """The type that a column is sent as: one whose bytes are there for every value, however often it is repeated."""
    kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    kind = CAST.get(kind, kind)
    if not _is_plain(kind):
        raise Refused(f"The column '{field.name}' is of {field.type}, which is not read here.")
    return kind


def _is_plain(kind: Any) -> bool:
    types = pa.types
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return _is_plain(kind.value_type)
    if types.is_struct(kind):
        return all(_is_plain(kind.field(place).type) for place in range(kind.num_fields))
    text = types.is_string(kind) or types.is_large_string(kind) or types.is_binary(kind) or types.is_large_binary(kind)
    return bool(text or types.is_primitive(kind) or types.is_null(kind) or types.is_decimal(kind))


def _plain(batch: Any, schema: Any) -> Any:
    columns = [
        one.dictionary_decode().cast(kind) if pa.types.is_dictionary(one.type) else one.cast(kind)
        for one, kind in zip(batch.columns, schema.types, strict=True)
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _pieces(batch: Any, first: int) -> Iterator[Any]:
    """The same rows in pieces that are small enough; raises Refused where a row alone is not."""
    if sum(_cost(column) for column in batch.columns) <= PIECE_BYTES:
        yield batch
    elif batch.num_rows == 1:
        raise Refused(f"Row {first} unpacks to more than {PIECE_BYTES >> 20} MiB.")
    else:
        half = batch.num_rows // 2
        yield from _pieces(batch.slice(0, half), first)
        yield from _pieces(batch.slice(half), first + half)


def _cost(array: Any) -> int:
    """Bytes of an array and of what is made of it."""
    kind = array.type
    if pa.types.is_struct(kind):
        return A_ROW * len(array) + sum(_cost(one) for one in array.flatten())
    inner = _cost(array.flatten()) if hasattr(array, "flatten") else int(array.nbytes)
    return A_VALUE * len(array) + inner


def _told(sentence: str, status: int) -> int:
    print(sentence, file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
