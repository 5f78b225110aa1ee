"""A graph over the centroids of an IVF codec's lists: the nearest of a million without comparing them all (Faiss HNSW).

It is made once for a checkpoint, which takes minutes for 2^20 lists, and lies beside it in a file of its own:

    0    8 bytes   magic "QINCOGRF"
    8    u32       format version
    12   u32       links a centroid has at most on the upper levels; twice as many on the lowest
    16   u64       lists · i64 the list where every search begins · i64 its level
    40   32 bytes  SHA-256 of the checkpoint that it belongs to
    72   u32       CRC-32 of all else
    76   i32       [lists] levels of each centroid, then the links of each, −1 where there is none

The centroids themselves are not in it: a graph walks over those of the codec.
"""

import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import faiss
import numpy as np
from numpy.typing import NDArray

from model.errors import InvalidCheckpoint

LINKS = 16
EF_CONSTRUCTION = 40
EF_SEARCH = 256
FAR_OUT = 100.0
ADDED_AT_ONCE = 1 << 14
_MAGIC = b"QINCOGRF"
_HEAD = struct.Struct("<8sIIQqq32s")
_CHECKSUM = struct.Struct("<I")
_FORMAT = 1

Float32 = NDArray[np.float32]


class ListGraph:
    """A Faiss graph with the storage of the centroids that it walks over. Many threads may ask it."""

    def __init__(self, graph: Any, storage: faiss.Index, longest: float) -> None:
        """`longest`: the length of the longest centroid."""
        self._graph, self._storage = graph, storage  # the graph holds a bare pointer to the storage
        self._longest = longest

    def nearest(self, x: Float32, count: int) -> NDArray[np.int64]:
        """The `count` lists nearest to each normalised vector x [n, D], nearly always: [n, count], −1 if too few."""
        effort = cast(Any, faiss).SearchParametersHNSW(efSearch=max(EF_SEARCH, count))
        found: NDArray[np.int64] = self._graph.search(np.ascontiguousarray(x), count, params=effort)[1]
        return found

    def nearest_of(
        self, x: Float32, count: int, walked: int, among: NDArray[np.uint8], by_inner_product: bool
    ) -> NDArray[np.int64]:
        """The `count` nearest to each of x [n, D] that are set in a bitmap of the lists; −1 where fewer were met.

        walked  how many lists to look around for, of which some are set · by_inner_product  with x in any units
        """
        selector = cast(Any, faiss).IDSelectorBitmap(among)
        effort = cast(Any, faiss).SearchParametersHNSW(efSearch=max(EF_SEARCH, walked), sel=selector)
        x = self._far_out(x) if by_inner_product else x
        found: NDArray[np.int64] = self._graph.search(np.ascontiguousarray(x), count, params=effort)[1]
        return found

    def _far_out(self, x: Float32) -> Float32:
        """Points in the directions of x, so far out that the nearest centroid is that of the largest product.

        ‖c − λx‖² = λ²‖x‖² − 2λ⟨c, x⟩ + ‖c‖², where the last term weighs as little as λ is large.
        """
        lengths = np.sqrt(np.einsum("nd,nd->n", x, x))[:, None]
        return np.asarray(x * (FAR_OUT * self._longest / np.maximum(lengths, 1e-30)), np.float32)

    @property
    def size_bytes(self) -> int:
        """RAM of the links; the centroids are counted where they are held."""
        hnsw = self._graph.hnsw
        return int(4 * (hnsw.neighbors.size() + hnsw.levels.size()) + 8 * hnsw.offsets.size())


def build(centroids: Float32, report: Callable[[float], None]) -> Any:
    """The graph over centroids [lists, D], which it copies; `report` hears which share is linked."""
    storage = faiss.IndexScalarQuantizer(centroids.shape[1], faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_L2)
    graph = _empty(storage)
    graph.hnsw.efConstruction = EF_CONSTRUCTION
    for begin in range(0, len(centroids), ADDED_AT_ONCE):
        graph.add(np.ascontiguousarray(centroids[begin : begin + ADDED_AT_ONCE], np.float32))
        report(min(1.0, (begin + ADDED_AT_ONCE) / len(centroids)))
    return graph


