"""The inner products of queries with many rows, on the thread that asks.

NumPy would share them out among OpenBLAS's threads, which all queries of the process contend for: 3 346 rows of 128
then take 63 µs, and every tenth time 151, instead of 47 and 73 on one (a busy AMD EPYC, 2026-11-21). And libraries
first copy the rows in another order, which takes longer than the products of a few queries.
"""

from typing import Any

import numpy as np
from numba import njit

from index_store.answers import Float32


def products_plain(rows: Float32, queries: Float32) -> Float32:
    """⟨query, row⟩ for rows [n, dim] and queries [q, dim], as [q, n]."""
    return queries @ rows.T


def products(rows: Float32, queries: Float32) -> Float32:
    """The same."""
    found = np.empty((len(queries), len(rows)), np.float32)
    products_into(found, rows, queries)
    return found


@njit(nogil=True, cache=True, fastmath={"reassoc", "contract", "nsz"})
def products_into(found: Any, rows: Any, queries: Any) -> None:
    """The same (writes found [q, n]); four queries at a time for each row that is read."""
    last, dim = queries.shape[0] - 1, rows.shape[1]
    if last == 0:
        for place in range(rows.shape[0]):
            total = np.float32(0)
            for at in range(dim):
                total += rows[place, at] * queries[0, at]
            found[0, place] = total
        return
    for one in range(0, last + 1, 4):
        two, three, four = min(one + 1, last), min(one + 2, last), min(one + 3, last)  # some twice at the end
        for place in range(rows.shape[0]):
            a, b, c, d = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
            for at in range(dim):
                number = rows[place, at]
                a += number * queries[one, at]
                b += number * queries[two, at]
                c += number * queries[three, at]
                d += number * queries[four, at]
            found[one, place] = a
            found[two, place] = b
            found[three, place] = c
            found[four, place] = d
