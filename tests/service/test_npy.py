"""The .npy reader: whatever is cut, joined or made up, rows come out whole or a sentence does."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.errors import QincoError
from service.npy import NpyStream, read_header
from tests.service.requests import npy

DIM = 3


def read(pieces: list[bytes], rows: int, announced: int | None = None) -> np.ndarray:
    async def source() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    async def all_rows() -> np.ndarray:
        stream = NpyStream(source())
        header = await stream.header(DIM, 10_000, announced)
        chunks = [chunk async for chunk in stream.chunks(header, rows)]
        assert all(1 <= len(chunk) <= rows for chunk in chunks)
        return np.concatenate([np.empty((0, DIM), np.float32), *chunks])

    return asyncio.run(all_rows())


def cut(data: bytes, places: list[int]) -> list[bytes]:
    ends = sorted(place % (len(data) + 1) for place in places)
    return [data[start:end] for start, end in zip([0, *ends], [*ends, len(data)], strict=True)]


@given(
    n=st.integers(0, 20), rows=st.integers(1, 25), places=st.lists(st.integers(0, 10_000), max_size=8),
    kind=st.sampled_from(["<f4", ">f4", "<f2", "u1", "i1"]),
)  # fmt: skip
def test_it_does_not_matter_where_the_stream_is_cut(n: int, rows: int, places: list[int], kind: str) -> None:
    array = np.arange(n * DIM).reshape(n, DIM).astype(kind)
    data = npy(array)
    np.testing.assert_array_equal(read(cut(data, places), rows, len(data)), array.astype(np.float32))


@given(length=st.integers(0, 200), places=st.lists(st.tuples(st.integers(0, 199), st.integers(0, 255)), max_size=4))
def test_a_damaged_array_is_read_or_refused_and_nothing_else(length: int, places: list[tuple[int, int]]) -> None:
    data = bytearray(npy(np.ones((6, DIM), np.float32)))
    for place, value in places:
        data[place] = value
    for pieces in ([bytes(data[:length])], [bytes(data)], [bytes(data), b"x"]):
        with suppress(QincoError):
            assert read(pieces, 4).shape[1] == DIM


@given(st.binary(max_size=300))
def test_made_up_bytes_have_no_header(data: bytes) -> None:
    with suppress(QincoError):
        assert read_header(data) is None or data.startswith(b"\x93NUMPY")


@pytest.mark.parametrize("shape", ["(-1, 3)", "(9223372036854775807, 3)", "(True, 3)", "(3,)", "()", "3", "('3', 3)"])
def test_a_lying_shape_is_refused(shape: str) -> None:
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".encode()
    data = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    with pytest.raises(QincoError):
        read([data + b"\0" * 60], 4)
