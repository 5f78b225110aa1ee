"""The most that codes alone can give: the ranking of all decoded vectors, read from the folder of a stopped server.

No call of the API returns codes, and asking the service to re-rank every vector for every query would take minutes;
decoding each of them once takes a second.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from index_store import Store, directions
from index_store.search import codes_of
from model import load_codec

Float32 = NDArray[np.float32]


def rank_all_decoded(data: Path, name: str, checkpoint: Path, queries: Float32, limit: int) -> NDArray[np.int64]:
    """The `limit` rows of a Cosine collection whose decoded vectors are nearest to each query [q, dim], best first."""
    decoded = directions.at_length(1, _decoded(data, name, checkpoint))
    distances = np.square(decoded).sum(axis=1) - 2 * queries @ decoded.T  # [q, n], less the query's own norm
    return np.argsort(distances, axis=1, kind="stable")[:, :limit]


def _decoded(data: Path, name: str, checkpoint: Path) -> Float32:
    """The decoded vector of every row: [n, dim]."""
    codec = load_codec(checkpoint)
    store = Store.open(data)
    try:
        view = store.collection(name).view("default")
        decoded = np.empty((view.encoded(), codec.dim), np.float32)
        for number, segment in enumerate(view.segments):
            slots = np.arange(len(segment))
            codes = codes_of(view, codec, np.full(len(slots), number, np.int32), slots)
            decoded[segment.rows] = codec.decode(codes)
        return decoded
    finally:
        store.close()
