"""Files that try to run code, to use more memory than they have bytes, or that simply end: each is refused."""

import collections
import io
import os
import pickle
import stat
import zipfile

import numpy as np
import pytest
import torch

from model import load_codec
from model.checkpoint import torch_archive
from model.errors import InvalidCheckpoint
from tests.model.builders import random_network

HEAD = b"\x80\x02"


def archive(tmp_path, program, storages=(), folder="stem"):
    """A torch archive with this pickle program and these storages."""
    path = tmp_path / "hostile.pt"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(f"{folder}/data.pkl", program)
        for key, content in enumerate(storages):
            file.writestr(f"{folder}/data/{key}", content)
    return path


def tensor_program(count=4, offset=0, size=(4,), stride=(1,), dtype="FloatStorage"):
    """The pickle of {'x': one tensor} over storage 0."""

    class Storage:
        pass

    class Tensor:
        def __reduce__(self):
            return (torch._utils._rebuild_tensor_v2, (storage, offset, size, stride, False, collections.OrderedDict()))

    storage = Storage()
    out = io.BytesIO()
    pickler = pickle.Pickler(out, protocol=2)
    pickler.persistent_id = lambda it: ("storage", getattr(torch, dtype), "0", "cpu", count) if it is storage else None
    pickler.dump({"x": Tensor()})
    return out.getvalue()


class _Calls:
    def __init__(self, function, *arguments):
        self._call = (function, arguments)

    def __reduce__(self):
        return self._call


