"""Faiss indexes of as many bytes a vector, and what one buys with more RAM: built once, kept in runs/.

A vector's place in RAM is its code, an id of 8 bytes in a list where there are lists, and what the index adds.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from benchmarks.sift_store import DATA, RUNS

LISTS = 2048
TRAINED_ON = 100_000

Float32 = NDArray[np.float32]
Search = Callable[[Float32, int], NDArray[np.int64]]


@dataclass(frozen=True)
class Rival:
    """An index, what its codes and RAM take a vector, and how it is asked to look harder.

    efforts: a parameter's name and its values; candidates: how many are judged again by float32 vectors, 0 for none
    """

    name: str
    factory: str
    code_bytes: float
    efforts: tuple[int, ...]
    candidates: int = 0


def rivals(code_bytes: int, rows: int) -> list[Rival]:
    """Those that a code of so many bytes competes with."""
    probes = (1, 2, 4, 8, 16, 32, 64)
    bits = 8 * (code_bytes - 8)  # RaBitQ keeps two floats beside one bit a dimension
    return [
        Rival(f"Faiss IVF,PQ{code_bytes}", f"IVF{LISTS},PQ{code_bytes}", code_bytes, probes),
        Rival(f"Faiss OPQ,IVF,PQ{code_bytes}", f"OPQ{code_bytes},IVF{LISTS},PQ{code_bytes}", code_bytes, probes),
        Rival(f"Faiss IVF,PQ{2 * code_bytes}x4fs", f"IVF{LISTS},PQ{2 * code_bytes}x4fs", code_bytes, probes),
        Rival(f"Faiss IVF,RQ{code_bytes}x8", f"IVF{LISTS},RQ{code_bytes}x8_Nqint8", code_bytes + 1, probes[:6]),
        *(
            [Rival(f"Faiss PCA{bits},IVF,RaBitQ", f"PCA{bits},IVF{LISTS},RaBitQ", code_bytes, probes)]
            if bits > 0
            else []
        ),
        Rival(f"Faiss IVF,PQ{code_bytes} + exact 100", f"IVF{LISTS},PQ{code_bytes}", code_bytes + 512, probes, 100),
        Rival("Faiss HNSW32, float32", "HNSW32", 512 + 4 * 64, (16, 32, 64, 128)),
    ]


def opened(rival: Rival, vectors: NDArray[np.uint8]) -> faiss.Index:
    """The index over vectors [n, dim]; built unless runs/ holds it."""
    path = RUNS / f"{rival.factory.replace(',', '-')}-{len(vectors)}.faiss"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        print(f"Building {rival.factory}", flush=True)
        index = faiss.index_factory(vectors.shape[1], rival.factory)
        _spare_time(index)
        index.train(np.load(DATA / "learn.npy")[:TRAINED_ON].astype(np.float32))
        for first in range(0, len(vectors), 50_000):
            index.add(vectors[first : first + 50_000].astype(np.float32))
        faiss.write_index(index, str(path))
    return faiss.read_index(str(path))


def _spare_time(index: faiss.Index) -> None:
    """Fewer alternations of OPQ than Faiss' 50: minutes, not hours."""
    if isinstance(index, faiss.IndexPreTransform):
        chain: Any = index.chain
        for place in range(chain.size()):
            transform = faiss.downcast_VectorTransform(chain.at(place))
            if isinstance(transform, faiss.OPQMatrix):
                transform.niter = 15


def searches(rival: Rival, index: faiss.Index, vectors: NDArray[np.uint8]) -> Iterator[tuple[int, Search]]:
    """(effort, search) for each of its efforts."""
    name = "efSearch" if rival.factory.startswith("HNSW") else "nprobe"
    for effort in rival.efforts:
        yield effort, _search(index, name, effort, rival.candidates, vectors)


def _search(index: faiss.Index, name: str, effort: int, candidates: int, vectors: NDArray[np.uint8]) -> Search:
    def plain(queries: Float32, limit: int) -> NDArray[np.int64]:
        faiss.ParameterSpace().set_index_parameter(index, name, effort)
        found: NDArray[np.int64] = index.search(queries, candidates or limit)[1]
        return found if not candidates else _refined(queries, found, limit)

    def _refined(queries: Float32, found: NDArray[np.int64], limit: int) -> NDArray[np.int64]:
        distances = np.square(vectors[found].astype(np.float32) - queries[:, None]).sum(axis=2)
        return np.take_along_axis(found, np.argsort(distances, axis=1)[:, :limit], axis=1)

    return plain


def size_bytes(rival: Rival, rows: int) -> float:
    """What it keeps in RAM for a vector: its file's size, and float32 vectors where it judges by them."""
    path = RUNS / f"{rival.factory.replace(',', '-')}-{rows}.faiss"
    return round(path.stat().st_size / rows + (512 if rival.candidates else 0), 1)
