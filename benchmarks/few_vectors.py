"""`python -m benchmarks.few_vectors FILE.npy SKIP ROWS SEEN…`: what training gains where vectors are few.

What a collection of the model auto trains when it has ROWS vectors: XS, 16 bytes, lists. One training for each SEEN, a
number of vectors in all; 0 is the residual quantiser that trainings begin with. Vectors are rows SKIP to SKIP + ROWS of
the file, of length 1 where the file's are sentence embeddings (int8). Prints squared error on others, 5 000 rows that
come next, A = B = 4, beside Faiss' residual quantiser, and seconds of processor time, all included.
"""

import sys

import faiss
import numpy as np
from numpy.typing import NDArray

from benchmarks.trainings import trained
from model.training import Recipe

OTHERS = 5000
STEPS = 16
BEAM = 5


def main() -> None:
    stored, skip, rows = np.load(sys.argv[1], mmap_mode="r"), int(sys.argv[2]), int(sys.argv[3])
    vectors = as_searched(stored[skip : skip + rows])
    others = as_searched(stored[skip + rows : skip + rows + OTHERS])
    print(f"Faiss RQ {residual_quantiser_mse(vectors, others, STEPS):.5g}", flush=True)
    for seen in map(int, sys.argv[4:]):
        codec, told, cpu_s = trained(vectors, seen, Recipe(steps=STEPS, preset="XS", allow_constant=True))
        mse = np.square(codec.decode(codec.encode(others)) - others).sum(axis=1).mean()
        early = f", ended after {told['history'][-1]['epoch']:.1f} epochs" if told["ended_early"] else ""
        print(f"{seen} vectors: {mse:.5g}, {cpu_s:.0f} s{early}", flush=True)


def as_searched(rows: NDArray[np.generic]) -> NDArray[np.float32]:
    """Rows of either data set as they are searched: bytes are signed where they stand for directions."""
    x = rows.astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True) if rows.dtype == np.int8 else x


def residual_quantiser_mse(vectors: NDArray[np.generic], others: NDArray[np.generic], steps: int) -> float:
    """Squared error of a vector that Faiss' residual quantiser, trained on at most 50 000 vectors, leaves on others."""
    quantiser = faiss.ResidualQuantizer(vectors.shape[1], steps, 8)
    quantiser.max_beam_size = BEAM
    quantiser.cp.min_points_per_centroid = 1
    quantiser.train(np.ascontiguousarray(vectors[:50_000], dtype=np.float32))
    x = np.ascontiguousarray(others, dtype=np.float32)
    return float(np.square(quantiser.decode(quantiser.compute_codes(x)) - x).sum(axis=1).mean())


if __name__ == "__main__":
    main()
