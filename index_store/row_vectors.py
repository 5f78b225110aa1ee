"""The vectors of given rows: their originals, or what their codes decode to where originals are not kept."""

import numpy as np
from numpy.typing import NDArray

from index_store.answers import Float32
from index_store.directions import at_length
from index_store.originals import as_stored
from index_store.search import codes_of
from index_store.vector_index import VectorIndex
from index_store.view import View


def vectors_of(index: VectorIndex, rows: NDArray[np.int64], view: View) -> Float32:
    """The vectors of live rows [n] as they are compared, float32 [n, dim]."""
    if index.keeps_originals:
        return index.forms.as_searched(index.originals.read(rows))
    vectors = np.empty((len(rows), index.config.size), np.float32)
    for first, stored in view.pending:
        here = np.flatnonzero((rows >= first) & (rows < first + len(stored)))
        vectors[here] = index.forms.as_searched(stored[rows[here] - first])
    for number, one in enumerate(view.segments):
        here = np.flatnonzero((rows >= one.first_row) & (rows < one.stop_row))
        if len(here) and view.coding is not None:
            slots = index.files.row_slots.of(one, rows[here])
            codes = codes_of(view, view.coding.codec, np.full(len(here), number, np.int32), slots)
            decoded = view.coding.codec.decode(codes)
            vectors[here] = decoded if view.length is None else at_length(view.length, decoded)
    return vectors


def stored_vectors(index: VectorIndex, rows: NDArray[np.int64], view: View) -> NDArray[np.generic]:
    """The vectors of live rows [n] as they would be stored again: unchanged where originals are kept."""
    if index.keeps_originals:
        return as_stored(index.originals.read(rows), index.originals.dtype.name)
    return index.forms.prepare(vectors_of(index, rows, view))
