"""What of a run can be compared with another machine's: ratios to a yardstick that the same run measured.

The yardstick is a product of two float32 matrices, and one of a matrix and a vector, by NumPy on this machine. Our
kernels take other ways where the processor has other instructions: runs are compared with those of the same.
"""

import time
from typing import Any

import numpy as np

WORSE_BY = 1.2
"""A ratio may grow by a fifth from one run to the next; more fails."""


def yardstick() -> dict[str, float]:
    """Microseconds: a product of 1024 × 1024 numbers, and of 20 000 × 384 with a vector; the least of many."""
    random = np.random.default_rng(0)
    square, tall = (random.normal(size=size).astype(np.float32) for size in ((1024, 1024), (20_000, 384)))
    return {"product_us": _least_us(lambda: square @ square), "brute_force_us": _least_us(lambda: tall @ tall[0])}


def instructions() -> str:
    """Which of the instructions that kernels choose by this processor has."""
    from index_store.scan.processor import has_byte_lookups  # compiled code, after threads are shared
    from model.kernels.processor import HAS_AVX512, HAS_BFLOAT16

    has = {"AVX-512": HAS_AVX512, "bfloat16": HAS_BFLOAT16, "VBMI": has_byte_lookups()}
    return " ".join(name for name, there in has.items() if there) or "neither AVX-512 nor bfloat16"


def ratios(figures: dict[str, Any]) -> dict[str, float]:
    """Of a run's figures; smaller is better for each."""
    yard = figures["yardstick"]
    return {
        "encoding a vector / product": 1e6
        * (figures["encoding"]["encoded_s"] - figures["encoding"]["uploaded_s"])
        / figures["encoding"]["vectors"]
        / yard["product_us"],
        "query in process / brute force": 1000 * figures["in_process"]["p50_ms"] / yard["brute_force_us"],
        "query over HTTP / brute force": 1000 * figures["http"]["p50_ms"] / yard["brute_force_us"],
        "bytes of RAM a vector / bytes of code": figures["memory"]["rss_bytes_per_vector"]
        / figures["memory"]["code_bytes"],
    }


def worsened(last: dict[str, float], now: dict[str, float]) -> list[str]:
    """A sentence for each ratio that grew by more than a fifth; one that was not recorded cannot have."""
    return [
        f"{name}: {now[name]:.2f}, {now[name] / last[name] - 1:.0%} above the last recorded {last[name]:.2f}."
        for name in now
        if name in last and now[name] > WORSE_BY * last[name]
    ]


def _least_us(work: Any) -> float:
    seconds = []
    for _ in range(20):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return round(1e6 * min(seconds), 1)
