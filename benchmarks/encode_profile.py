"""`python -m benchmarks.encode_profile CHECKPOINT DATA`: where a vector's time goes while it is encoded.

CHECKPOINT is a codec without lists, DATA a folder with base.npy. The kernels' parts are run alone, on a block of
vectors as large as encoding takes, for a step in the middle; least CPU time of many runs on one thread, a vector and
all its steps. Beside it what a vector's matrix products would take at the rate of the largest (`torch.mm`) of the same
run. Writes benchmarks/results/encode_profile.json and .png.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from benchmarks.codec import Form, cpu_seconds, matrix_limits
from benchmarks.machine import machine
from model import NetworkCodec, load_codec
from model.effort import worth_evaluating
from model.kernels.candidate_networks import evaluate, room_for_layers
from model.kernels.encoding import MOST_CANDIDATES
from model.kernels.instructions import ROWS
from model.kernels.offers import keep_promising, offer, room_for_guessing, room_for_offers
from model.kernels.threads import set_threads

RESULT = Path(__file__).parent / "results" / "encode_profile.json"
SEARCHES = ((4, 4), (8, 8), (16, 32))
RUNS = 40


@torch.inference_mode()
def main() -> None:
    torch.set_num_threads(1)
    set_threads(1)
    codec = load_codec(sys.argv[1])
    assert isinstance(codec, NetworkCodec)
    base = np.load(Path(sys.argv[2]) / "base.npy", mmap_mode="r")[:2048].astype(np.float32)
    figures: dict[str, Any] = {"machine": machine(), "checkpoint": Path(sys.argv[1]).name}
    figures["matrix_gflops"] = matrix_limits()["fp32"]
    figures["us_a_vector"] = {f"A={A} B={B}": parts(codec, base, A, B, figures["matrix_gflops"]) for A, B in SEARCHES}
    draw(figures)
    RESULT.write_text(json.dumps(figures, indent=2) + "\n")
    print(RESULT.read_text())


def parts(codec: NetworkCodec, base: Any, A: int, B: int, gflops: float) -> dict[str, float]:
    """Microseconds a vector of each part, and of encoding as a whole."""
    network, search, config = codec.prepared.packed, codec.prepared.search, codec.config
    assert network is not None and search is not None
    C, m = worth_evaluating(A, B), codec.steps // 2
    vectors = max(1, MOST_CANDIDATES // C)
    hypotheses = vectors * B
    room = -(-hypotheses // ROWS) * ROWS
    decoded = np.zeros((room, network.base.shape[2]), np.float32)
    decoded[:hypotheses, : codec.dim] = np.resize(
        codec.network.normalise(torch.from_numpy(base)), (hypotheses, codec.dim)
    )
    residuals = 0.5 * decoded
    offers, guessing = room_for_offers(vectors * B * A), room_for_guessing(room, residuals, search)
    layers, chosen = room_for_layers(room, vectors * C, network), np.zeros(C, np.int64)
    s = m - (len(network.base) - len(network.tables))

    def offered() -> None:
        offer(offers, guessing, residuals, hypotheses, A, m, search)

    def kept() -> None:
        keep_promising(offers, chosen, vectors, B * A, C)

    def evaluated() -> None:  # the same candidates, whichever they are
        evaluate(offers, layers, residuals, decoded, hypotheses, vectors * C, s, network, search)

    forms: dict[str, Form] = {"pre-selection": offered, "joint selection": kept, "networks": evaluated}
    found = {name: least(form) for name, form in forms.items()}
    taken = {name: round(1e6 * config.networks * seconds / vectors, 1) for name, seconds in found.items()}
    x = base[: max(64, vectors)]
    taken["the whole"] = round(1e6 * least(lambda: codec.encode(x, A, B), 5) / len(x), 1)
    taken["its products at the limit"] = round(2e-3 * products(codec, B, C) / gflops, 1)
    return taken


def products(codec: NetworkCodec, B: int, C: int) -> int:
    """Multiply-adds of a vector's matrix products."""
    config = codec.config
    D, E, H, L = config.dim, config.embedding, config.hidden, config.blocks
    hypothesis = config.codewords * D + D * (E + H) + (2 * D * E if config.has_projection else 0)
    candidate = (2 * L - 1) * E * H + (E * E if config.has_projection else 0)
    return config.networks * (B * hypothesis + C * candidate)


def least(form: Form, runs: int = RUNS) -> float:
    form()
    return min(cpu_seconds(form) for _ in range(runs))


def draw(figures: dict[str, Any]) -> None:
    """A bar for each search, its parts as shares of the whole."""
    figure = Figure(figsize=(7, 3), layout="constrained")
    ax = figure.subplots()
    searches = figures["us_a_vector"]
    left = np.zeros(len(searches))
    for part in ("pre-selection", "joint selection", "networks"):
        shares = np.array([100 * taken[part] / taken["the whole"] for taken in searches.values()])
        ax.barh(list(searches), shares, left=left, label=part)
        left += shares
    ax.set(xlabel="% of encoding a vector, one thread", title=figures["machine"]["processor"], xlim=(0, 105))
    ax.legend(fontsize=8)
    figure.savefig(RESULT.with_suffix(".png"), dpi=110)


if __name__ == "__main__":
    main()
