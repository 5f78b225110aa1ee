"""`python -m benchmarks.effort CODEC SIFT ROWS NAME`: error against encoding time over A and B.

Figure 4 of QINCo2. Encodes the first ROWS of SIFT/base.npy, and writes benchmarks/results/effort_NAME.json and .png.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from benchmarks.machine import machine
from model import load_codec
from model.evaluation import Effort, evaluate

RESULTS = Path(__file__).parent / "results"
EFFORTS = ((1, 1), (2, 2), (4, 2), (4, 4), (8, 4), (4, 8), (8, 8), (16, 8), (8, 16), (16, 16), (16, 32))


def main() -> None:
    codec, rows, name = load_codec(Path(sys.argv[1])), int(sys.argv[3]), sys.argv[4]
    base = np.load(Path(sys.argv[2]) / "base.npy")[:rows]
    queries = np.load(Path(sys.argv[2]) / "query.npy")
    points = []
    for candidates, beam in EFFORTS:
        found = evaluate(codec, base, queries, effort=Effort(candidates, beam))
        whole = found.prefixes[-1]
        points.append({"A": candidates, "B": beam, "mse": whole.mse, "recall_at_1": whole.recall[1],
                       "encode_us": round(found.encode_us, 1)})  # fmt: skip
        print(points[-1], flush=True)
    figures = {"machine": machine(), "vectors": rows, "points": points}
    (RESULTS / f"effort_{name}.json").write_text(json.dumps(figures, indent=2) + "\n")
    draw(points, RESULTS / f"effort_{name}.png")


def draw(points: list[dict[str, Any]], path: Path) -> None:
    figure = Figure(figsize=(6, 4), layout="constrained")
    ax = figure.subplots()
    ax.semilogx([one["encode_us"] for one in points], [one["mse"] for one in points], "o", color="#2f6f9f")
    for one in points:
        ax.annotate(f" {one['A']},{one['B']}", (one["encode_us"], one["mse"]), fontsize=8)
    ax.set(title="Error against encoding time (A,B)", xlabel="µs a vector", ylabel="squared error a vector")
    ax.set_xticks([200, 500, 1000, 2000, 5000], labels=["200", "500", "1000", "2000", "5000"])
    ax.xaxis.set_minor_formatter(NullFormatter())
    figure.savefig(path, dpi=90)


if __name__ == "__main__":
    main()
