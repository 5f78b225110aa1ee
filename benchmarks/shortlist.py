"""`python -m benchmarks.shortlist CODEC SIFT NAME BASE TRAINING…`: cheap decoders, and what is found by them.

Each decoder is fitted to encoded rows of SIFT/learn.npy, TRAINING of them (several sizes, smallest first), and ranks
the first BASE rows of SIFT/base.npy for all public queries. Compared are additive tables; the paper's pairwise decoder
with full tables, as it is and with cells that shrink; our own, the network for the first pair and additive tables for
all others; and shrinking tables fitted to what ours leaves. Then the same on plain codes of Faiss' residual quantiser
(the paper's open question). Writes benchmarks/results/shortlist_NAME.json and prints a table.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.machine import machine
from model import NetworkCodec, load_codec, preset_config
from model.networks import QINCo2
from model.shortlist.pair_fitting import fit_pairs

RESULTS = Path(__file__).parent / "results"
SHRINK = 8.0
EXTRA_TABLES = 2
RECALL_AT, SHORTLISTS = (10, 50, 100), (10, 20, 50)
RQ_BEAM = 5

Float32 = NDArray[np.float32]
Decoder = Callable[[Tensor], Tensor]
"""Codes → normalised vectors."""


def main() -> None:
    codec = load_codec(Path(sys.argv[1]))
    assert isinstance(codec, NetworkCodec)
    folder = Path(sys.argv[2])
    name, base_rows, sizes = sys.argv[3], int(sys.argv[4]), [int(size) for size in sys.argv[5:]]
    learn = np.load(folder / "learn.npy")[: sizes[-1]].astype(np.float32)
    base = np.load(folder / "base.npy")[:base_rows].astype(np.float32)
    queries = np.load(folder / "query.npy").astype(np.float32)
    figures: dict[str, Any] = {"machine": machine(), "base": len(base), "queries": len(queries)}
    figures["network"] = rows_for(codec, learn, base, queries, sizes)
    plain = residual_quantiser(learn[: sizes[0]], codec.steps)
    figures["residual quantiser"] = rows_for(plain, learn, base, queries, sizes[-1:])
    (RESULTS / f"shortlist_{name}.json").write_text(json.dumps(figures, indent=2) + "\n")
    print(table(figures))


def rows_for(
    codec: "NetworkCodec | Rq", learn: Float32, base: Float32, queries: Float32, sizes: list[int]
) -> list[dict[str, Any]]:
    """Figures of every decoder fitted to codes of this codec, at these training sizes."""
    network = codec.network
    x, y = (network.normalise(torch.from_numpy(rows)) for rows in (learn, base))
    codes, base_codes = (torch.from_numpy(np.asarray(codec.encode(rows), dtype=np.int64)) for rows in (learn, base))
    asked = network.normalise(torch.from_numpy(queries)).numpy()
    judge = Judge(asked, y.numpy(), network.normalise(torch.from_numpy(codec.decode(base_codes.numpy()))).numpy())
    unit = float(network.std) ** 2
    found = [judge.of("the codec itself", 0, 0, judge.exact, unit)]
    for n in sizes:
        for name, (size, decode) in decoders(codec, x[:n], codes[:n]).items():
            found.append(judge.of(name, n, size, decode(base_codes).numpy(), unit))
            print(found[-1], file=sys.stderr, flush=True)
    return found


def decoders(codec: "NetworkCodec | Rq", x: Tensor, codes: Tensor) -> dict[str, tuple[int, Decoder]]:
    """Each decoder's bytes of tables (float16), and itself."""
    network, none = codec.network, torch.zeros(0, 0, dtype=torch.int64)
    D, K, tables = network.config.dim, network.config.codewords, 2 * network.config.steps
    pair_bytes = 2 * K * K * D
    made: dict[str, tuple[int, Decoder]] = {}

    def add(name: str, size: int, fit: Callable[[], Decoder]) -> Decoder:
        with torch.no_grad():
            decode = fit()
        made[name] = size, decode
        return decode

    additive_bytes = 2 * network.config.steps * K * D
    if isinstance(codec, NetworkCodec):
        fitted = codec.with_shortlist_decoders(network.restore(x).numpy(), codes.int().numpy())
        add("additive", additive_bytes, lambda: lambda c: normalised(network, fitted.decode_additive(c)))
        own = add(
            "ours: first pair by the network",
            additive_bytes + 2 * K * K * network.config.embedding,
            lambda: lambda c: normalised(network, fitted.decode_pairwise(c)),
        )
    else:
        own = add("additive, the quantiser's own", additive_bytes, lambda: codec.decode_normalised)
    left = x - own(codes)
    for shrink in (0.0, SHRINK):
        kind = "as the paper" if not shrink else f"shrunk by {shrink:.0f}"
        add(
            f"{tables} full pairs, {kind}",
            tables * pair_bytes,
            lambda s=shrink: pairs_decoder(network, x, codes, none, tables, s),  # type: ignore[misc]
        )
    rest = pairs_decoder(network, left, codes, none, EXTRA_TABLES, SHRINK)
    base_bytes = next(reversed([size for name, (size, _) in made.items() if name.startswith(("ours", "additive"))]))
    add(
        f"the cheap one and {EXTRA_TABLES} shrunk pairs on what it leaves",
        base_bytes + EXTRA_TABLES * pair_bytes,
        lambda: lambda c: own(c) + rest(c),
    )
    return made


