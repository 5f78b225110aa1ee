"""What the processor that Numba compiles for can do."""

import llvmlite.binding as llvm
from numba.core import config


def _features() -> set[str]:
    """Features as LLVM names them; NUMBA_CPU_FEATURES, which Numba compiles for where it is set, goes first."""
    chosen: str | None = getattr(config, "CPU_FEATURES", None)
    if chosen is not None:
        return {name[1:] for name in chosen.split(",") if name.startswith("+")}
    return {name for name, present in llvm.get_host_cpu_features().items() if present}


HAS_AVX512 = "avx512f" in _features()
HAS_BFLOAT16 = HAS_AVX512 and "avx512bf16" in _features()
"""Whether the processor multiplies bfloat16 by itself. Where it does not, float32 is faster than any emulation."""
