"""What a process chooses for itself before it imports anything heavy: threads and logging."""

import logging
import os


def share_threads(threads: int) -> None:
    """One budget for the pools of PyTorch, Faiss and Numba; only heeded when they are imported afterwards."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[name] = str(threads)


def configure_logging(level: str) -> None:
    """One line an event, to standard error."""
    logging.basicConfig(level=level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for chatty in ("uvicorn", "uvicorn.error", "httpx", "numba", "faiss"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
