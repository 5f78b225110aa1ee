"""Cosine: stored vectors have length 1, what codes decode to has not, and by how much it is too short tells nothing.

A decoder gives about the mean of the vectors that share a code, which lies inside the sphere that these lie on: for
sentence embeddings of 16 bytes at lengths of 0.7 to 1. By squared distance a query prefers some lengths to others, by
direction it does not: decoded vectors are brought back to length 1 before they are compared.

The additive scan adds up what lies in tables, and cannot divide. To a query q made s times as long, a decoded vector
r·u, u of length 1, has the distance ‖s·q − r·u‖² = s² − 2·s·r·⟨q, u⟩ + r². Where ⟨q, u⟩ is c, it does not change with
r near r = s·c: so with s = 1/c vectors of lengths about 1 are ranked by their directions alone. The c that matters is
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


def at_length_one(decoded: Float32) -> Float32:
    """Decoded vectors [n, dim] brought back to where stored ones lie."""
    lengths = np.sqrt(np.maximum(np.einsum("nd,nd->n", decoded, decoded), TINY))
    return np.asarray(decoded / lengths[:, None], np.float32)


def lengthened(queries: Float32, lists: Lists | OccupiedLists, probed: NDArray[np.int64] | None = None) -> Float32:
    """Queries [q, dim] of length 1 as the scan is to see them; `probed` [q, p] are each one's lists, nearest first."""
    if probed is None or probed.shape[1] >= len(lists):  # all of them come in any order
        probed = lists.probe(queries, 1)
    nearest = probed[:, 0]
    cosines = np.clip(lists.cosines(queries, nearest), LEAST_COSINE, 1)
    return np.asarray(queries / cosines[:, None], np.float32)
