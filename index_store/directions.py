"""Where all vectors have one length, what their codes decode to has several, and these tell nothing.

A decoder gives about the mean of the vectors that share a code, which lies inside the sphere that these lie on: for
sentence embeddings of 16 bytes at lengths of 0.7 to 1. By squared distance a query prefers some lengths to others, by
inner product the long ones. So decoded vectors are brought back to the length of all before they are compared.

The additive scan adds up what lies in tables, and cannot divide. A decoded vector r·u, u of length 1, has the distance
‖s·q − r·u‖² = s² − 2·s·r·⟨q, u⟩ + r² to a query q of length 1 made s long. Where ⟨q, u⟩ is c, it does not change with r
near r = s·c: so with s = L/c vectors of lengths about L are ranked by their directions alone. The c that matters is
that of what is nearest to a query, and its nearest centroid has about the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from index_store.answers import Float32

if TYPE_CHECKING:
    from index_store.lists import Lists
    from index_store.many_lists import OccupiedLists

LEAST_COSINE = 0.25
"""Of a query and what is near it: a centroid farther than that tells nothing of it."""

TINY = 1e-30


def at_length(length: float, vectors: Float32) -> Float32:
    """Vectors [n, dim] brought to a length; those without a direction stay."""
    own = np.sqrt(np.maximum(np.einsum("nd,nd->n", vectors, vectors), TINY))
    return np.asarray(vectors * (length / own)[:, None], np.float32)


def lengthened(
    queries: Float32, length: float, lists: Lists | OccupiedLists, probed: NDArray[np.int64] | None = None
) -> Float32:
    """Queries [q, dim] as a scan by squared distances is to see them, where all vectors have a length.

    probed [q, p]  each one's lists, nearest first
    """
    if probed is None or probed.shape[1] >= len(lists):  # all of them come in any order
        probed = lists.probe(queries, 1)
    directed = at_length(1, queries)
    cosines = np.clip(lists.cosines(directed, probed[:, 0]), LEAST_COSINE, 1)
    return np.asarray(directed * (length / cosines)[:, None], np.float32)
