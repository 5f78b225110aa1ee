"""What codecs take in RAM, counting once what several share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Protocol

from model.kernels.folding import Array
from model.tensors import is_tensor

if TYPE_CHECKING:
    from model.coarse import CoarseQuantiser
    from model.coarse_there import CoarseThere


class Holder(Protocol):
    """A codec of any kind, as far as its memory is concerned."""

    @property
    def coarse(self) -> CoarseQuantiser | CoarseThere | None: ...
    def arrays(self) -> Iterator[Array]: ...


def size_bytes(codecs: Iterable[Holder]) -> int:
    """RAM of some codecs, counting once what several share."""
    held: dict[tuple[int, int], int] = {}
    graphs: dict[int, int] = {}
    for codec in codecs:
        held |= {(_address(one), one.nbytes): one.nbytes for one in codec.arrays()}
        graphs |= {} if codec.coarse is None else {id(codec.coarse): codec.coarse.graph_bytes}
    return sum(held.values()) + sum(graphs.values())


def _address(values: Array) -> int:
    return int(values.data_ptr() if is_tensor(values) else values.ctypes.data)
