"""`python -m benchmarks.training_size SIFT SEEN ROWS SIZE…`: error against the number of training vectors.

QINCo2's open question. Each training (XS, 8 bytes, no lists) has the first SIZE rows of SIFT/learn.npy and sees SEEN
vectors in all; the first ROWS of SIFT/base.npy are encoded, A = B = 4. Prints a line a size beside Faiss' residual
quantiser of the same rows, and writes benchmarks/results/training_size.json and .png.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from benchmarks.few_vectors import residual_quantiser_mse
from benchmarks.machine import machine
from benchmarks.trainings import trained
from model.evaluation import evaluate
from model.training import Recipe

RESULTS = Path(__file__).parent / "results"
STEPS = 8


def main() -> None:
    folder, seen, rows = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    learn, queries = np.load(folder / "learn.npy"), np.load(folder / "query.npy")
    base = np.load(folder / "base.npy")[:rows]
    points = []
    for size in map(int, sys.argv[4:]):
        codec, told, cpu_s = trained(learn[:size], seen, Recipe(steps=STEPS, preset="XS", lists=0))
        whole = evaluate(codec, base, queries).prefixes[-1]
        points.append({"vectors": size, "mse": round(whole.mse, 1), "recall_at_1": whole.recall[1],
                       "training_mse": round(told["steps"][-1]["training_mse"], 1),
                       "residual_quantiser_mse": round(residual_quantiser_mse(learn[:size], base, STEPS), 1),
                       "cpu_s": round(cpu_s)})  # fmt: skip
        print(points[-1], flush=True)
    figures = {"machine": machine(), "seen": seen, "base": rows, "points": points}
    (RESULTS / "training_size.json").write_text(json.dumps(figures, indent=2) + "\n")
    draw(points, RESULTS / "training_size.png")


def draw(points: list[dict[str, Any]], path: Path) -> None:
    figure = Figure(figsize=(6, 4), layout="constrained")
    ax = figure.subplots()
    sizes = [one["vectors"] for one in points]
    for name, label, style in (("mse", "ours, other vectors", "o-"), ("training_mse", "ours, vectors trained on", "o:"),
                               ("residual_quantiser_mse", "Faiss RQ, other vectors", "s--")):  # fmt: skip
        ax.semilogx(sizes, [one[name] for one in points], style, label=label)
    ax.set(title="Error against training vectors, 8 bytes", xlabel="vectors to train on", ylabel="squared error")
    ax.legend()
    figure.savefig(path, dpi=90)


if __name__ == "__main__":
    main()
