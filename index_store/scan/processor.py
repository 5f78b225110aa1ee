"""What this processor's scan can do."""

import platform
from functools import cache


@cache
def has_byte_lookups() -> bool:
    """Whether it looks up 64 bytes at a time, in tables of 256: see `byte_lookups.py`."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return False
    import llvmlite.binding  # here, since a service without codes does without it

    features = llvmlite.binding.get_host_cpu_features()
    return all(features.get(name, False) for name in ("avx512f", "avx512bw", "avx512vbmi"))
