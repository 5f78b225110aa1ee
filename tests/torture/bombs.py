"""Bodies that ask for much: numbers that no vector holds, claims about size, nesting, and what unpacks to more."""

import io
import json
import struct
import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.torture.served import COLLECTION, DIM

Body = bytes
Request = tuple[str, str, str, str, Body]  # what it is, method, path, content type, body

MIB = 1 << 20
DEEP = 100_000
POINTS, QUERY, UPLOAD = (f"{COLLECTION}/points{below}" for below in ("", "/query", "/upload"))
JSON, NPY, ANY = "application/json", "application/x-npy", "application/octet-stream"
PARQUET = "application/vnd.apache.parquet"
VECTOR = json.dumps([0.5] * DIM)
NUMBERS = ("NaN", "Infinity", "-Infinity", "1e39", "1e400", "1" * 5000, '"1"', "null", "[1]", "true")
LIMITS = ("1000000000", "1" * 40, "-1", "1.5", "1e400")
SHAPES = (
    f"({10**12}, {DIM})", f"({2**63}, {DIM})", f"(-1, {DIM})", f"({DIM},)", "()", f"(1, {DIM}, {10**9})",
    f"(2, {10**9})",
)  # fmt: skip


def bodies() -> Iterator[Request]:
    """Each must be refused with a 4xx."""
    yield from _numbers()
    yield from _nested()
    yield from _arrays()
    yield from _tables()
    yield from _checkpoints()
    yield "Parquet of another dimension", "POST", UPLOAD, PARQUET, _parquet(np.zeros((MIB, 2 * DIM), np.float32))
    yield "a snapshot of nothing", "POST", f"{COLLECTION}/snapshots/upload", ANY, bytes(2 * MIB)
    yield "gzip", "PUT", POINTS, "application/gzip", b"\x1f\x8b" + bytes(100)


def _numbers() -> Iterator[Request]:
    for number in NUMBERS:
        vector = ", ".join([number, *["0"] * (DIM - 1)])
        points = f'{{"points": [{{"id": 1, "vector": [{vector}]}}]}}'
        yield f"upsert of {number[:9]}", "PUT", POINTS, JSON, _json(points)
        yield f"query of {number[:9]}", "POST", QUERY, JSON, _json(f'{{"query": [{vector}], "limit": 1}}')
    for limit in LIMITS:
        yield f"limit {limit[:12]}", "POST", QUERY, JSON, _json(f'{{"query": {VECTOR}, "limit": {limit}}}')


def _nested() -> Iterator[Request]:
    deep = '{"must": [' * DEEP + "]}" * DEEP
    yield "a filter 10^5 deep", "POST", QUERY, JSON, _json(f'{{"query": {VECTOR}, "filter": {deep}}}')
    yield "arrays 10^5 deep", "PUT", POINTS, JSON, b"[" * DEEP
    payload = '{"a": ' * DEEP + "1" + "}" * DEEP
    body = f'{{"points": [{{"id": 1, "vector": {VECTOR}, "payload": {payload}}}]}}'
    yield "a payload 10^5 deep", "PUT", POINTS, JSON, _json(body)


def _arrays() -> Iterator[Request]:
    for shape in SHAPES:
        yield f".npy of {shape}", "POST", UPLOAD, NPY, _npy("<f4", shape)
    yield ".npy of objects", "POST", UPLOAD, NPY, _npy("|O", f"(1, {DIM})")
    yield ".npy header of 4 GiB", "POST", UPLOAD, NPY, b"\x93NUMPY\x02\x00" + b"\xff" * 4 + b" " * 4096
    for number in (np.nan, np.inf, -np.inf):
        file = io.BytesIO()
        np.save(file, np.full((1000, DIM), number, np.float32))
        yield f".npy of {number}", "POST", UPLOAD, NPY, file.getvalue()


def _tables() -> Iterator[Request]:
    text = pa.DictionaryArray.from_arrays(pa.array(np.zeros(600, np.int32)), pa.array(["a" * MIB]))
    bombs = {"a MiB for each of 600 rows": text, "a text of 64 MiB": pa.array(["a" * 64 * MIB]),
             "a row of 64 Mi bits": pa.array([np.zeros(64 * MIB, bool)])}  # fmt: skip
    for what, column in bombs.items():
        yield what, "POST", UPLOAD, PARQUET, _parquet(np.ones((len(column), DIM), np.float32), column)


def _checkpoints() -> Iterator[Request]:
    for claimed in (2**63, 2**40, 2**31):
        yield f"a header of {claimed} bytes", "PUT", "/models/bad", ANY, struct.pack("<Q", claimed) + b"{}"
    lie = json.dumps({"x": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}).encode()
    yield "a tensor of 4 TiB", "PUT", "/models/bad", ANY, struct.pack("<Q", len(lie)) + lie
    yield "a .pt of zeros", "PUT", "/models/bad", ANY, _zip_of_zeros()


def _json(text: str) -> Body:
    return text.encode()


def _npy(type: str, shape: str) -> Body:
    """A header, and no more than a row behind it."""
    header = f"{{'descr': '{type}', 'fortran_order': False, 'shape': {shape}}}"
    padded = header.encode().ljust(118) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(padded)) + padded + bytes(4 * DIM)


def _zip_of_zeros() -> Body:
    """256 MiB in a quarter of one."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(256 * MIB))
    return file.getvalue()


def _parquet(vectors: np.ndarray, other: Any = None) -> Body:
    lists = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
    file = io.BytesIO()
    columns = {"vector": lists} | ({} if other is None else {"other": other})
    pq.write_table(pa.table(columns), file, compression="zstd")
    return file.getvalue()
