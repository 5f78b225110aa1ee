"""Files of vectors that the commands read: every kind gives the same vectors, and what is none is named."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from model import load_codec
from service.cli.failure import CommandFailed
from service.cli.vector_files import open_vectors, without_first
from tests.builders import clustered
from tests.service.command_line import Run, runner

X = clustered(70, dim=5)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(monkeypatch, capsys)


def write(path: Path, x: Any = X) -> Path:
    if path.suffix == ".npy":
        np.save(path, x)
    elif path.suffix == ".fvecs":
        np.hstack([np.full((len(x), 1), x.shape[1], "<i4").view("<f4"), x]).tofile(path)
    elif path.suffix == ".h5":
        with h5py.File(path, "w") as file:
            file["train"], file["neighbors"] = x, np.zeros((3, 4), int)
    else:
        lists = pa.FixedSizeListArray.from_arrays(pa.array(x.ravel()), x.shape[1])
        table = pa.table({"id": pa.array(range(len(x))), "vector": lists})
        parquet.write_table(table, path, row_group_size=16)
    return path


@pytest.mark.parametrize("name", ["x.npy", "x.fvecs", "x.parquet", "x.h5"])
@pytest.mark.parametrize("skip", [0, 20])
def test_every_kind_of_file_gives_the_same_vectors(tmp_path: Path, name: str, skip: int) -> None:
    vectors = without_first(open_vectors(write(tmp_path / name)), skip)
    assert vectors.shape == (70 - skip, 5)
    for begin, end in ((0, 70), (0, 1), (15, 17), (16, 32), (49, 70), (30, 30)):
        np.testing.assert_array_equal(vectors[begin:end], X[skip:][begin:end])


@pytest.mark.parametrize("kind", [pa.list_(pa.float32()), pa.large_list(pa.float64()), pa.list_(pa.float16(), 5)])
def test_parquet_columns_of_any_list_are_read(tmp_path: Path, kind: pa.DataType) -> None:
    half = X.astype(np.float16)
    rows = pa.array([[kind.value_type.to_pandas_dtype()(value) for value in row] for row in half], kind)
    parquet.write_table(pa.table({"numbers": rows}), tmp_path / "x.parquet")
    np.testing.assert_array_equal(open_vectors(tmp_path / "x.parquet")[:], half)


def test_a_codec_is_trained_from_parquet_and_hdf5(tmp_path: Path, run: Run) -> None:
    for name in ("x.parquet", "x.h5"):
        file = write(tmp_path / name, clustered(600))
        out = tmp_path / "codec.safetensors"
        done = run("train", str(file), "--out", str(out), "--bytes", "2", "--preset", "XS", "--epochs", "1",
                   "--skip", "10", "--memory", "0.1MB")  # fmt: skip
        assert done.status == 0, done.err
        assert load_codec(out).dim == 16


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({"id": [1, 2]}, "no column of vectors"),
        ({"a": [[1.0]], "b": [[2.0]]}, "There are 'a', 'b'"),
        ({"vector": [[1.0, 2.0], [1.0]]}, "vector 1 has 1 numbers, others have 2"),
        ({"vector": [[1.0, 2.0], None]}, "vector 1 has 0 numbers"),
        ({"vector": [[1.0, 2.0], [None, 2.0]]}, "vector 1 has a number missing"),
        ({"vector": pa.array([], pa.list_(pa.float32()))}, "holds no vectors"),
    ],
)
def test_parquet_without_vectors_says_what_is_wrong(tmp_path: Path, columns: dict[str, Any], sentence: str) -> None:
    parquet.write_table(pa.table(columns), tmp_path / "x.parquet")
    with pytest.raises(CommandFailed, match=sentence):
        open_vectors(tmp_path / "x.parquet")


@pytest.mark.parametrize("name", ["x.parquet", "x.h5", "x.npy", "x.fvecs"])
def test_a_file_that_ends_early_is_refused(tmp_path: Path, name: str) -> None:
    whole = write(tmp_path / name).read_bytes()
    for part in (whole[:-5], whole[:100], b""):
        (tmp_path / name).write_bytes(part)
        with pytest.raises(CommandFailed, match=name):
            open_vectors(tmp_path / name)


def test_hdf5_datasets_that_could_all_be_the_vectors_are_listed(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["a"], file["group/b"], file["flat"] = X, X, X[0]
    with pytest.raises(CommandFailed, match="There are 'a', 'group/b'; call one of them 'vector'"):
        open_vectors(tmp_path / "x.h5")
