"""The authors' `.pt` files are converted by a process of its own: whatever is in them ends that process at worst."""

import collections
import hashlib
import io
import os
import pickle
import sqlite3
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from index_store import conversion
from index_store.errors import DiskFull
from model import load_codec
from model.checkpoint.ours import read_training
from model.errors import InvalidCheckpoint
from tests.builders import tiny_codec
from tests.index_store.making import DIM, make_collection, store_at
from tests.model.test_fixtures import FIXTURES

MIB = 1 << 20


def authors_file(name: str) -> Path:
    if not FIXTURES.is_dir():
        message = f"the authors' fixtures are not at {FIXTURES}; set QINCO_FIXTURES"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return FIXTURES / f"{name}.pt"


def shared_storage(path: Path, tensors: int, numbers: int) -> Path:
    """A sound archive whose many tensors all lie in one storage: read one by one, each is a copy of its own."""

    class Storage:
        pass

    class Tensor:
        def __reduce__(self) -> Any:
            rebuild: Any = torch._utils._rebuild_tensor_v2
            return rebuild, (storage, 0, (numbers,), (1,), False, collections.OrderedDict())

    storage, program = Storage(), io.BytesIO()
    pickler = pickle.Pickler(program, protocol=2)
    pickler.persistent_id = lambda it: (  # type: ignore[method-assign]
        ("storage", torch.FloatStorage, "0", "cpu", numbers) if it is storage else None
    )
    names = ["steps.0.codebook.weight", *(f"steps.{n}.residual_blocks.0.up_proj.weight" for n in range(1, tensors))]
    parameters = {"M": 2, "K": 16, "L": 1, "dh": 8, "de": 16}
    pickler.dump({"parameters": parameters, "data_dim": 16, "model": {name: Tensor() for name in names}})
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("stem/data.pkl", program.getvalue())
        file.writestr("stem/data/0", bytes(4 * numbers))
    return path


def test_a_converted_model_says_which_file_it_comes_from(tmp_path: Path) -> None:
    given = authors_file("qinco2_d16_M4_K16")
    digest = hashlib.sha256(given.read_bytes()).hexdigest()
    with store_at(tmp_path) as store:
        record = store.put_model("authors", given, sha256=digest)
        assert (record.kind, record.converted_from) == ("QINCo2", digest)
        assert record.sha256 == hashlib.sha256(store.model_path("authors").read_bytes()).hexdigest() != digest
        assert read_training(store.model_path("authors")) == {"converted_from": {"sha256": digest}}
        assert load_codec(store.model_path("authors")).dim == 16
        assert store.put_model("ours", tiny_codec(tmp_path)).converted_from is None
    with store_at(tmp_path) as store:
        assert store.model("authors") == record
        assert {path.name for path in (tmp_path / "data/models").iterdir()} == {
            "authors.safetensors",
            "ours.safetensors",
        }


def test_a_file_that_takes_more_memory_than_allowed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = shared_storage(tmp_path / "large.pt", tensors=40, numbers=MIB)  # 4 MiB that want to be 160
    monkeypatch.setattr(conversion, "MEMORY_BYTES", 32 * MIB)
    monkeypatch.setattr(conversion, "MEMORY_A_BYTE", 1)
    with store_at(tmp_path) as store:
        with pytest.raises(InvalidCheckpoint, match="more memory than the 36 MiB"):
            store.put_model("large", path)
        assert store.models() == []
        assert list((tmp_path / "data/models").iterdir()) == []
    monkeypatch.undo()
    with store_at(tmp_path) as store, pytest.raises(InvalidCheckpoint, match="misshapes"):
        store.put_model("large", path)


def test_the_sentence_of_a_refused_file_comes_from_the_process_that_read_it(tmp_path: Path) -> None:
    path = tmp_path / "hostile.pt"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("stem/data.pkl", b"cposix\nsystem\n(S'true'\ntR.")
    with store_at(tmp_path) as store, pytest.raises(InvalidCheckpoint, match=r"posix.system"):
        store.put_model("hostile", path)


@pytest.mark.parametrize(
    ("program", "error", "told"),
    [
        ("import os; os.kill(os.getpid(), 9)", InvalidCheckpoint, "ended unexpectedly"),
        ("import time; time.sleep(60)", InvalidCheckpoint, "within 0.5 s"),
        (f"raise SystemExit({conversion.DISK_FULL})", DiskFull, "full"),
    ],
)
def test_however_that_process_ends_the_store_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, error: type[Exception], told: str
) -> None:
    child = tmp_path / "child"
    child.write_text(f"#!/bin/sh\nexec {sys.executable} -c '{program}'\n")
    child.chmod(0o755)
    monkeypatch.setattr(conversion, "TIMEOUT_S", 0.5 if "sleep" in program else 60)
    with store_at(tmp_path) as store:
        with monkeypatch.context() as patched:
            patched.setattr(sys, "executable", str(child))
            with pytest.raises(error, match=told):
                store.put_model("authors", conversion.MAGIC + b"whatever")
        assert list((tmp_path / "data/models").iterdir()) == []
        make_collection(store, tmp_path)


def test_a_catalogue_of_the_first_format_is_upgraded(tmp_path: Path) -> None:
    with store_at(tmp_path) as store:
        record = store.put_model("tiny", tiny_codec(tmp_path, dim=DIM))
    with sqlite3.connect(tmp_path / "data/catalogue.sqlite3") as db:
        db.execute("ALTER TABLE models DROP COLUMN converted_from")
        db.execute("DROP TABLE jobs")
        db.execute("UPDATE meta SET value = 1 WHERE key = 'format'")
    db.close()
    (tmp_path / "data/catalogue.sqlite3.seal").unlink()  # that version wrote none
    for _ in range(2):
        with store_at(tmp_path) as store:
            assert store.models() == [record]
