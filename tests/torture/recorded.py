"""The process whose changes to files are recorded: it lives lives, and opens what was left, as it is told.

A line of JSON on standard input is a task, and is answered by a line: {"life": seed, "steps": n, "folder": F,
"careless": null or a method of Storage that does nothing}, or {"open": true, "folder": F}. While it lives, it notes in
F/notes when a step begins ("begin 3") and when it is acknowledged ("done 3").
"""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import index_store.originals
import index_store.upkeep
import index_store.vector_index
from index_store import Store
from index_store.storage import Storage
from tests.torture import workload


def small_stripes(put: Callable[[Any, str, int], None] = setattr) -> None:
    """Stripes of originals so short that a small life fills and empties several."""
    for module in (index_store.originals, index_store.upkeep, index_store.vector_index):
        put(module, "STRIPE_ROWS", workload.STRIPE_ROWS)


def live(folder: Path, seed: int, count: int, careless: str | None) -> None:
    steps = workload.steps(seed, count)
    notes = os.open(folder / "notes", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    storage = Storage()
    if careless is not None:
        setattr(storage, careless, lambda path: None)
    store = Store.open(folder / "data", threads=1, storage=storage)
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
            live(folder, task["life"], task["steps"], task["careless"])
        else:
            Store.open(folder / "data", threads=1).close()
        print("ok", flush=True)


if __name__ == "__main__":
    main()
