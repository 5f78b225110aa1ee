"""`python -m benchmarks.scan`: codes a second that the additive scan reads on one core, the best 200 kept.

Random codes, so no data is needed. Each form reads the same lists in turns; the least CPU time of several turns counts.
Writes benchmarks/results/scan.json.
"""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import machine
from service.cli.process import share_threads

RESULT = Path(__file__).parent / "results" / "scan.json"
CODES, LISTS, QUERIES, SHORTLIST, TURNS = 1_000_000, 4096, 8, 200, 5
PROBED = (LISTS, 256, 64)


def main() -> None:
    share_threads(1)
    figures: dict[str, Any] = {"machine": machine(), "codes": CODES, "lists": LISTS, "kept": SHORTLIST, "threads": 1}
    for size in (8, 16, 32):
        figures[f"{size} bytes, million codes a second"] = rates(size)
    RESULT.write_text(json.dumps(figures, indent=2) + "\n")
    print(RESULT.read_text())


def rates(steps: int) -> dict[str, dict[str, int]]:
    """For codes of so many bytes, how many millions each form reads in a second of CPU, by lists read."""
    from index_store.row_set import RowSet  # after threads are shared
    from index_store.scan import cpu, processor
    from index_store.segment import group_by_list

    random = np.random.default_rng(steps)
    lists, codes = random.integers(0, LISTS, CODES), random.integers(0, 256, (CODES, steps)).astype(np.uint8)
    norms = random.gamma(20, 1, CODES).astype(np.float32)
    segment = group_by_list("", "", (0, CODES), lists, codes, np.arange(CODES, dtype=np.uint32), norms, LISTS)
    tables = random.normal(size=(QUERIES, steps, 256)).astype(np.float32)
    tenth = RowSet().with_rows(np.arange(0, CODES, 10))
    forms = {
        "table entries": cpu.plain_pass,
        **({"bounds first": cpu.bounded_pass} if processor.has_byte_lookups() else {}),
    }
    cases = {
        f"{name}{', a tenth deleted' if skipped else ''}": (form, skipped)
        for name, form in forms.items()
        for skipped in (RowSet(), tenth)
    }
    found: dict[str, dict[str, int]] = {name: {} for name in cases}
    for probed in PROBED:
        read = np.stack([random.permutation(LISTS)[:probed] for _ in range(QUERIES)])
        bases = np.zeros(read.shape, np.float32)
        count = int((segment.offsets[read + 1] - segment.offsets[read]).sum())
        least = dict.fromkeys(cases, np.inf)
        for _ in range(TURNS):
            for name, (form, skipped) in cases.items():
                started = time.thread_time()
                cpu.scan_with(form, [segment], read, bases, tables, True, skipped, SHORTLIST)
                least[name] = min(least[name], time.thread_time() - started)
        for name, seconds in least.items():
            found[name][f"{probed} lists"] = round(count / seconds / 1e6)
    return found


if __name__ == "__main__":
    main()
