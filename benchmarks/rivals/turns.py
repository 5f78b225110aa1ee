"""One system in a process of its own: it loads the vectors, says so, and measures whenever a line on stdin tells it to.

It imports NumPy and the standard library alone: it runs in the environment of each rival.
"""

import json
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

LIMIT = 10
Ask = Callable[[int], list[int]]
"""The ids nearest to a query, by its number, nearest first."""


class System(Protocol):
    """A system, started and empty; `pids` are processes of it that are no children of this one."""

    pids: list[int]

    def load(self, base: NDArray[np.float32]) -> None:
        """Take vectors [n, dim], whose ids are their places, and build what queries need."""

    def client(self, queries: NDArray[np.float32]) -> Ask:
        """A connection for one thread."""

    def settings(self) -> dict[Any, Callable[[], None]]:
        """Name → how to choose it, for each way of searching that is measured."""

    def close(self) -> None:
        """End what was started."""


def take_turns(made: Callable[[Path], System]) -> None:
    """`python -m benchmarks.rivals.on_… BASE.npy QUERIES.npy TRUTH.npy FOLDER`, until stdin ends."""
    queries, truth = np.load(sys.argv[2]), np.load(sys.argv[3])
    system = made(Path(sys.argv[4]))
    try:
        empty, started = resident(system.pids), time.perf_counter()
        system.load(np.load(sys.argv[1]))  # not held here: it would count as the system's memory
        told: dict[str, Any] = {"load_s": round(time.perf_counter() - started, 1)}
        told["recall_at_1"] = {}
        for name, choose in system.settings().items():
            choose()
            ask = system.client(queries)
            nearest = [(ask(number) or [-1])[0] for number in range(min(len(queries), 1000))]
            told["recall_at_1"][name] = round(float(np.mean(np.array(nearest) == truth[: len(nearest)])), 4)
        told["added_mb"] = round((resident(system.pids) - empty) / 1e6)
        print(json.dumps(told), flush=True)
        for line in sys.stdin:
            setting, clients, seconds = json.loads(line)
            system.settings()[setting]()
            print(json.dumps(under_load(system, queries, clients, seconds)), flush=True)
    finally:
        system.close()


def under_load(system: System, queries: NDArray[np.float32], clients: int, seconds: float) -> dict[str, float]:
    """Queries/s, p50 and p99 of so many clients, each of which asks again as soon as it has its answer."""
    latencies: list[list[float]] = [[] for _ in range(clients)]
    asks = [system.client(queries) for _ in range(clients)]
    begin = time.perf_counter() + 0.1

    def run(number: int) -> None:
        time.sleep(max(0.0, begin - time.perf_counter()))
        place = number
        while (started := time.perf_counter()) < begin + seconds:
            asks[number](place % len(queries))
            latencies[number].append(time.perf_counter() - started)
            place += clients

    threads = [threading.Thread(target=run, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    every = np.concatenate([np.array(one) for one in latencies])
    p50, p99 = np.percentile(every, [50, 99]) * 1e3
    per_second = len(every) / (time.perf_counter() - begin)
    return {"queries_per_s": round(per_second, 1), "p50_ms": round(float(p50), 2), "p99_ms": round(float(p99), 2)}


def resident(pids: list[int]) -> int:
    """Bytes of memory of this process, its descendants and `pids` with theirs; what they share is counted once."""
    processes = {int(path.name): _parent(path) for path in Path("/proc").iterdir() if path.name.isdigit()}
    wanted = {*pids, *([] if pids else [_own()])}
    while more := {pid for pid, parent in processes.items() if parent in wanted} - wanted:
        wanted |= more
    return sum(_proportional(pid) for pid in wanted)


def _own() -> int:
    return int(Path("/proc/self").resolve().name)


def _parent(path: Path) -> int:
    try:
        return int((path / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:  # gone meanwhile
        return 0


def _proportional(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
