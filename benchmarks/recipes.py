"""`python -m benchmarks.recipes SIFT VECTORS PRESET BYTES CHANGE…`: one recipe beside another after as many vectors.

Each CHANGE is `name=value,…` of model.training.Recipe, or `as-is`; every training sees VECTORS of SIFT/learn.npy (a
vector counts each time), so that the load of the machine changes nothing. Prints squared error on most of 4 096
vectors set apart, A = B = 4, and writes benchmarks/results/recipes_PRESET_BYTES.json.
"""

import json
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import machine
from model.training import Progress, Recipe, train

RESULTS = Path(__file__).parent / "results"
HELD_OUT = 4096


def main() -> None:
    learn = np.load(Path(sys.argv[1]) / "learn.npy")
    seen, preset, steps = int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
    epochs = seen / (len(learn) - HELD_OUT)
    plain = Recipe(steps=steps, preset=preset, lists=0, epochs=epochs, held_out=HELD_OUT)
    figures: dict[str, Any] = {"machine": machine(), "vectors_seen": seen}
    for change in sys.argv[5:]:
        figures[change] = measured(learn, changed(plain, change))
        print(change, figures[change], flush=True)
    (RESULTS / f"recipes_{preset}_{steps}.json").write_text(json.dumps(figures, indent=2) + "\n")


def changed(recipe: Recipe, change: str) -> Recipe:
    """The recipe with `name=value,…` in it; values are JSON, or words."""
    if change == "as-is":
        return recipe
    changes = dict(part.split("=") for part in change.split(","))
    return replace(recipe, **{name: _value(text) for name, text in changes.items()})


def measured(learn: NDArray[np.uint8], recipe: Recipe) -> dict[str, float]:
    """Squared error on vectors trained on and set apart, and seconds of processor time."""
    last: list[Progress] = []
    began = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        told = train(learn, recipe, Path(folder) / "codec.safetensors", lambda news: _keep_last(last, news))
    return {
        "training_mse": round(last[0].training_mse, 1),
        "mse": round(told["quality"]["mse"], 1),
        "recall_at_1": told["quality"]["recall_at_1"],
        "cpu_s": round(time.process_time() - began, 1),
    }


def _keep_last(last: list[Progress], news: str | Progress) -> None:
    if isinstance(news, Progress):
        last[:] = [news]


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


if __name__ == "__main__":
    main()
