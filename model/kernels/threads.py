"""Shares of a batch on several threads, as many as PyTorch would take; the kernels let go of the GIL."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import torch


def in_shares(work: Callable[[slice], None], n: int, least: int) -> None:
    """Do `work` for slices that make up 0…n, at once on several threads where each gets `least` rows or more."""
    shares = max(1, min(torch.get_num_threads(), n // least))
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
