"""`python -m benchmarks.codec [--lsq] DATA CHECKPOINT`: the codec beside Faiss' quantisers and plain PyTorch.

DATA is a folder with SIFT's base.npy, learn.npy and query.npy; CHECKPOINT a codec without lists, such as sift_s_8x8.pt.
Error and recall: what each codec of as many bytes makes of the first ROWS of base.npy, ranked exhaustively. Speed:
every form in turn on the same vectors, round by round; medians of CPU time on one thread, which other work on the
machine disturbs least, and beside it the largest matrix products of the same run, PyTorch's own. Faiss' own QINCo is of
the first paper: it and ours run a network of that kind and of equal sizes, untrained, since time is all it tells.
Writes benchmarks/results/codec.json and codec.png.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, cast

import faiss
import matplotlib

matplotlib.use("Agg")
import numpy as np
import torch
from matplotlib import pyplot
from numpy.typing import NDArray

from benchmarks.machine import machine
from model import NetworkCodec, beam_search, load_codec
from model.config import CodecConfig
from model.effort import kept_candidates
from model.kernels import folded
from model.kernels.threads import set_threads
from model.networks import QINCo2

RESULT = Path(__file__).parent / "results" / "codec.json"
ROWS, QUERIES, TRAINED_ON = 20_000, 1000, 20_000
SEARCHES = {(4, 4): 192, (8, 8): 96, (16, 32): 8}
"""(A, B) and how many vectors a round encodes."""

DECODED = (20, 128, 4096)
ROUNDS = 5

Float32 = NDArray[np.float32]
Form = Callable[[], Any]


@torch.inference_mode()
def main() -> None:
    arguments = [argument for argument in sys.argv[1:] if argument != "--lsq"]
    data, codec = Path(arguments[0]), load_codec(arguments[1])
    assert isinstance(codec, NetworkCodec)
    torch.set_num_threads(1)
    set_threads(1)
    faiss.omp_set_num_threads(1)
    base = np.load(data / "base.npy", mmap_mode="r")[:ROWS].astype(np.float32)
    figures: dict[str, Any] = {"machine": machine(), "checkpoint": Path(arguments[1]).name, "bytes": codec.steps}
    figures["matrix_gflops"] = matrix_limits()
    figures["decode_us"] = {f"batches of {n}": decoding(codec, n) for n in DECODED}
    figures["encode_us"] = {f"A={A} B={B}": encoding(codec, base[:n], A, B) for (A, B), n in SEARCHES.items()}
    figures["first_paper_us"] = first_paper(base[:16])
    figures["threads"] = threads(codec, base[:8192])
    draw(figures)
    RESULT.write_text(json.dumps(figures, indent=2) + "\n")  # what follows takes minutes
    queries = np.load(data / "query.npy")[:QUERIES].astype(np.float32)
    learn = np.load(data / "learn.npy", mmap_mode="r")[:TRAINED_ON].astype(np.float32)
    figures["quality"] = quality(codec, base, queries, learn, "--lsq" in sys.argv)
    RESULT.write_text(json.dumps(figures, indent=2) + "\n")
    print(RESULT.read_text())


def matrix_limits() -> dict[str, float]:
    """10⁹ operations a second of the largest products, best of shapes and of many repeats, on one thread."""
    best = {}
    for name, kind in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        rates = []
        for n, depth, columns in ((4096, 128, 256), (2048, 1024, 1024)):
            left, right = torch.randn(n, depth).to(kind), torch.randn(columns, depth).to(kind)
            seconds = min(cpu_seconds(lambda a=left, b=right: a @ b.T) for _ in range(30))  # type: ignore[misc]
            rates.append(2e-9 * n * depth * columns / seconds)
        best[name] = round(max(rates), 1)
    return best


def cpu_seconds(form: Form) -> float:
    began = time.thread_time()
    form()
    return time.thread_time() - began


def interleaved(forms: dict[str, Form], vectors: int) -> dict[str, float]:
    """Microseconds a vector: medians over rounds in which every form has its turn, after one that warms."""
    seconds: dict[str, list[float]] = {name: [] for name in forms}
    for round_ in range(ROUNDS + 1):
        for name, form in forms.items():
            taken = cpu_seconds(form)
            if round_:
                seconds[name].append(taken)
    return {name: round(1e6 * median(all_) / vectors, 2) for name, all_ in seconds.items()}


def decoding(codec: NetworkCodec, n: int) -> dict[str, Any]:
    """Every form's time on n random codes, as ratios of the plain form's too, and the share of the matrix limit."""
    network = codec.network
    codes = torch.randint(0, codec.codewords, (n, codec.steps))
    scripted: Any = torch.jit.trace(lambda rows: network.decode(rows), codes, check_trace=False)
    repeats = max(1, 2048 // n)

    def repeated(form: Form) -> Form:
        return lambda: [form() for _ in range(repeats)]

    forms = {
        "plain, eager": repeated(lambda: network.decode(codes)),
        "plain, TorchScript": repeated(lambda: scripted(codes)),
        "folded": repeated(lambda: folded.decode(network, codec.operators.folded, codes)),
        "ours": repeated(lambda: codec.decode(codes)),
    }
    taken = interleaved(forms, n * repeats)
    ours, config = taken["ours"], codec.config
    products = config.networks * (config.embedding * config.dim + 2 * config.blocks * config.embedding * config.hidden)
    return {
        **taken,
        "times faster than TorchScript": round(taken["plain, TorchScript"] / ours, 2),
        "GFLOP/s": round(2e-3 * products / ours, 1),
    }


def encoding(codec: NetworkCodec, x: Float32, candidates: int, beam: int) -> dict[str, Any]:
    """Every form's time, and the error of what it finds."""
    network = codec.network
    vectors = network.normalise(torch.from_numpy(x))
    scripted: Any = torch.jit.trace(
        lambda rows: authors_search(network, rows, candidates, beam), vectors, check_trace=False
    )
    forms = {
        "plain, TorchScript": lambda: scripted(vectors),
        "folded": lambda: [
            folded.encode(network, codec.operators.folded, codec.operators.tables, part, None, candidates, beam)
            for part in torch.split(vectors, 256)
        ],
        "ours": lambda: codec.encode(x, candidates, beam),
    }
    taken: dict[str, Any] = dict(interleaved(forms, len(x)))
    plain, ours = (
        np.square(codec.decode(codes) - x).sum(axis=1).mean()
        for codes in (scripted(vectors).numpy(), codec.encode(x, candidates, beam))
    )
    taken["times faster than TorchScript"] = round(taken["plain, TorchScript"] / taken["ours"], 2)
    taken["error, ours / plain"] = round(float(ours / plain), 5)
    return taken


