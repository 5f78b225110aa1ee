"""`python -m benchmarks.sentences WORDNET A,B CODEC…`: neighbours found among decoded sentence embeddings.

The first 20 000 rows of WORDNET/base.npy, which no codec here was trained on, and all its queries, by cosine. Each
CODEC encodes them with A and B; Faiss' residual quantiser of as many bytes is trained on 50 000 of the other rows with
beam 5, and encodes with beam 32. Prints squared error, R@1 and 10-recall@10 of an exhaustive search over decoded
vectors, by squared distance to them and by their direction, as a collection's Cosine compares them. A codec's lists are
not counted in its bytes, as they are not in a collection's.
"""

import sys
from pathlib import Path

import faiss
import numpy as np
from numpy.typing import NDArray

from model import load_codec

ROWS, TRAINED_ON, LIMIT = 20_000, 50_000, 10
TRAINING_BEAM, BEAM = 5, 32

Float32 = NDArray[np.float32]


def main() -> None:
    folder, (A, B) = Path(sys.argv[1]), map(int, sys.argv[2].split(","))
    base, queries = unit(np.load(folder / "base.npy")), unit(np.load(folder / "query.npy"))
    others, base = base[ROWS:], base[:ROWS]
    truth = faiss.knn(queries, base, LIMIT)[1]
    codecs = [(Path(name), load_codec(Path(name))) for name in sys.argv[3:]]
    for path, codec in codecs:
        told(f"{path.name}, A, B = {A}, {B}", codec.decode(codec.encode(base, A, B)), base, queries, truth)
    for steps in sorted({codec.steps for _, codec in codecs}):
        quantiser = residual_quantiser(others, steps)
        told(f"RQ {steps}", decoded(quantiser, base), base, queries, truth)


def told(name: str, found: Float32, base: Float32, queries: Float32, truth: NDArray[np.int64]) -> None:
    mse = np.square(found - base).sum(axis=1).mean()
    directions = found / np.linalg.norm(found, axis=1, keepdims=True)
    recalls = " · ".join(recall(queries, one, truth) for one in (found, directions))
    print(f"{name}: MSE {mse:.4f}, R@1 and 10-recall@10 by distance and by direction {recalls}", flush=True)


def recall(queries: Float32, found: Float32, truth: NDArray[np.int64]) -> str:
    nearest = faiss.knn(queries, found, LIMIT)[1]
    shared = np.mean([len(np.intersect1d(a, b)) for a, b in zip(nearest, truth, strict=True)]) / LIMIT
    return f"{(nearest[:, 0] == truth[:, 0]).mean():.1%} {shared:.1%}"


def residual_quantiser(rows: Float32, steps: int) -> faiss.ResidualQuantizer:
    quantiser = faiss.ResidualQuantizer(rows.shape[1], steps, 8)
    quantiser.max_beam_size = TRAINING_BEAM
    quantiser.train(rows[np.random.default_rng(0).choice(len(rows), TRAINED_ON, replace=False)])
    quantiser.max_beam_size = BEAM
    return quantiser


def decoded(quantiser: faiss.ResidualQuantizer, rows: Float32) -> Float32:
    return np.asarray(quantiser.decode(quantiser.compute_codes(rows)), dtype=np.float32)


def unit(rows: NDArray[np.int8]) -> Float32:
    x = rows.astype(np.float32)
    return np.asarray(x / np.linalg.norm(x, axis=1, keepdims=True), dtype=np.float32)


if __name__ == "__main__":
    main()
