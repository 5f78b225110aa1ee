"""How much memory this process may still take."""

from pathlib import Path

UNKNOWN_BYTES = 8 << 30
NO_LIMIT = 1 << 62


def available_bytes() -> int:
    """What the machine has left, or a container's limit leaves; 8 GiB where neither tells (not Linux)."""
    return min(_machine(), _container())


def _machine() -> int:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return UNKNOWN_BYTES
    figures = dict(line.split(":") for line in lines)
    return int(figures["MemAvailable"].split()[0]) << 10


def _container() -> int:
    """The limit of the control group (version 2) less what is in use and cannot be dropped."""
    folder = Path("/sys/fs/cgroup")
    try:
        limit, used = (folder.joinpath(f"memory.{name}").read_text().strip() for name in ("max", "current"))
        figures = dict(line.split() for line in folder.joinpath("memory.stat").read_text().splitlines())
    except OSError:
        return NO_LIMIT
    return NO_LIMIT if limit == "max" else max(0, int(limit) - int(used) + int(figures.get("inactive_file", 0)))
