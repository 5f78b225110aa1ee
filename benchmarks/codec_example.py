"""`python -m benchmarks.codec_example FULL/base.npy`: the example codec beside Faiss' residual quantiser.

Equal bytes a vector, though the codec's list number comes on top, which a code in its list stores for nothing.

Both are trained on the rows that the example does not hold (FULL is the folder of the whole data set), both encode the
example's 20 000 vectors, and for its queries all decoded vectors are ranked: by squared distance, as Faiss does, and by
direction, as a collection does whose vectors have one length. Writes benchmarks/results/codec_example.json.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import machine
from model import load_codec

EXAMPLE = Path(__file__).parents[1] / "examples" / "wordnet"
RESULT = Path(__file__).parent / "results" / "codec_example.json"
TRAINING_BEAM, ENCODING_BEAM = 5, 32

Float32 = NDArray[np.float32]


def main() -> None:
    vectors, queries = unit(np.load(EXAMPLE / "base.npy")), unit(np.load(EXAMPLE / "query.npy"))
    neighbours = np.load(EXAMPLE / "groundtruth.npy")
    training = unit(np.load(sys.argv[1])[len(vectors) :])
    codec = load_codec(EXAMPLE / "wordnet-16.safetensors")
    figures: dict[str, Any] = {"machine": machine(), "vectors": len(vectors), "trained_on": len(training)}
    for beam in (4, 8, 16):
        name = f"QINCo2 XS, {codec.steps} bytes and list, A = B = {beam}"
        figures[name] = measure(lambda x, b=beam: codec.decode(codec.encode(x, b, b)), vectors, queries, neighbours)  # type: ignore[misc]
    figures[f"Faiss RQ, {codec.steps} bytes, beam {ENCODING_BEAM}"] = measure(
        residual_quantiser(training, codec.steps), vectors, queries, neighbours
    )
    RESULT.write_text(json.dumps(figures, indent=2) + "\n")
    print(RESULT.read_text())


def unit(vectors: NDArray[Any]) -> Float32:
    """Rows at length 1."""
    rows = vectors.astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def residual_quantiser(training: Float32, steps: int) -> Callable[[Float32], Float32]:
    """Faiss' residual quantiser, trained: vectors → their reconstructions."""
    quantiser = faiss.ResidualQuantizer(training.shape[1], steps, 8)
    quantiser.max_beam_size = TRAINING_BEAM
    quantiser.train(training)
    quantiser.max_beam_size = ENCODING_BEAM
    return lambda x: quantiser.decode(quantiser.compute_codes(x))


def measure(
    through_codes: Callable[[Float32], Float32], vectors: Float32, queries: Float32, neighbours: NDArray[np.int32]
) -> dict[str, Any]:
    """Mean squared error, recall of all decoded vectors ranked, and seconds to encode and decode them."""
    began = time.perf_counter()
    decoded = through_codes(vectors)
    seconds = time.perf_counter() - began
    return {
        "mse": round(float(np.square(decoded - vectors).sum(axis=1).mean()), 4),
        "by distance": recalls(np.square(decoded).sum(axis=1) - 2 * queries @ decoded.T, neighbours),
        "by direction": recalls(-queries @ unit(decoded).T, neighbours),
        "seconds": round(seconds, 1),
    }


def recalls(distances: Float32, neighbours: NDArray[np.int32]) -> dict[str, float]:
    """recall@1 and 10-recall@10 of a ranking [q, n]."""
    found = np.argsort(distances, axis=1)[:, :10]
    shared = [
        len({*ids} & {*truth}) / 10 for ids, truth in zip(found.tolist(), neighbours[:, :10].tolist(), strict=True)
    ]
    return {
        "recall_at_1": round(float((found[:, 0] == neighbours[:, 0]).mean()), 4),
        "10_recall_at_10": round(float(np.mean(shared)), 4),
    }


if __name__ == "__main__":
    main()
