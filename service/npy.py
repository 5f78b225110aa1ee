"""The .npy format as it streams: a header that is checked before anything is allocated, then rows."""

import ast
import math
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import anyio.to_thread
import numpy as np
from numpy.typing import NDArray

from model.errors import DimensionMismatch
from service.errors import BodyTooLarge, MalformedRequest

MAGIC = b"\x93NUMPY"
# NumPy writes headers of 128 bytes; the format allows 4 GiB.
MAX_HEADER = 4096
PLAIN_TYPE = re.compile(r"[<>|=]?[a-zA-Z]\d{0,4}")
VECTOR_TYPES = ("float32", "float16", "uint8", "int8")


@dataclass(frozen=True)
class NpyHeader:
    """What a .npy file says of itself; `start` is where its data begins."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    start: int

    @property
    def row_bytes(self) -> int:
        return int(self.dtype.itemsize * math.prod(self.shape[1:]))

    @property
    def size_bytes(self) -> int:
        return self.start + self.shape[0] * self.row_bytes


def read_header(beginning: bytes) -> NpyHeader | None:
    """The header, or None when `beginning` ends before it does; raises MalformedRequest."""
    if not beginning.startswith(MAGIC[: len(beginning)]):
        raise MalformedRequest("The array is not a .npy file: its first bytes are not \\x93NUMPY.")
    if len(beginning) < 12:
        return None
    version = (beginning[6], beginning[7])
    if version not in ((1, 0), (2, 0)):
        raise MalformedRequest(
            f"Version {version[0]}.{version[1]} of .npy is not read; NumPy writes plain arrays as 1.0."
        )
    start = (
        10 + int.from_bytes(beginning[8:10], "little")
        if version == (1, 0)
        else 12 + int.from_bytes(beginning[8:12], "little")
    )
    if start > MAX_HEADER:
        raise MalformedRequest(f"The .npy header claims {start} bytes; at most {MAX_HEADER} are read.")
    return _parse(beginning[10 if version == (1, 0) else 12 : start], start) if len(beginning) >= start else None


def _parse(text: bytes, start: int) -> NpyHeader:
    """A header's dictionary of literals; nothing but a plain type, an order and a shape is accepted in it."""
    try:
        told = ast.literal_eval(text.decode("latin-1"))
        descr, is_fortran, shape = told["descr"], told["fortran_order"], told["shape"]
        if not isinstance(descr, str) or not PLAIN_TYPE.fullmatch(descr):
            raise MalformedRequest("The .npy array is of a composite type; save plain numbers.")
        dtype = np.dtype(descr)
    except (ValueError, TypeError, SyntaxError, KeyError, RecursionError, MemoryError) as error:
        raise MalformedRequest("The .npy header cannot be read.") from error
    if dtype.hasobject:
        raise MalformedRequest("The .npy file holds Python objects, which are never unpickled here; save numbers.")
    if not isinstance(shape, tuple) or any(type(length) is not int or length < 0 for length in shape):
        raise MalformedRequest(f"The .npy header claims the shape {shape!r:.60}.")
    if is_fortran is not False and len(shape) > 1:
        raise MalformedRequest("The .npy array is in Fortran order; save numpy.ascontiguousarray(array).")
    return NpyHeader(dtype, shape, start)


def check_vectors(header: NpyHeader, dim: int) -> None:
    """Raises unless the array is [n, dim] of a type that vectors come in."""
    if header.dtype.newbyteorder("=").name not in VECTOR_TYPES:
        raise MalformedRequest(f"The .npy array is of {header.dtype}; vectors come as {', '.join(VECTOR_TYPES)}.")
    if len(header.shape) != 2:
        raise MalformedRequest(f"The .npy array has {len(header.shape)} dimensions; vectors come as [n, dim].")
    if header.shape[1] != dim:
        raise DimensionMismatch(
            f"This collection holds vectors of {dim} numbers; point 0 of this array has {header.shape[1]}."
        )


class NpyStream:
    """A .npy array of vectors that arrives in pieces of any size."""

    def __init__(self, pieces: AsyncIterator[bytes]) -> None:
        self._pieces = pieces
        self._held = bytearray()

    async def header(self, dim: int, max_bytes: int, announced_bytes: int | None) -> NpyHeader:
        """The checked header; a size that the body cannot have is refused here, before any row is read."""
        while (header := read_header(bytes(self._held[:MAX_HEADER]))) is None:
            if not await self._more():
                raise MalformedRequest(f"The .npy file ends within its header, after {len(self._held)} bytes.")
        check_vectors(header, dim)
        if announced_bytes is not None and announced_bytes != header.size_bytes:
            raise MalformedRequest(
                f"The .npy header promises {header.size_bytes} bytes; the body has {announced_bytes}."
            )
        if header.size_bytes > max_bytes:
            raise BodyTooLarge(f"The .npy header promises {header.size_bytes} bytes; the limit is {max_bytes}.")
        del self._held[: header.start]
        return header

    async def chunks(self, header: NpyHeader, rows: int) -> AsyncIterator[NDArray[np.float32]]:
        """The vectors, float32, at most `rows` at a time; raises MalformedRequest for a body too short or too long."""
        left = header.shape[0]
        while left:
            wanted = min(rows, left)
            size = wanted * header.row_bytes
            while len(self._held) < size:
                if not await self._more():
                    arrived = header.shape[0] - left + len(self._held) // header.row_bytes
                    raise MalformedRequest(
                        f"The .npy header promises {header.shape[0]} vectors; the body ends after {arrived}."
                    )
            data, self._held = self._held, self._held[size:]  # what came whole is given away, not copied
            yield await anyio.to_thread.run_sync(_rows, memoryview(data)[:size], header)
            left -= wanted
        if self._held or await self._more():
            raise MalformedRequest(
                f"The body goes on after the {header.shape[0]} vectors that its .npy header promises."
            )

    async def _more(self) -> bool:
        while (piece := await anext(self._pieces, None)) is not None:
            self._held += piece
            if piece:
                return True
        return False


def header_of_file(file: BinaryIO, size_bytes: int, what: str) -> NpyHeader:
    """The header of a whole .npy file, whose size must be what it promises; leaves the file at its first row."""
    file.seek(0)
    header = read_header(file.read(MAX_HEADER))
    if header is None:
        raise MalformedRequest(f"'{what}': the .npy file ends within its header.")
    if not header.shape or header.size_bytes != size_bytes:
        raise MalformedRequest(
            f"'{what}': the .npy header promises the shape {header.shape}, which {size_bytes} bytes do not fit."
        )
    file.seek(header.start)
    return header


def next_rows(file: BinaryIO, header: NpyHeader, rows: int) -> NDArray[np.float32]:
    """The next vectors of a file whose header was read, float32, at most `rows`; none at the end."""
    return _rows(file.read(rows * header.row_bytes), header)


def _rows(data: bytes | memoryview, header: NpyHeader) -> NDArray[np.float32]:
    return np.frombuffer(data, header.dtype).reshape(-1, header.shape[1]).astype(np.float32, copy=False)
