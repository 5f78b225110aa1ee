"""`python -m benchmarks.preselection SIFT`: what pre-selecting by a network buys and costs (QINCo2, section 3.2).

SIFT is a folder with learn.npy and base.npy. For each depth L_s of the network that pre-selects (0: a codebook), codecs
are trained from several seeds on the same rows with the same epochs; each then encodes the same vectors with one beam
and more and more candidates. Writes benchmarks/results/preselection.json and .png.
"""

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.machine import machine
from model import Codec, load_codec
from model.kernels.threads import set_threads, threads
from model.training import Recipe, train

RESULTS = Path(__file__).parent / "results"
DEPTHS, SEEDS = (0, 1, 2, 4), (0, 1)
CANDIDATES = (1, 2, 4, 8, 16)
BEAM = 4
TRAINED_ON, ENCODED = 8_000, 2_000
TIMINGS = 3

Float32 = NDArray[np.float32]


def main() -> None:
    torch.set_num_threads(1)
    set_threads(1)
    folder = Path(sys.argv[1])
    learn = np.load(folder / "learn.npy", mmap_mode="r")[:TRAINED_ON]
    vectors = np.load(folder / "base.npy", mmap_mode="r")[:ENCODED].astype(np.float32)
    codecs = {(depth, seed): trained(learn, depth, seed) for seed in SEEDS for depth in DEPTHS}
    figures = {
        "machine": machine(),
        "threads": threads(),
        "data": f"SIFT, {TRAINED_ON} vectors to train on (2048 of them held out), {ENCODED} others encoded",
        "recipe": {name: getattr(recipe(0, 0), name) for name in ("preset", "steps", "codewords", "epochs", "batch")},
        "trained_with": {"candidates": recipe(0, 0).candidates, "beam": BEAM},
        "seeds": list(SEEDS),
        "depths": {str(depth): curve([codecs[depth, seed] for seed in SEEDS], vectors) for depth in DEPTHS},
    }
    (RESULTS / "preselection.json").write_text(json.dumps(figures, indent=2) + "\n")
    draw(figures, RESULTS / "preselection.png")
    print(json.dumps(figures["depths"], indent=2))


def recipe(depth: int, seed: int) -> Recipe:
    """Small enough for a core: 4 steps of 32 codewords, networks of preset XS."""
    return Recipe(
        steps=4,
        codewords=32,
        preset="XS",
        lists=0,
        candidates=4,
        beam=BEAM,
        preselection_blocks=depth,
        epochs=6,
        seed=seed,
    )


def trained(learn: NDArray[np.generic], depth: int, seed: int) -> Codec:
    """A codec of one depth, trained and read back."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "codec.safetensors"
        began = time.perf_counter()
        quality = train(np.asarray(learn), recipe(depth, seed), out, report=lambda stage: None)["quality"]
        print(
            f"L_s = {depth}, seed {seed}: MSE {quality['mse']:.0f} held out, {time.perf_counter() - began:.0f} s",
            flush=True,
        )
        return load_codec(out)


def curve(codecs: list[Codec], vectors: Float32) -> list[dict[str, Any]]:
    """Error and microseconds a vector for more and more candidates, mean and range over the seeds."""
    points = []
    for candidates in CANDIDATES:
        errors = [mse(codec, vectors, candidates) for codec in codecs]
        micros = [encoding_us(codec, vectors, candidates) for codec in codecs]
        points.append(
            {
                "candidates": candidates,
                "mse": round(float(np.mean(errors)), 1),
                "mse_of_seeds": [round(one, 1) for one in errors],
                "encode_us": round(float(np.median(micros)), 1),
            }
        )
    return points


def mse(codec: Codec, vectors: Float32, candidates: int) -> float:
    """Mean squared error a vector, in the vectors' own units."""
    decoded = codec.decode(codec.encode(vectors, candidates, BEAM))
    return float(np.square(decoded - vectors).sum(axis=1).mean())


def encoding_us(codec: Codec, vectors: Float32, candidates: int) -> float:
    """Microseconds a vector: the least of several times, since other work can only add to it."""
    seconds = []
    for _ in range(TIMINGS):
        began = time.process_time()
        codec.encode(vectors, candidates, BEAM)
        seconds.append(time.process_time() - began)
    return 1e6 * min(seconds) / len(vectors)


def draw(figures: dict[str, Any], path: Path) -> None:
    """Error against encoding time, one curve a depth."""
    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    for depth, points in figures["depths"].items():
        micros, errors = [one["encode_us"] for one in points], [one["mse"] for one in points]
        axes.plot(micros, errors, marker="o", label=f"L_s = {depth}")
        for one in points:
            axes.annotate(
                f"A={one['candidates']}",
                (one["encode_us"], one["mse"]),
                fontsize=6,
                xytext=(3, 3),
                textcoords="offset points",
            )
    axes.set(
        xscale="log", xlabel=f"CPU time to encode a vector, µs (one core, B = {BEAM})", ylabel="mean squared error"
    )
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=150)
    plt.close(figure)


if __name__ == "__main__":
    main()
