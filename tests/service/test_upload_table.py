"""Arrow streams and Parquet files are uploaded with their ids and payloads."""

import io
from collections.abc import Callable
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.builders import clustered
from tests.service.conftest import DIM
from tests.service.requests import count, result, sentence
from tests.service.service_in_process import Client

ARROW, PARQUET = "application/vnd.apache.arrow.stream", "application/vnd.apache.parquet"


def arrow(table: Any) -> bytes:
    file = io.BytesIO()
    with pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=7)
    return file.getvalue()


def parquet(table: Any) -> bytes:
    file = io.BytesIO()
    pq.write_table(table, file, row_group_size=9)
    return file.getvalue()


def vectors_column(rows: np.ndarray, kind: Any = None) -> Any:
    return pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel(), kind or pa.float32()), rows.shape[1])


BOTH = pytest.mark.parametrize(("kind", "packed"), [(ARROW, arrow), (PARQUET, parquet)])


def upload(client: Client, collection: str, kind: str, body: bytes, query: str = "") -> Any:
    return client.post(f"{collection}/points/upload{query}", content=body, headers={"Content-Type": kind})


@BOTH
def test_rows_become_points(client: Client, collection: str, kind: str, packed: Callable[[Any], bytes]) -> None:
    rows = clustered(20)
    columns = {"id": pa.array(range(100, 120), pa.uint64()), "vector": vectors_column(rows),
               "n": pa.array([None, *range(1, 20)]), "day": pa.array([date(2024, 1, 2)] * 20),
               "tags": pa.array([["a", "b"]] * 20)}  # fmt: skip
    told = result(upload(client, collection, kind, packed(pa.table(columns))))
    assert (told["points"], told["first_id"], told["last_id"]) == (20, 100, 119)
    found = result(client.post(f"{collection}/points", json={"ids": [100, 119], "with_vector": True}))
    assert [one["payload"] for one in found] == [
        {"day": "2024-01-02", "tags": ["a", "b"]}, {"n": 19, "day": "2024-01-02", "tags": ["a", "b"]}
    ]  # fmt: skip
    np.testing.assert_array_equal(np.float32(found[1]["vector"]), rows[19])


@BOTH
def test_rows_without_ids_are_numbered(
    client: Client, collection: str, kind: str, packed: Callable[[Any], bytes]
) -> None:
    table = pa.table({"vector": pa.array(clustered(20).astype(np.float64).tolist())})
    assert result(upload(client, collection, kind, packed(table), "?first_id=5"))["last_id"] == 24
    assert result(upload(client, collection, kind, packed(table)))["first_id"] == 25
    assert count(client, collection) == 40


@BOTH
@pytest.mark.parametrize(
    ("columns", "named"),
    [
        ({"vec": pa.array([1])}, "no column 'vector'"),
        ({"vector": pa.array([1.0])}, "lists of numbers"),
        ({"vector": pa.array([["a"] * DIM])}, "string"),
        ({"vector": pa.array([[1.0] * 3])}, "16 numbers"),
        ({"vector": pa.array([[1.0] * DIM, None])}, "no vector"),
        ({"vector": pa.array([[1.0] * DIM, [float("nan")] * DIM])}, "finite"),
        ({"vector": pa.array([[1.0] * DIM]), "id": pa.array([-1])}, "id"),
        ({"vector": pa.array([[1.0] * DIM]), "id": pa.array([None], pa.uint64())}, "no id"),
        ({"vector": pa.array([[1.0] * DIM]), "raw": pa.array([b"x"])}, "'raw'"),
    ],
)
def test_a_bad_table_changes_nothing(
    client: Client, collection: str, kind: str, packed: Callable[[Any], bytes], columns: Any, named: str
) -> None:
    assert named in sentence(upload(client, collection, kind, packed(pa.table(columns))), 400)
    assert count(client, collection) == 0


@BOTH
def test_what_is_no_table_is_refused(
    client: Client, collection: str, kind: str, packed: Callable[[Any], bytes]
) -> None:
    good = packed(pa.table({"vector": vectors_column(clustered(20))}))
    for bad in (b"", b"no table", good[: len(good) // 2]):
        assert "is not" in sentence(upload(client, collection, kind, bad), 400)
    assert count(client, collection) == 0
