"""`python -m benchmarks.pruning DATA CHECKPOINT [ROWS]`: what it costs to evaluate only promising candidates.

DATA is a folder with base.npy; CHECKPOINT a codec for it. For several searches (A, B), and C candidates of each A · B
that go through a step's network: error beside that of all, and CPU time on one thread, every C in turn on the same
vectors. `model.effort.worth_evaluating` chooses C by it. Writes benchmarks/results/pruning_CHECKPOINT.json.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.codec import cpu_seconds
from benchmarks.machine import machine
from model import load_codec
from model.effort import worth_evaluating
from model.kernels.threads import set_threads

RESULTS = Path(__file__).parent / "results"
SEARCHES = ((4, 4), (8, 8), (16, 32))
SHARES = (1, 2, 3, 4, 6)
"""C / B."""


def main() -> None:
    torch.set_num_threads(1)
    set_threads(1)
    codec, rows = load_codec(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 2000
    base = np.load(Path(sys.argv[1]) / "base.npy", mmap_mode="r")
    x = np.ascontiguousarray(base[:: max(1, len(base) // rows)][:rows], dtype=np.float32)
    figures: dict[str, Any] = {"machine": machine(), "checkpoint": Path(sys.argv[2]).name, "searches": {}}
    for A, B in SEARCHES:
        own = x[: max(256, 16 * len(x) // (A * B))]
        counts = sorted({min(share * B, A * B) for share in SHARES} | {worth_evaluating(A, B), A * B}, reverse=True)
        found = {C: measured(codec, own, A, B, C) for C in counts}
        for C, one in found.items():
            one["error, of all"] = round(one["mse"] / found[A * B]["mse"], 5)
            print(f"A={A} B={B} C={C}{' chosen' if worth_evaluating(A, B) == C else ''}:", one, flush=True)
        figures["searches"][f"A={A} B={B}"] = {"vectors": len(own), "chosen": worth_evaluating(A, B), "by C": found}
    path = RESULTS / f"pruning_{Path(sys.argv[2]).stem}.json"
    path.write_text(json.dumps(figures, indent=2) + "\n")


def measured(codec: Any, x: NDArray[np.float32], A: int, B: int, C: int) -> dict[str, float]:
    """Mean squared error and CPU microseconds a vector."""
    codes: list[Any] = []
    seconds = min(cpu_seconds(lambda: codes.append(codec.encode(x, A, B, C))) for _ in range(2))
    mse = float(np.square(codec.decode(codes[0]) - x).sum(axis=1).mean())
    return {"mse": round(mse, 6), "encode_us": round(1e6 * seconds / len(x), 1)}


if __name__ == "__main__":
    main()
