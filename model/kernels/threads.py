"""Shares of a batch on several threads; the kernels let go of the GIL."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import faiss

_threads = faiss.omp_get_max_threads()  # as OMP_NUM_THREADS says, else the processors that the process may run on


def set_threads(count: int) -> None:
    """On how many threads a call of a kernel runs from now on, at most."""
    global _threads
    _threads = count


def threads() -> int:
    """On how many it does."""
    return _threads


def in_shares(work: Callable[[slice], None], n: int, least: int) -> None:
    """Do `work` for slices that make up 0…n, at once on several threads where each gets `least` rows or more."""
    shares = max(1, min(_threads, n // least))
    if shares == 1:
        return work(slice(0, n))
    parts = [slice(n * part // shares, n * (part + 1) // shares) for part in range(shares)]
    own = [_pool(shares).submit(work, part) for part in parts[1:]]
    work(parts[0])
    for other in own:
        other.result()


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="codec")
