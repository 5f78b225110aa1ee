"""Limits the memory of this very process: for one that only reads what strangers made, and may end over it."""

import resource
import sys
from pathlib import Path

# Address space that is reserved and never touched, as the arenas of malloc, is not what the limit is about.
RESERVED_BYTES = 256 << 20


def limit_memory(more_bytes: int) -> None:
    """Allow so many bytes beyond what is in use now, after the imports; systems other than Linux have no such limit."""
    if sys.platform != "linux":
        return
    now = dict.fromkeys(("VmSize", "VmData"), 0)
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name in now:
            now[name] = int(value.split()[0]) << 10
    data, space = now["VmData"] + more_bytes, now["VmSize"] + more_bytes + RESERVED_BYTES
    resource.setrlimit(resource.RLIMIT_DATA, (data, data))
    resource.setrlimit(resource.RLIMIT_AS, (space, space))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
