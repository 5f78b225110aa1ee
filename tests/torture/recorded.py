"""The process whose changes to files are recorded: it lives lives, and opens what was left, as it is told.

A line of JSON on standard input is a task, and is answered by a line: {"life": seed, "steps": n, "folder": F} or
{"open": F}. While it lives, it notes in F/notes when a step begins ("begin 3") and when it is acknowledged ("done 3").
"""

import json
import os
import sys
from pathlib import Path

import index_store.originals
import index_store.upkeep
import index_store.vector_index
from index_store import Store
from tests.torture import workload


def small_stripes() -> None:
    """Stripes of originals so short that a small life fills and empties several."""
    for module in (index_store.originals, index_store.upkeep, index_store.vector_index):
        module.STRIPE_ROWS = workload.STRIPE_ROWS  # type: ignore[attr-defined]


def live(folder: Path, seed: int, count: int) -> None:
    steps = workload.steps(seed, count)
    notes = os.open(folder / "notes", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    store = Store.open(folder / "data", threads=1)
    for place, step in enumerate(steps):
        os.write(notes, f"begin {place}\n".encode())
        step.act(store)
        os.write(notes, f"done {place}\n".encode())
    store.close()
    os.close(notes)


def main() -> None:
    small_stripes()
    print("ready", flush=True)
    for line in sys.stdin:
        task = json.loads(line)
        folder = Path(task["folder"])
        if "life" in task:
            live(folder, task["life"], task["steps"])
        else:
            Store.open(folder / "data", threads=1).close()
        print("ok", flush=True)


if __name__ == "__main__":
    main()