def first_paper(x: Float32) -> dict[str, Any]:
    """QINCo of 2024 (L = 2, h = 256, greedy, all codewords tried) by Faiss and by us."""
    config = CodecConfig(128, 8, 256, blocks=2, embedding=128, hidden=256, candidates=0, beam=1, outer_skip=False)
    codec, theirs = NetworkCodec(QINCo2(config)), faiss.QINCo(128, 256, 2, 8, 256)
    rows = cast(Any, faiss).Tensor2D(x)
    ready = theirs.encode(rows)
    codes = np.zeros((len(x), 8), np.int64)
    encoded = interleaved({"Faiss": lambda: theirs.encode(rows), "ours": lambda: codec.encode(x)}, len(x))
    decoded = interleaved({"Faiss": lambda: theirs.decode(ready), "ours": lambda: codec.decode(codes)}, len(x))
    return {"encode": encoded, f"decode, batches of {len(x)}": decoded}


def authors_search(network: Any, x: torch.Tensor, candidates: int, beam: int) -> torch.Tensor:
    """The plain search with distances to all codewords from a matrix product, as the authors' inference form has them.

    `beam_search` compares by differences, K · D numbers a hypothesis, which nobody would run at this size.
    """
    decoded, codes = network.start(None, len(x))[:, None, :], x.new_zeros((len(x), 1, 0), dtype=torch.int64)
    for m, step in enumerate(network.steps):
        kept = kept_candidates(network.config, m, candidates, beam)
        sources = step.preselection if kept else step.codebook
        residuals = x[:, None, :] - decoded
        distances = sources.square().sum(dim=1) - 2 * residuals @ sources.T
        A = kept or len(sources)
        if kept:
            tried = distances.topk(A, largest=False).indices
            reconstructions = beam_search.extend(step, decoded.repeat_interleave(A, dim=1), tried.flatten(1))
            distances = (x[:, None, :] - reconstructions).square().sum(dim=-1)
        width = 1 if m == len(network.steps) - 1 else min(beam, decoded.shape[1] * A)
        best = distances.flatten(1).topk(width, largest=False).indices
        symbols = tried.flatten(1).gather(1, best) if kept else best
        added = reconstructions.gather(1, best[:, :, None].expand(-1, -1, x.shape[1])) if kept else None
        decoded = step.codebook[symbols] if added is None else added
        codes = torch.cat([codes.gather(1, (best // A)[:, :, None].expand(-1, -1, m)), symbols[:, :, None]], dim=2)
    return codes[:, 0]


def threads(codec: NetworkCodec, x: Float32) -> dict[str, float]:
    """How many times faster two threads are by the clock; medians of interleaved rounds."""
    codes = codec.encode(x[:64])
    codes = np.tile(codes, (len(x) // 64, 1))
    forms: dict[str, Form] = {"decode": lambda: codec.decode(codes), "encode": lambda: codec.encode(x[:1024])}
    seconds: dict[tuple[str, int], list[float]] = {}
    for _ in range(ROUNDS):
        for count in (1, 2):
            torch.set_num_threads(count)
            set_threads(count)
            for name, form in forms.items():
                began = time.perf_counter()
                form()
                seconds.setdefault((name, count), []).append(time.perf_counter() - began)
    torch.set_num_threads(1)
    set_threads(1)
    return {name: round(min(seconds[name, 1]) / min(seconds[name, 2]), 2) for name in forms}


def quality(codec: NetworkCodec, base: Float32, queries: Float32, learn: Float32, with_lsq: bool) -> dict[str, Any]:
    """Error, recall and CPU time a vector of every codec of as many bytes."""
    size, dim = codec.steps, codec.dim
    index = faiss.IndexFlatL2(dim)
    index.add(base)
    truth = index.search(queries, 1)[1][:, 0]
    found = {"QINCo2, A = B = 4": judged(codec.decode, lambda x: codec.encode(x, 4, 4), base, queries, truth)}
    names = {
        "Faiss PQ": f"PQ{size}x8",
        "Faiss OPQ": f"OPQ{size},PQ{size}x8",
        "Faiss RQ": f"RQ{size}x8",
        "Faiss RaBitQ, one bit a dimension": "RaBitQ",
    } | ({"Faiss LSQ": f"LSQ{size}x8"} if with_lsq else {})
    for name, factory in names.items():
        other = faiss.index_factory(dim, factory)
        other.train(learn)
        found[name] = judged(other.sa_decode, other.sa_encode, base, queries, truth)
        found[name]["bytes"] = int(other.sa_code_size())
    return found


def judged(
    decode: Callable[[Any], Float32], encode: Callable[[Float32], Any], base: Float32, queries: Float32, truth: Any
) -> dict[str, float]:
    """Mean squared error, R@1/10/100 of all decoded vectors ranked, CPU microseconds a vector on one thread."""
    began = time.thread_time()
    codes = encode(base)
    encoded = time.thread_time()
    decoded = decode(codes)
    ended = time.thread_time()
    index = faiss.IndexFlatL2(base.shape[1])
    index.add(np.ascontiguousarray(decoded))
    places = index.search(queries, 100)[1] == truth[:, None]
    return {
        "mse": round(float(np.square(decoded - base).sum(axis=1).mean()), 1),
        **{f"recall_at_{k}": round(float(places[:, :k].any(axis=1).mean()), 4) for k in (1, 10, 100)},
        "encode_us": round(1e6 * (encoded - began) / len(base), 2),
        "decode_us": round(1e6 * (ended - encoded) / len(base), 2),
    }


def draw(figures: dict[str, Any]) -> None:
    """Bars of time a vector, a group of forms for each batch and search."""
    groups = {f"decode, {name}": taken for name, taken in figures["decode_us"].items()}
    groups |= {f"encode, {name}": taken for name, taken in figures["encode_us"].items()}
    figure, axes = pyplot.subplots(figsize=(10, 4))
    for place, form in enumerate(("plain, TorchScript", "folded", "ours")):
        axes.bar(
            [at + 0.27 * place for at in range(len(groups))],
            [taken[form] for taken in groups.values()],
            0.25,
            label=form,
        )
    axes.set_yscale("log")
    axes.set_ylabel("CPU µs a vector, one thread")
    axes.set_xticks([at + 0.27 for at in range(len(groups))], list(groups), rotation=15, fontsize=8)
    axes.set_title(f"{figures['checkpoint']} on {figures['machine']['processor']}", fontsize=9)
    axes.legend()
    figure.tight_layout()
    figure.savefig(RESULT.with_suffix(".png"), dpi=110)


if __name__ == "__main__":
    main()
