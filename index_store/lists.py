"""The coarse quantiser: which lists there are, which list a vector belongs to, which lists a query reads.

A codec with IVF brings its centroids. For one without, centroids are trained on the collection's own vectors and stored
beside it (`lists.bin`: magic, format version, shape, CRC-32, centroids float32); codes do not depend on them.
"""

import struct
import zlib
from pathlib import Path

import faiss
import numpy as np
from numpy.typing import NDArray

from index_store.answers import Float32
from index_store.errors import DamagedData
from index_store.segment import Segment
from index_store.storage import Storage

MOST_TRAINED = 4096
TRAINING_VECTORS_A_LIST = 64
_MAGIC = b"QINCOLST"
_HEAD = struct.Struct("<8sIIII")
_FORMAT = 1
_TINY = 1e-30


class Lists:
    """Centroids float32 [lists, dim], their squared lengths, and the Faiss index that searches them."""

    def __init__(self, centroids: Float32, by_inner_product: bool) -> None:
        self.centroids = np.ascontiguousarray(centroids, np.float32)
        self._by_inner_product = by_inner_product
        self.squared = np.einsum("ld,ld->l", self.centroids, self.centroids)
        self._nearest = _compared(self.centroids, faiss.METRIC_L2)
        self._probe = _compared(self.centroids, faiss.METRIC_INNER_PRODUCT) if by_inner_product else self._nearest

    def __len__(self) -> int:
        return len(self.centroids)

    def seen_in(self, segments: tuple[Segment, ...]) -> "Lists":
        """What a query sees of them: all, whatever the segments hold."""
        return self

    def assign(self, vectors: Float32) -> NDArray[np.int64]:
        """The list of each vector: its nearest centroid, [n]."""
        return np.asarray(self._nearest.search(vectors, 1)[1][:, 0], np.int64)

    def probe(self, queries: Float32, nprobe: int) -> NDArray[np.int64]:
        """The lists to read for each query, nearest first, [q, nprobe]."""
        if nprobe >= len(self):
            return np.tile(np.arange(len(self), dtype=np.int64), (len(queries), 1))
        if len(queries) == 1:  # a product and a selection are two thirds of the time that Faiss takes for one query
            return self._probe_one(queries[0], nprobe)[None]
        return np.asarray(self._probe.search(queries, nprobe)[1], np.int64)

    def _probe_one(self, query: Float32, nprobe: int) -> NDArray[np.int64]:
        from index_store.scan.products import products

        distances = products(self.centroids, query[None])[0]
        distances *= -2
        if not self._by_inner_product:
            distances += self.squared
        found = np.argpartition(distances, nprobe)[:nprobe]
        return np.asarray(found[np.argsort(distances[found])], np.int64)

    def products(self, queries: Float32, probed: NDArray[np.int64]) -> Float32:
        """⟨query, centroid⟩ of each probed list, [q, p]; anything where there is none."""
        some = np.maximum(probed, 0)
        if probed.shape[1] * 4 >= len(self):
            return np.take_along_axis(queries @ self.centroids.T, some, axis=1)
        return np.stack([self.centroids[lists] @ query for query, lists in zip(queries, some, strict=True)])

    def cosines(self, queries: Float32, lists: NDArray[np.int64]) -> Float32:
        """The cosine of each query at length 1, [q, dim], and the centroid of its own one of `lists` [q]."""
        mine = np.maximum(lists, 0)
        products = np.einsum("qd,qd->q", queries, self.centroids[mine])
        return np.asarray(products / np.sqrt(np.maximum(self.squared[mine], _TINY)), np.float32)

    def ram_bytes(self) -> int:
        """The bytes of the centroids, with the copies inside the indexes."""
        copies = 2 if self._probe is self._nearest else 3
        return copies * int(self.centroids.nbytes)


def train(vectors: Float32, count: int) -> Float32:
    """Centroids for so many lists: k-means on a collection's vectors [n, dim]."""
    if count == 1:
        return np.asarray(vectors.mean(axis=0, keepdims=True), np.float32)
    kmeans = faiss.Kmeans(
        vectors.shape[1],
        count,
        niter=10,
        seed=1,
        max_points_per_centroid=TRAINING_VECTORS_A_LIST,
        min_points_per_centroid=1,
    )
    kmeans.train(np.ascontiguousarray(vectors, np.float32))
    return np.asarray(kmeans.centroids, np.float32)


def lists_for(count: int) -> int:
    """How many lists suit so many vectors: about 4·√n."""
    return max(1, min(MOST_TRAINED, int(4 * count**0.5), count // 4))


def save(storage: Storage, path: Path, centroids: Float32) -> None:
    """Write centroids and make them last, in one step."""
    body = np.ascontiguousarray(centroids, "<f4").tobytes()
    head = _HEAD.pack(_MAGIC, _FORMAT, *centroids.shape, zlib.crc32(body))
    unfinished = path.with_suffix(".tmp")
    storage.remove(unfinished)
    storage.write_at(unfinished, 0, memoryview(head + body))
    storage.sync(unfinished)
    storage.rename(unfinished, path)
    storage.sync_folder(path.parent)


def load(storage: Storage, path: Path) -> Float32:
    """Read centroids back; raises DamagedData."""
    data = storage.read(path, 0, storage.size(path))
    if len(data) < _HEAD.size or not data.startswith(_MAGIC):
        raise DamagedData(f"{path.name} does not hold the centroids of lists.", path, 0)
    _, version, count, dim, checksum = _HEAD.unpack_from(data)
    body = data[_HEAD.size :]
    if version != _FORMAT or len(body) != 4 * count * dim or zlib.crc32(body) != checksum:
        raise DamagedData(f"{path.name}: the centroids of the lists do not match their checksum.", path, 0)
    return np.frombuffer(body, "<f4").reshape(count, dim).astype(np.float32)


def _compared(centroids: Float32, metric: int) -> faiss.Index:
    flat = faiss.IndexFlat(centroids.shape[1], metric)
    flat.add(centroids)
    return flat
