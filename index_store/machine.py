"""What all collections of a store share."""

from concurrent.futures import Executor
from dataclasses import dataclass

from index_store.storage import Storage


@dataclass(frozen=True)
class Machine:
    """File access, a pool of threads for scans, its size, and how many queries each collection remembers."""

    storage: Storage
    pool: Executor | None = None
    threads: int = 1
    recent_queries: int = 0
