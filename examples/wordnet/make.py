"""Cut the bundled example out of the full WordNet data set: `python examples/wordnet/make.py FULL [OUT]`.

FULL holds base.npy and query.npy (int8 [n, 384]), terms.txt and query_terms.txt (a line a row) and LICENSE.txt.
The example is the first 20 000 base rows and the first 1 000 queries, with the exact neighbours within that subset.
"""

import argparse
import shutil
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

VECTORS = 20_000
QUERIES = 1_000
NEIGHBOURS = 100
BLOCK = 100

Float32 = NDArray[np.float32]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("full", type=Path, help="folder of the full data set")
    parser.add_argument("out", type=Path, nargs="?", default=Path(__file__).parent, help="where the example goes")
    folders = parser.parse_args()
    cut(folders.full, folders.out)


def cut(full: Path, out: Path) -> None:
    """Write the example's files into `out`."""
    base = np.load(full / "base.npy", mmap_mode="r")[:VECTORS]
    queries = np.load(full / "query.npy", mmap_mode="r")[:QUERIES]
    out.mkdir(parents=True, exist_ok=True)
    np.save(out / "base.npy", base)
    np.save(out / "query.npy", queries)
    neighbours, smallest_gap = nearest_by_cosine(normalised(base), normalised(queries))
    np.save(out / "groundtruth.npy", neighbours)
    first_lines(full / "terms.txt", out / "terms.txt", VECTORS)
    first_lines(full / "query_terms.txt", out / "query_terms.txt", QUERIES)
    shutil.copyfile(full / "LICENSE.txt", out / "LICENSE.txt")
    print(f"Wrote {len(base)} vectors and {len(queries)} queries. The closest two scores differ by {smallest_gap:.1e}.")


def normalised(rows: NDArray[np.int8]) -> Float32:
    """The rows as unit vectors in float32, as a service holds them under the Cosine distance."""
    vectors = rows.astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def nearest_by_cosine(base: Float32, queries: Float32) -> tuple[NDArray[np.int32], float]:
    """The nearest base rows of each query, ties to the lower id, and the smallest gap between two scores in a row.

    Scores are summed in float64, so that a gap well above 1e-15 means that no order was left to rounding.
    """
    neighbours = np.empty((len(queries), NEIGHBOURS), np.int32)
    smallest_gap = np.inf
    base64 = base.astype(np.float64)
    for start in range(0, len(queries), BLOCK):
        scores = queries[start : start + BLOCK].astype(np.float64) @ base64.T  # [q, n]
        order = np.argsort(-scores, axis=1, kind="stable")[:, : NEIGHBOURS + 1]
        ranked = np.take_along_axis(scores, order, axis=1)
        smallest_gap = min(smallest_gap, float((ranked[:, :-1] - ranked[:, 1:]).min()))
        neighbours[start : start + BLOCK] = order[:, :NEIGHBOURS]
    return neighbours, smallest_gap


def first_lines(source: Path, target: Path, count: int) -> None:
    with source.open(encoding="utf-8", newline="\n") as lines:
        target.write_text("".join(islice(lines, count)), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
