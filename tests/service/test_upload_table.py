"""Arrow streams and Parquet files are uploaded with their ids and payloads."""

import io
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from service.unpacking import ARROW, PARQUET, PIECE_BYTES
from service.unpacking.child import A_VALUE
from service.unpacking.process import Unpacking
from tests.builders import clustered
from tests.service.conftest import DIM
from tests.service.requests import count, result, sentence
from tests.service.service_in_process import Client


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
def test_a_bad_table_changes_nothing(client: Client, collection: str, columns: Any, named: str) -> None:
    """Unpacked, both kinds are the same."""
    assert named in sentence(upload(client, collection, ARROW, arrow(pa.table(columns))), 400)
    assert count(client, collection) == 0


@BOTH
def test_what_is_no_table_is_refused(
    client: Client, collection: str, kind: str, packed: Callable[[Any], bytes]
) -> None:
    good = packed(pa.table({"vector": vectors_column(clustered(20))}))
    for bad in (b"", b"no table", good[: len(good) // 2]):
        assert "is not" in sentence(upload(client, collection, kind, bad), 400)
    assert count(client, collection) == 0


def bomb(table: Any) -> bytes:
    file = io.BytesIO()
    pq.write_table(table, file, compression="zstd")
    return file.getvalue()


def test_a_row_that_unpacks_to_very_much_is_refused(client: Client, collection: str) -> None:
    columns = {"vector": vectors_column(clustered(2)), "text": pa.array(["a" * (PIECE_BYTES + 1), ""])}
    body = bomb(pa.table(columns))
    assert len(body) < 10_000
    assert sentence(upload(client, collection, PARQUET, body), 400) == "Row 0 unpacks to more than 16 MiB."
    assert count(client, collection) == 0


def test_a_table_that_unpacks_to_more_than_its_process_may_take_is_refused(client: Client, collection: str) -> None:
    rows = 600
    text = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array(["a" * (1 << 20)]))
    body = bomb(pa.table({"vector": vectors_column(clustered(rows)), "text": text}))
    assert len(body) < 100_000
    assert "could not be unpacked within" in sentence(upload(client, collection, PARQUET, body), 400)
    assert count(client, collection) == 0


def test_values_of_a_bit_each_count_as_what_they_become(client: Client, collection: str) -> None:
    many = pa.array([np.zeros(PIECE_BYTES // A_VALUE, bool)])
    body = bomb(pa.table({"vector": vectors_column(clustered(1)), "bits": many}))
    assert len(body) < 10_000
    assert "Row 0 unpacks to more" in sentence(upload(client, collection, PARQUET, body), 400)


def test_what_is_kept_once_for_many_rows_is_sent_for_each(client: Client, collection: str) -> None:
    names = pa.array(["x", "y", "x"])
    columns = {
        "vector": vectors_column(clustered(3)),
        "a": names.dictionary_encode(),
        "b": names.cast(pa.string_view()),
    }
    result(upload(client, collection, ARROW, arrow(pa.table(columns)), "?first_id=0"))
    found = result(client.post(f"{collection}/points", json={"ids": [1, 2]}))
    assert [one["payload"] for one in found] == [{"a": "y", "b": "y"}, {"a": "x", "b": "x"}]


def test_rows_come_in_small_pieces_and_in_order(tmp_path: Path) -> None:
    rows, text = 2500, "b" * 20_000
    (tmp_path / "table").write_bytes(parquet(pa.table({"n": pa.array(range(rows)), "text": pa.array([text] * rows)})))
    with (tmp_path / "table").open("rb") as file:
        unpacking = Unpacking(file, PARQUET)
        pieces = list(unpacking.batches())
        unpacking.close()
    assert unpacking.rows == rows
    assert max(piece.nbytes for piece in pieces) <= PIECE_BYTES
    assert [n for piece in pieces for n in piece.column("n").to_pylist()] == list(range(rows))