@pytest.mark.parametrize(
    ("function", "arguments", "symbol"),
    [
        (os.system, ("touch ran",), "posix.system"),
        (eval, ("open('ran', 'w')",), ".*builtin.*eval"),
        (getattr, (collections.OrderedDict, "fromkeys"), ".*builtin.*getattr"),
        (torch.load, ("other.pt",), "torch.serialization.load"),
        (np.frombuffer, (b"x",), "numpy"),
    ],
)
def test_a_pickle_that_calls_something_is_refused_by_the_symbol_s_name(
    tmp_path, monkeypatch, function, arguments, symbol
):
    monkeypatch.chdir(tmp_path)
    path = archive(tmp_path, pickle.dumps({"model": _Calls(function, *arguments)}, protocol=2))
    with pytest.raises(InvalidCheckpoint, match=rf"asks for '{symbol}"):
        load_codec(path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("symbol", ["collections.OrderedDict", "torch._utils._rebuild_parameter", "model_qinco.QINCo"])
def test_an_admitted_symbol_gives_no_way_to_another(tmp_path, symbol):
    module, _, name = symbol.rpartition(".")
    program = HEAD + f"c{module}\n{name}.__class__\n.".encode()
    with pytest.raises(InvalidCheckpoint, match=r"asks for '.*__class__'"):
        load_codec(archive(tmp_path, program))


def test_a_pickle_within_an_archive_within_an_archive_is_not_read(tmp_path):
    inner = archive(tmp_path, pickle.dumps(_Calls(os.system, "touch ran"), protocol=2)).read_bytes()
    program = pickle.dumps({"model": inner.decode("latin1"), "parameters": {}, "data_dim": 4}, protocol=2)
    with pytest.raises(InvalidCheckpoint):
        load_codec(archive(tmp_path, program))


def test_attributes_of_a_module_are_kept_and_never_called(tmp_path):
    program = HEAD + b"cmodel_qinco\nQINCo\n)\x81}X\x04\x00\x00\x00heldK\x07sb."
    module = torch_archive.read(archive(tmp_path, program))
    assert (module.kind, module.attributes) == ("QINCo", {"held": 7})
    with pytest.raises(InvalidCheckpoint, match="lacks or misshapes"):
        load_codec(archive(tmp_path, program))


@pytest.mark.parametrize(
    ("declared", "sentence"),
    [
        ({"count": 1 << 40}, "declares 1099511627776"),
        ({"count": 3}, "declares 3"),
        ({"count": -4}, "declares -4"),
        ({"dtype": "DoubleStorage"}, "has 16 bytes"),
        ({"size": (1 << 40,)}, "reaches beyond its storage"),
        ({"size": (1 << 33, 1 << 33)}, "reaches beyond its storage"),
        ({"offset": 2}, "reaches beyond its storage"),
        ({"offset": -1}, "reaches beyond its storage"),
        ({"stride": (0,)}, "overlaps itself"),
        ({"size": (2, 2), "stride": (1, 1)}, "overlaps itself"),
        ({"size": (2,), "stride": (3,)}, "skips numbers"),
        ({"size": [4]}, "without storage, size or stride"),
    ],
)
def test_a_tensor_that_lies_about_its_size_is_refused(tmp_path, declared, sentence):
    path = archive(tmp_path, tensor_program(**declared), [bytes(16)])
    with pytest.raises(InvalidCheckpoint, match=sentence):
        torch_archive.read(path)


@pytest.mark.parametrize("stride", [(2, 1), (1, 2)], ids=["row major", "column major"])
def test_a_tensor_is_read_in_either_order(tmp_path, stride):
    path = archive(tmp_path, tensor_program(size=(2, 2), stride=stride), [np.arange(4, dtype="<f4").tobytes()])
    expected = torch.arange(4.0).as_strided((2, 2), stride).numpy()
    np.testing.assert_array_equal(torch_archive.read(path)["x"], expected)


def test_one_storage_is_not_two_types(tmp_path):
    program = tensor_program()
    other = tensor_program(dtype="IntStorage")
    both = HEAD + program[2:-1] + other[2:-1] + b"\x86."
    with pytest.raises(InvalidCheckpoint, match="declared in two ways"):
        torch_archive.read(archive(tmp_path, both, [bytes(16)]))


@pytest.mark.parametrize("name", ["../data.pkl", "/data.pkl", "stem/../../data.pkl", "a\\b"])
def test_an_entry_outside_of_the_archive_is_refused(tmp_path, name):
    path = archive(tmp_path, pickle.dumps({}))
    with zipfile.ZipFile(path, "a") as file:
        file.writestr(name, b"")
    with pytest.raises(InvalidCheckpoint, match="outside of it"):
        torch_archive.read(path)


def test_a_link_in_the_archive_is_refused(tmp_path):
    path = archive(tmp_path, pickle.dumps({}))
    link = zipfile.ZipInfo("stem/link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "a") as file:
        file.writestr(link, "/etc/passwd")
    with pytest.raises(InvalidCheckpoint, match="is a link"):
        torch_archive.read(path)


def test_a_compressed_entry_is_refused(tmp_path):
    path = tmp_path / "bomb.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("stem/data.pkl", tensor_program(count=1 << 20, size=(1 << 20,)))
        file.writestr("stem/data/0", bytes(4 << 20))
    with pytest.raises(InvalidCheckpoint, match="compressed entry"):
        torch_archive.read(path)


def test_a_pickle_too_large_for_a_checkpoint_is_not_read(tmp_path):
    with pytest.raises(InvalidCheckpoint, match="no checkpoint's"):
        torch_archive.read(archive(tmp_path, HEAD + b"]" * (5 << 20) + b"."))


@pytest.mark.parametrize(
    "program",
    [
        b"",
        b"\x80",
        HEAD + b".",
        HEAD + b"0.",
        HEAD + b"R.",
        HEAD + b"(" * 1000 + b".",
        b"\x80\x7f.",
        HEAD + b"\x82\x01.",
    ],
)
def test_a_broken_program_is_refused(tmp_path, program):
    with pytest.raises(InvalidCheckpoint):
        load_codec(archive(tmp_path, program))


@pytest.mark.parametrize("content", [{}, [], 7, {"model": {}, "parameters": {}, "data_dim": 4}, {"model": 1}])
def test_an_archive_of_something_else_is_no_checkpoint(tmp_path, content):
    with pytest.raises(InvalidCheckpoint):
        load_codec(archive(tmp_path, pickle.dumps(content, protocol=2)))


def test_a_file_that_ends_early_is_refused_wherever_it_ends(tmp_path):
    whole = tmp_path / "whole.pt"
    torch.save({"model": random_network(dim=32, hidden=32).state_dict(), "parameters": {}, "data_dim": 32}, whole)
    content = whole.read_bytes()
    cut = tmp_path / "cut.pt"
    for length in range(0, len(content), 1024):
        cut.write_bytes(content[:length])
        with pytest.raises(InvalidCheckpoint):
            load_codec(cut)
