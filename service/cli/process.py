"""What a process chooses for itself before it imports anything heavy: threads and its heap."""

import ctypes
import os
import sys
from contextlib import suppress

# Parameters of glibc's mallopt, from malloc.h.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
LARGE_BYTES = 1024 * 1024
ARENAS = 2
MOST_FILES = 65536


def open_many_files() -> None:
    """As many files and connections as the system lets this process open; most shells allow 1024 without asking."""
    with suppress(ImportError, ValueError, OSError):  # no such limits on Windows
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = MOST_FILES if most == resource.RLIM_INFINITY else min(most, MOST_FILES)
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


def share_threads(threads: int) -> None:
    """One budget for the pools of PyTorch, Faiss and Numba; only heeded when they are imported afterwards."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[name] = str(threads)
    # OpenMP's threads otherwise spin while they wait for each other: on a machine that does anything else besides,
    # encoding 20 000 vectors then took 94 s instead of 17, and a query 236 ms instead of 5 (two cores, 2026-11-21).
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def give_memory_back() -> None:
    """Has glibc return large blocks when they are freed, and share few arenas among threads.

    By default it learns from the first freed upload of some MiB to keep blocks of that size, in an arena a thread:
    resident memory then wandered by 20 MB while 50 000 vectors were uploaded; so it stays within 4 (2026-11-21).
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", lambda *_: None)  # musl has none
        mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)
        mallopt(M_TRIM_THRESHOLD, LARGE_BYTES)
        mallopt(M_ARENA_MAX, ARENAS)