def pairs_decoder(network: QINCo2, x: Tensor, codes: Tensor, lists: Tensor, tables: int, shrink: float) -> Decoder:
    pairs = fit_pairs(network, x, codes, lists, tables, shrink)
    return lambda c: pairs.decode(network, c)


def normalised(network: QINCo2, x: Tensor) -> Tensor:
    return network.normalise(x)


class Judge:
    """What ranking by a decoder finds: queries [q, D], base [n, D], and what the codes decode to exactly [n, D]."""

    def __init__(self, queries: Float32, base: Float32, exact: Float32) -> None:
        self._queries, self._base, self.exact = queries, base, exact
        self._true = faiss.knn(queries, base, 1)[1]
        self._neural = faiss.knn(queries, exact, 1)[1]

    def of(self, name: str, trained_on: int, size: int, decoded: Float32, unit: float) -> dict[str, Any]:
        """Figures of a decoder; unit, from normalised squared error to the vectors' own."""
        ranked = faiss.knn(self._queries, np.ascontiguousarray(decoded), max(RECALL_AT))[1]
        error = float(np.square(decoded - self._base).sum(axis=1).mean()) * unit
        return {
            "decoder": name,
            "trained_on": trained_on,
            "bytes": size,
            "mse": round(error, 1),
            **{f"true_at_{r}": round(float((ranked[:, :r] == self._true).any(axis=1).mean()), 4) for r in RECALL_AT},
            **{
                f"neural_at_{r}": round(float((ranked[:, :r] == self._neural).any(axis=1).mean()), 4) for r in RECALL_AT
            },
            **{f"r1_after_{s}": round(self._after(ranked[:, :s]), 4) for s in SHORTLISTS},
        }

    def _after(self, shortlist: NDArray[np.int64]) -> float:
        """Recall@1 once the shortlist is re-ranked by what the codes decode to exactly."""
        distances = np.square(self.exact[shortlist] - self._queries[:, None]).sum(axis=2)
        best = np.take_along_axis(shortlist, distances.argmin(axis=1)[:, None], axis=1)
        return float((best == self._true).mean())


def _share(is_found: NDArray[np.bool_]) -> float:
    return round(float(is_found.any(axis=1).mean()), 4)


class Rq:
    """Faiss' residual quantiser behind a codec's face; its network holds sizes, mean and std alone."""

    def __init__(self, quantiser: Any, network: QINCo2) -> None:
        self._quantiser, self.network, self.steps = quantiser, network, quantiser.M

    def encode(self, x: Float32) -> NDArray[np.uint8]:
        codes: NDArray[np.uint8] = self._quantiser.compute_codes(x)
        return codes

    def decode(self, codes: NDArray[np.integer]) -> Float32:
        return np.asarray(self._quantiser.decode(codes.astype(np.uint8)), dtype=np.float32)

    def decode_normalised(self, codes: Tensor) -> Tensor:
        return self.network.normalise(torch.from_numpy(self.decode(codes.numpy())))


def residual_quantiser(x: Float32, steps: int) -> Rq:
    quantiser = faiss.ResidualQuantizer(x.shape[1], steps, 8)
    quantiser.max_beam_size = RQ_BEAM
    quantiser.train(x)
    network = QINCo2(preset_config("XS", x.shape[1], steps))
    network.mean, network.std = torch.from_numpy(x.mean(axis=0)), torch.tensor(float(x.std()))
    return Rq(quantiser, network)


KINDS = (("true_at", RECALL_AT), ("neural_at", RECALL_AT), ("r1_after", SHORTLISTS))


def table(figures: dict[str, Any]) -> str:
    """The figures as Markdown."""
    heads = ["codes", "decoder", "fitted to", "MB", "MSE", "true in 10 / 50 / 100", "neural in 10 / 50 / 100",
             "R@1 after 10 / 20 / 50"]  # fmt: skip
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for codes in ("network", "residual quantiser"):
        for one in figures[codes]:
            shares = [" / ".join(f"{100 * one[f'{what}_{rank}']:.1f}" for rank in ranks) for what, ranks in KINDS]
            sizes = [f"{one['trained_on']:,}", f"{one['bytes'] / 1e6:.1f}", f"{one['mse']:,.0f}"]
            lines.append("| " + " | ".join([codes, one["decoder"], *sizes, *shares]) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
