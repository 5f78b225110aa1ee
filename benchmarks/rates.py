"""`python -m benchmarks.rates SIFT SEEN ROWS`: prefixes of a 16-byte codec against codecs of their own length.

QINCo's multi-rate claim. Four trainings (XS, no lists, on SIFT/learn.npy, SEEN vectors each) of 4, 8, 12 and 16 bytes;
the first ROWS of SIFT/base.npy are encoded, A = B = 4. Prints a line a length, and writes benchmarks/results/rates.json
and .png.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from benchmarks.machine import machine
from benchmarks.trainings import trained
from model.evaluation import Effort, evaluate
from model.training import Recipe

RESULTS = Path(__file__).parent / "results"
LENGTHS = (4, 8, 12)
LONGEST = 16


def main() -> None:
    folder, seen, rows = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    learn, queries = np.load(folder / "learn.npy"), np.load(folder / "query.npy")
    base = np.load(folder / "base.npy")[:rows]

    def quality(length: int) -> list[dict[str, float]]:
        codec = trained(learn, seen, Recipe(steps=length, preset="XS", lists=0))[0]
        found = evaluate(codec, base, queries, effort=Effort(every_prefix=True)).prefixes
        return [{"bytes": one.steps, "mse": round(one.mse, 1), "recall_at_1": one.recall[1]} for one in found]

    prefixes = quality(LONGEST)
    lines = []
    for length in LENGTHS:
        lines.append({"prefix": prefixes[length - 1], "own": quality(length)[-1]})
        print(lines[-1], flush=True)
    print(prefixes[-1])
    figures = {"machine": machine(), "seen": seen, "base": rows, "prefixes": prefixes, "lines": lines}
    (RESULTS / "rates.json").write_text(json.dumps(figures, indent=2) + "\n")
    draw(prefixes, [line["own"] for line in lines], RESULTS / "rates.png")


def draw(prefixes: list[dict[str, Any]], own: list[dict[str, Any]], path: Path) -> None:
    figure = Figure(figsize=(6, 4), layout="constrained")
    ax = figure.subplots()
    ax.semilogy(
        [one["bytes"] for one in prefixes], [one["mse"] for one in prefixes], "o-", label="prefixes of 16 bytes"
    )
    ax.semilogy([one["bytes"] for one in own], [one["mse"] for one in own], "s", label="trained for their length")
    ax.set(title="One codec for every length?", xlabel="bytes", ylabel="squared error a vector")
    ax.legend()
    figure.savefig(path, dpi=90)


if __name__ == "__main__":
    main()
