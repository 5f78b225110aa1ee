"""What quantisers that people know reach with as many bytes, trained on the same vectors: Faiss PQ, OPQ, RQ and LSQ."""

import math
import time
from collections.abc import Callable
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from model.training.quality import queries_and_base

Float32 = NDArray[np.float32]
Quantiser = Callable[[Float32, Float32], Float32]
"""From vectors to train on and vectors to encode to the latter, encoded and decoded."""

ROWS = {"PQ": 100_000, "OPQ": 50_000, "RQ": 50_000, "LSQ": 20_000}
"""Vectors that each is trained on at most: so many take minutes, and more hardly help 256 codewords a step."""

RQ_BEAM = 5


def baselines(
    sample: Float32,
    held_out: Float32,
    steps: int,
    codewords: int,
    report: Callable[[str], None],
    unit: bool = False,
) -> list[dict[str, Any]]:
    """Error and recall of each at `steps` symbols of `codewords`, a dictionary each; `skipped` says why one is missing.

    sample [n, dim] to train on · held_out [h, dim] as for the codec's own quality · unit: recall is by cosine
    """
    queries, base = queries_and_base(held_out)
    truth = faiss.knn(queries, base, 1)[1]
    found: list[dict[str, Any]] = []
    for name, rows in ROWS.items():
        if reason := _reason_to_skip(name, sample.shape[1], steps, codewords):
            found.append({"name": name, "skipped": reason})
            continue
        report(f"Training Faiss {name} of {steps} symbols beside it")
        began = time.monotonic()
        decoded = _QUANTISERS[name](sample[:rows], base, steps, round(math.log2(codewords)))
        figures = {"name": name, "trained_on": min(rows, len(sample)), "seconds": round(time.monotonic() - began, 1)}
        found.append(figures | _quality(decoded, base, queries, truth, unit))
    return found


def _reason_to_skip(name: str, dim: int, steps: int, codewords: int) -> str | None:
    if codewords != 1 << round(math.log2(codewords)):
        return f"{codewords} codewords are no power of two"
    if name == "PQ" and dim % steps:
        return f"{dim} dimensions do not divide into {steps} parts"
    if name == "OPQ" and dim < steps:
        return f"{dim} dimensions are fewer than {steps} parts"
    return None


def _quality(
    decoded: Float32, base: Float32, queries: Float32, truth: NDArray[np.int64], unit: bool
) -> dict[str, float]:
    searched = decoded / np.linalg.norm(decoded, axis=1, keepdims=True) if unit else decoded
    is_found = faiss.knn(queries, searched, min(10, len(base)))[1] == truth
    return {
        "mse": float(np.square(decoded - base).sum(axis=1).mean()),
        "recall_at_1": float(is_found[:, 0].mean()),
        "recall_at_10": float(is_found.any(axis=1).mean()),
    }


def _pq(sample: Float32, base: Float32, steps: int, bits: int) -> Float32:
    quantiser = _product_quantiser(sample.shape[1], steps, bits)
    quantiser.train(sample)
    return _decoded(quantiser, base)


def _opq(sample: Float32, base: Float32, steps: int, bits: int) -> Float32:
    """PQ after a rotation that is learned with it, into as many dimensions as divide into the parts."""
    rotation = faiss.OPQMatrix(sample.shape[1], steps, sample.shape[1] // steps * steps)
    rotation.pq = _product_quantiser(rotation.d_out, steps, bits)
    rotation.train(sample)
    turned = _pq(rotation.apply(sample), rotation.apply(base), steps, bits)
    return np.asarray(rotation.reverse_transform(turned), dtype=np.float32)


def _rq(sample: Float32, base: Float32, steps: int, bits: int) -> Float32:
    quantiser = faiss.ResidualQuantizer(sample.shape[1], steps, bits)
    quantiser.max_beam_size = RQ_BEAM
    quantiser.cp.min_points_per_centroid = 1  # else every k-means of few vectors warns
    quantiser.train(sample)
    return _decoded(quantiser, base)


def _lsq(sample: Float32, base: Float32, steps: int, bits: int) -> Float32:
    quantiser = faiss.LocalSearchQuantizer(sample.shape[1], steps, bits)
    quantiser.train(sample)
    return _decoded(quantiser, base)


def _product_quantiser(dim: int, steps: int, bits: int) -> Any:
    quantiser = faiss.ProductQuantizer(dim, steps, bits)
    quantiser.cp.min_points_per_centroid = 1
    return quantiser


def _decoded(quantiser: Any, base: Float32) -> Float32:
    return np.asarray(quantiser.decode(quantiser.compute_codes(base)), dtype=np.float32)


_QUANTISERS = {"PQ": _pq, "OPQ": _opq, "RQ": _rq, "LSQ": _lsq}
