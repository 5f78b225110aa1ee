"""Random samples of a collection's vectors, written as .npy files: what a codec is trained on, and compared by."""

import io
from pathlib import Path

import numpy as np
from numpy.lib.format import header_data_from_array_1_0, write_array_header_1_0
from numpy.typing import NDArray

from index_store.errors import InvalidConfig
from index_store.holdings import Holdings
from index_store.storage import as_bytes
from index_store.vector_index import VectorIndex

BLOCK_ROWS = 8192


def write_samples(held: Holdings, index: VectorIndex, counts: dict[Path, int], seed: int) -> dict[Path, int]:
    """Write so many live vectors, as they are searched, to each file: float32 [count, dim], no row in two of them.

    The first files get their share first where there are too few; returns how many each got, and a file that gets none
    is not written.
    """
    if not index.keeps_originals:
        raise InvalidConfig("This collection keeps no originals, so there is nothing to train on.")
    with held.upkeep:  # no stripe is deleted meanwhile
        view = held.views[index.name]
        alive = np.flatnonzero(~view.dead.between(0, view.stop))
        wanted = min(sum(counts.values()), len(alive))
        chosen = alive[np.random.default_rng(seed).choice(len(alive), wanted, replace=False)]
        written, begin = {}, 0
        for path, count in counts.items():
            rows = np.sort(chosen[begin : begin + count])
            if len(rows):
                _write(index, rows, path)
            written[path], begin = len(rows), begin + count
    return written


def _write(index: VectorIndex, rows: NDArray[np.int64], path: Path) -> None:
    """All of a file or nothing: it has its name once it is complete. Raises DiskFull.

    It is written, not mapped: where the disk has no room for a page that is mapped, the whole process is killed.
    """
    storage, unfinished, size = index.files.storage, path.with_name(path.name + ".tmp"), index.config.size
    storage.check_room(path.parent, 4 * len(rows) * size)
    storage.remove(unfinished)
    head = _header(len(rows), size)
    try:
        storage.write_at(unfinished, 0, memoryview(head))
        for begin in range(0, len(rows), BLOCK_ROWS):
            some = rows[begin : begin + BLOCK_ROWS]
            vectors = np.asarray(index.forms.as_searched(index.originals.read(some)), np.float32)
            storage.write_at(unfinished, len(head) + 4 * begin * size, as_bytes(vectors))
    except BaseException:
        storage.remove(unfinished)
        raise
    storage.rename(unfinished, path)


def _header(n: int, size: int) -> bytes:
    """Of a .npy file: float32 [n, size]."""
    file = io.BytesIO()
    told = header_data_from_array_1_0(np.empty((0, size), np.float32)) | {"shape": (n, size)}
    write_array_header_1_0(file, told)
    return file.getvalue()
