"""From a trained network to a codec with shortlist decoders, and all that its checkpoint tells of its training."""

import platform
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from model.codec import NetworkCodec
from model.kernels.threads import threads as kernel_threads
from model.networks import QINCo2
from model.training.baselines import baselines
from model.training.data import TrainingData
from model.training.loop import Trainer
from model.training.progress import Progress
from model.training.quality import measure, prefix_errors, step_figures, summary
from model.training.recipe import Recipe

PROBE_ROWS = 256
LEAST_MEASURED_ROWS = 1000
SHARE_TO_MEASURE = 0.3
"""Of the time left at the end, to encode what the codec is measured on."""

FIT_ROWS = 300_000
LEAST_FIT_ROWS = 20_000
SHARE_TO_ENCODE = 0.7
"""Of the time left at the end, to encode what the shortlist decoders are fitted to; the fit itself takes the rest."""

CURVE_POINTS = 300


def finish(
    network: QINCo2, trainer: Trainer, data: TrainingData, recipe: Recipe, began: float, report: Callable[[str], None]
) -> tuple[NetworkCodec, dict[str, Any]]:
    """The codec of a trained network, and what to tell of it; weights are rounded to what checkpoints keep."""
    machine = machine_name(network.mean.device)
    network.cpu()
    _round_to_float16(network)
    report("Measuring the codec on vectors set apart")
    bare = NetworkCodec(network)
    left_s = None if recipe.time_budget_s is None else recipe.time_budget_s - (time.monotonic() - began)
    held_out = data.held_out[: _rows_to_measure(bare, data.held_out, left_s)]
    evaluation = measure(bare, held_out, recipe.normalise)
    report("Fitting the shortlist decoders")
    rows = _rows_to_fit(evaluation.encode_us, recipe.time_budget_s, time.monotonic() - began)
    codes = bare.encode(data.sample[:rows])
    codec = bare.with_shortlist_decoders(data.sample[:rows], codes)
    symbols = codes[:, 1:] if network.config.ivf_lists else codes
    training: dict[str, Any] = {
        "recipe": asdict(recipe),
        "data": data.told() | {"lists": network.config.ivf_lists},
        "quality": summary(codec, held_out, evaluation),
        "machine": machine,
        "encode_us": round(evaluation.encode_us, 1),
        "decode_us": round(evaluation.decode_us, 2),
        "steps": step_figures(evaluation, prefix_errors(codec, data.sample[:rows], codes), symbols, recipe.codewords),
        "start_mse": trainer.start_mse,
        "kept_at": round(trainer.kept_at, 4),
        "ended_early": trainer.has_ended_early,
        "history": _thinned(trainer.history),
    }
    return codec, training


def baselines_beside(
    data: TrainingData, recipe: Recipe, quality: dict[str, Any], report: Callable[[str], None]
) -> list[dict[str, Any]]:
    """Faiss' quantisers at as many symbols, trained on the same vectors and measured on those the codec was."""
    held_out = data.held_out[: quality["queries"] + quality["vectors"]]
    return baselines(data.sample, held_out, recipe.steps, recipe.codewords, report, recipe.normalise)


def machine_name(device: torch.device) -> str:
    """What computed: the GPU's name, or the processor's and the threads it was given."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    processor = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
    threads = kernel_threads()
    return f"{processor or platform.processor() or 'a CPU'}, {threads} thread{'s' if threads > 1 else ''}"


def _rows_to_measure(codec: NetworkCodec, held_out: NDArray[np.float32], left_s: float | None) -> int:
    """Vectors set apart that are measured on: fewer where a time budget leaves no time to encode all, twice."""
    if left_s is None:
        return len(held_out)
    codec.encode(held_out[:PROBE_ROWS])  # warms up
    began = time.monotonic()
    codec.encode(held_out[:PROBE_ROWS])
    a_row_s = (time.monotonic() - began) / min(PROBE_ROWS, len(held_out))
    return min(len(held_out), max(LEAST_MEASURED_ROWS, int(SHARE_TO_MEASURE * left_s / (2 * a_row_s))))


def _rows_to_fit(encode_us: float, budget_s: float | None, spent_s: float) -> int:
    """Vectors that the shortlist decoders are fitted to: fewer where a time budget leaves no time to encode more."""
    if budget_s is None:
        return FIT_ROWS
    affordable = int(SHARE_TO_ENCODE * (budget_s - spent_s) * 1e6 / encode_us)
    return min(FIT_ROWS, max(LEAST_FIT_ROWS, affordable))


def _round_to_float16(network: QINCo2) -> None:
    """Checkpoints keep float16; what follows is fitted to the network as it will be read back."""
    for name, tensor in network.state_dict().items():
        if name not in ("mean", "std"):
            tensor.copy_(tensor.half().float())


def _thinned(history: list[Progress]) -> list[dict[str, Any]]:
    """Some points of the training's course, evenly chosen, the last among them."""
    every = max(1, len(history) // CURVE_POINTS)
    kept = ("epoch", "elapsed_s", "loss", "training_mse", "validation_mse")
    return [{name: getattr(one, name) for name in kept} for one in history[::-1][::every][::-1]]
