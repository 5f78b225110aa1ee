"""Reading the authors' `.pt` files without running anything in them.

A torch file is a zip archive, entries stored as they are: `STEM/data.pkl`, a pickle, and `STEM/data/KEY`, the raw
numbers of each storage. A pickle is a program; this reader lets it name only what those files need, and every such name
stands for something inert here:

* tensors become NumPy arrays, made only when they cover their storage within its bounds and without overlap, so that
  no declared size can ask for more memory than the file has bytes;
* modules become `Module`, an attribute bag that never runs a line of the class it is named after;
* any other name ends the reading, and the error tells it.
"""

import io
import pickle
import stat
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.errors import InvalidCheckpoint

MOST_PICKLE_BYTES = 4 << 20
MOST_ENTRIES = 100_000

Tensor = NDArray[np.generic]


class Module:
    """A pickled module, of which only the attributes are kept; `kind` is the name of its class."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.attributes: dict[str, Any] = {}

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, dict):
            raise InvalidCheckpoint(f"The state of a {self.kind} in the checkpoint is no dictionary.")
        self.attributes = state


MODULES = (
    "model_qinco.QINCo",
    "model_qinco.QINCoLR",
    "model_qinco.IVFQINCo",
    "model_qinco.PQ_QINCo",
    "model_qinco.QINCoStep",
    "torch.nn.modules.sparse.Embedding",
    "torch.nn.modules.linear.Linear",
    "torch.nn.modules.container.Sequential",
    "torch.nn.modules.activation.ReLU",
)
"""Classes of QINCo v1 files. Each becomes a subclass of `Module`, since pickles make instances by `cls.__new__`."""

STORAGES = {
    "torch.DoubleStorage": np.dtype("<f8"),
    "torch.FloatStorage": np.dtype("<f4"),
    "torch.HalfStorage": np.dtype("<f2"),
    "torch.LongStorage": np.dtype("<i8"),
    "torch.IntStorage": np.dtype("<i4"),
    "torch.ByteStorage": np.dtype("u1"),
    "torch.BoolStorage": np.dtype("?"),
}


def read(path: Path) -> Any:
    """The pickled object of a torch archive. Raises InvalidCheckpoint, naming a refused symbol where there is one."""
    try:
        with zipfile.ZipFile(path) as archive:
            folder = _checked_folder(archive, path.stat().st_size)
            info = archive.getinfo(f"{folder}/data.pkl")
            if info.file_size > MOST_PICKLE_BYTES:
                raise InvalidCheckpoint(f"The archive's pickle has {info.file_size} bytes; that is no checkpoint's.")
            return _Unpickler(archive, folder, archive.read(info)).load()
    except InvalidCheckpoint:
        raise
    except (zipfile.BadZipFile, KeyError, EOFError, OSError, NotImplementedError) as error:
        raise InvalidCheckpoint(f"The .pt file is damaged or no torch archive: {_sentence(error)}") from error
    except Exception as error:  # a hostile pickle can make its machine fail in any way; none may pass for a checkpoint
        raise InvalidCheckpoint(f"The .pt file's pickle cannot be read: {_sentence(error)}") from error


class _Unpickler(pickle.Unpickler):
    def __init__(self, archive: zipfile.ZipFile, folder: str, program: bytes) -> None:
        super().__init__(io.BytesIO(program), encoding="latin1")
        self._archive, self._folder = archive, folder
        self._storages: dict[str, Tensor] = {}

    def find_class(self, module: str, name: str) -> Any:
        """What a name in the pickle stands for; anything not listed is refused."""
        symbol = f"{module}.{name}"
        if symbol in _ADMITTED:
            return _ADMITTED[symbol]
        raise InvalidCheckpoint(f"The checkpoint's pickle asks for '{symbol}', which no codec needs; it was not run.")

    def persistent_load(self, pid: Any) -> Tensor:
        """The numbers of one storage: ('storage', dtype, key, location, count) → [count]."""
        match pid:
            case ("storage", np.dtype() as dtype, str(key), str(), int(count)) if key.isalnum():
                return self._storage(dtype, key, count)
        raise InvalidCheckpoint("The checkpoint's pickle refers to something that is no storage.")

    def _storage(self, dtype: np.dtype[Any], key: str, count: int) -> Tensor:
        if key not in self._storages:
            info = self._archive.getinfo(f"{self._folder}/data/{key}")
            if count < 0 or count * dtype.itemsize != info.file_size:
                raise InvalidCheckpoint(
                    f"Storage {key} of the checkpoint declares {count} × {dtype} and has {info.file_size} bytes."
                )
            self._storages[key] = np.frombuffer(self._archive.read(info), dtype)
        if self._storages[key].dtype != dtype or len(self._storages[key]) != count:
            raise InvalidCheckpoint(f"Storage {key} of the checkpoint is declared in two ways.")
        return self._storages[key]


def _rebuild_tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Tensor:
    if not isinstance(storage, np.ndarray) or not _are_counts(size) or not _are_counts(stride):
        raise InvalidCheckpoint("A tensor of the checkpoint is declared without storage, size or stride.")
    numbers = int(np.prod([int(n) for n in size], dtype=object))
    if not isinstance(offset, int) or offset < 0 or offset + numbers > len(storage):
        raise InvalidCheckpoint(f"A tensor of the checkpoint of shape {list(size)} reaches beyond its storage.")
    if numbers and tuple(stride) not in (_row_major(size), _column_major(size)):
        raise InvalidCheckpoint(f"A tensor of the checkpoint of shape {list(size)} overlaps itself or skips numbers.")
    values = storage[offset : offset + numbers]
    if tuple(stride) == _row_major(size) or not numbers:
        return values.reshape(size)
    return values.reshape(size[::-1]).T


def _rebuild_parameter(data: Any, *_: Any) -> Any:
    return data


def _numpy_scalar(dtype: Any, raw: Any = None) -> Any:
    if not isinstance(dtype, np.dtype) or dtype.kind not in "fiu" or not isinstance(raw, bytes):
        raise InvalidCheckpoint("A number of the checkpoint is not stored as one.")
    return np.frombuffer(raw, dtype, count=1)[0].item()


class _Dtype:
    """`numpy.dtype(...)` in a pickle: only plain numbers; its state (byte order) is checked and dropped."""

    def __new__(cls, name: Any = "", *_: Any) -> Any:
        if name not in ("f8", "f4", "f2", "i8", "i4"):
            raise InvalidCheckpoint(f"A number of the checkpoint has the type '{name}', which no codec needs.")
        return np.dtype("<" + name)


def _latin1(text: Any, encoding: Any = "latin1") -> bytes:
    """`_codecs.encode`, by which Python 2 pickles spell bytes."""
    if not isinstance(text, str) or encoding != "latin1":
        raise InvalidCheckpoint("The checkpoint's pickle asks for an encoding that no codec needs.")
    return text.encode("latin1")


def _module_class(symbol: str) -> type[Module]:
    kind = symbol.rpartition(".")[2]

    def make(cls: type[Module], *_: Any) -> Module:
        made = object.__new__(cls)
        Module.__init__(made, kind)
        return made

    return type(kind, (Module,), {"__new__": make, "__init__": lambda self, *_: None})


_SYMBOLS: dict[str, Callable[..., Any] | np.dtype[Any]] = {
    "collections.OrderedDict": OrderedDict,
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils._rebuild_parameter": _rebuild_parameter,
    "torch.nn.parameter.Parameter": _rebuild_parameter,
    "numpy._core.multiarray.scalar": _numpy_scalar,
    "numpy.core.multiarray.scalar": _numpy_scalar,
    "numpy.dtype": _Dtype,
    "_codecs.encode": _latin1,
    "__builtin__.set": set,
    "builtins.set": set,
}
_ADMITTED: dict[str, Any] = {**_SYMBOLS, **STORAGES, **{symbol: _module_class(symbol) for symbol in MODULES}}


def _checked_folder(archive: zipfile.ZipFile, size_bytes: int) -> str:
    """The one top folder of an archive whose entries are all plain, stored, and inside it."""
    entries = archive.infolist()
    if not 0 < len(entries) <= MOST_ENTRIES:
        raise InvalidCheckpoint(f"The archive has {len(entries)} entries; that is no checkpoint's number.")
    folders = set()
    for entry in entries:
        parts = PurePosixPath(entry.filename).parts
        if not parts or ".." in parts or entry.filename.startswith("/") or "\\" in entry.filename:
            raise InvalidCheckpoint("The archive has an entry that points outside of it.")
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise InvalidCheckpoint("The archive has an entry that is a link.")
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
            raise InvalidCheckpoint("The archive has a compressed entry; torch stores its entries as they are.")
        folders.add(parts[0])
    if sum(entry.file_size for entry in entries) > size_bytes:
        raise InvalidCheckpoint("The archive's entries are together larger than the file: they overlap.")
    if len(folders) != 1:
        raise InvalidCheckpoint("The archive has several top folders; a torch file has one.")
    return folders.pop()


def _are_counts(values: Any) -> bool:
    return isinstance(values, tuple) and all(isinstance(n, int) and n >= 0 for n in values)


def _row_major(size: tuple[int, ...]) -> tuple[int, ...]:
    strides: list[int] = []
    step = 1
    for n in reversed(size):
        strides.append(step)
        step *= max(n, 1)
    return tuple(reversed(strides))


def _column_major(size: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(reversed(_row_major(size[::-1])))


def _sentence(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
