"""How good a trained codec is on the vectors set apart: every prefix, and the cheap decoders."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.any_codec import Codec
from model.evaluation import Effort, Evaluation, evaluate, prefix_lengths

Float32 = NDArray[np.float32]

QUERIES = 1000
COMPARED_ROWS = 8192
"""Vectors trained on whose error is told beside that of vectors set apart."""


def queries_and_base(held_out: Float32) -> tuple[Float32, Float32]:
    """A tenth of the vectors set apart to search for, at most a thousand, and the others to search among."""
    queries = min(QUERIES, max(1, len(held_out) // 10))
    return held_out[:queries], held_out[queries:]


def measure(codec: Codec, held_out: Float32, unit: bool) -> Evaluation:
    """Error and recall of every prefix; recall by exhaustive search over decoded vectors, by cosine if `unit`."""
    queries, base = queries_and_base(held_out)
    return evaluate(codec, base, queries, effort=Effort(every_prefix=True, unit=unit))


def summary(codec: Codec, held_out: Float32, evaluation: Evaluation) -> dict[str, Any]:
    """The whole code's quality in a few numbers: `mse` of the three decoders, recall of the network's."""
    whole, base = evaluation.prefixes[-1], queries_and_base(held_out)[1]
    codes = codec.encode(base)
    return {
        "mse": whole.mse,
        "mse_pairwise": _mse(codec.decode_pairwise(codes), base),
        "mse_additive": _mse(codec.decode_additive(codes), base),
        "recall_at_1": whole.recall[1],
        "recall_at_10": whole.recall[10],
        "vectors": evaluation.vectors,
        "queries": evaluation.queries,
    }


def prefix_errors(codec: Codec, x: Float32, codes: NDArray[np.integer]) -> list[float]:
    """Squared error a vector of each prefix, of at most COMPARED_ROWS vectors x [n, dim] that it was trained on."""
    x, codes = x[:COMPARED_ROWS], codes[:COMPARED_ROWS]
    return [_mse(codec.decode(codes, steps), x) for steps in prefix_lengths(codec)]


def step_figures(
    evaluation: Evaluation, training_mse: list[float], codes: NDArray[np.integer], codewords: int, slices: int = 1
) -> list[dict[str, Any]]:
    """A line for each step: error on vectors trained on and set apart, recall, and how its codewords are used.

    training_mse [M / slices] · codes [n, M], without lists, side by side for the slices that go step by step together
    bits  the mean entropy of the symbols of a step, at most log2 K
    """
    lines = []
    of_slices = codes.reshape(len(codes), slices, -1)
    for m, (quality, error) in enumerate(zip(evaluation.prefixes, training_mse, strict=True)):
        counts = np.stack([np.bincount(own, minlength=codewords) for own in of_slices[:, :, m].T])  # [slices, K]
        shares = np.maximum(counts / len(codes), np.finfo(float).tiny)
        lines.append(
            {
                "steps": quality.steps,
                "mse": quality.mse,
                "training_mse": error,
                "recall_at_1": quality.recall[1],
                "recall_at_10": quality.recall[10],
                "unused_codewords": int((counts == 0).sum()),
                "bits": round(float(-(shares * np.log2(shares)).sum(axis=1).mean()), 3),
            }
        )
    return lines


def _mse(decoded: Float32, x: Float32) -> float:
    return float(np.square(decoded - x).sum(axis=1).mean())