def save(graph: Any, path: Path, sha256: str) -> None:
    """Write a graph for the checkpoint of this SHA-256, and make it last."""
    hnsw = graph.hnsw
    levels = np.ascontiguousarray(faiss.vector_to_array(hnsw.levels), "<i4")
    links = faiss.rev_swig_ptr(hnsw.neighbors.data(), hnsw.neighbors.size())
    head = _HEAD.pack(_MAGIC, _FORMAT, LINKS, len(levels), hnsw.entry_point, hnsw.max_level, bytes.fromhex(sha256))
    unfinished = path.with_name(f".{path.name}.unfinished")
    with unfinished.open("wb") as file:
        file.write(head + _CHECKSUM.pack(_checksum(head, levels, links)))
        file.write(levels.data.cast("B"))
        file.write(links.data.cast("B"))
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


def load(path: Path, sha256: str, storage: faiss.Index, longest: float) -> ListGraph:
    """The graph of a file over the centroids in `storage`; raises InvalidCheckpoint where it is not theirs.

    longest  the length of the longest centroid
    """
    with path.open("rb") as file:
        head, checksum = file.read(_HEAD.size), file.read(_CHECKSUM.size)
        if len(checksum) < _CHECKSUM.size or not head.startswith(_MAGIC):
            raise InvalidCheckpoint(f"'{path.name}' is not a graph over lists.")
        _, version, links, lists, entry, level, made_for = _HEAD.unpack(head)
        if version != _FORMAT:
            raise InvalidCheckpoint(f"'{path.name}' is of format {version}; this release reads format {_FORMAT}.")
        if made_for.hex() != sha256 or lists != storage.ntotal or links != LINKS:
            raise InvalidCheckpoint(f"'{path.name}' was made for another checkpoint.")
        graph = _empty(storage)
        levels = np.zeros(lists, "<i4")
        file.readinto(levels.data.cast("B"))
        places = faiss.vector_to_array(graph.hnsw.cum_nneighbor_per_level)
        offsets = np.concatenate([[0], np.cumsum(places[levels.clip(0, len(places) - 1)])]).astype(np.uint64)
        neighbours = _room(graph.hnsw.neighbors, int(offsets[-1]))
        read = file.readinto(neighbours.data.cast("B"))
        is_whole = read == neighbours.nbytes and not file.read(1)
    if not is_whole or _CHECKSUM.unpack(checksum)[0] != _checksum(head, levels, neighbours):
        raise InvalidCheckpoint(f"'{path.name}' is damaged: delete it, and it is made anew.")
    faiss.copy_array_to_vector(levels, graph.hnsw.levels)
    faiss.copy_array_to_vector(offsets, graph.hnsw.offsets)
    graph.hnsw.entry_point, graph.hnsw.max_level, graph.ntotal = entry, level, lists
    return ListGraph(graph, storage, longest)


def path_beside(checkpoint: Path) -> Path:
    """Where the graph of a checkpoint lies."""
    return checkpoint.with_suffix(".graph")


def _empty(storage: faiss.Index) -> Any:
    """A graph without links over a storage; Faiss' stubs know neither this call nor the graph's parts (1.15.1)."""
    return cast(Any, faiss.IndexHNSW)(storage, LINKS)


def _room(vector: Any, count: int) -> NDArray[np.int32]:
    """So many numbers of a Faiss vector, to be written to."""
    vector.resize(count)
    numbers: NDArray[np.int32] = faiss.rev_swig_ptr(vector.data(), count)
    return numbers


def _checksum(head: bytes, levels: NDArray[np.int32], links: NDArray[np.int32]) -> int:
    return zlib.crc32(links.data.cast("B"), zlib.crc32(levels.data.cast("B"), zlib.crc32(head)))
