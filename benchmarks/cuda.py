"""`python -m benchmarks.cuda [CHECKPOINT]`: encoding, decoding and search on a CUDA card, beside what the card can do.

CHECKPOINT is a codec without lists; without one a network of preset S for 128 dimensions and 8 bytes is made,
untrained, since time is all that is told. Beside ours runs a plain evaluation of the same network in float16 by
TorchScript. Forms take turns; medians of the clock, measured on the device between events. The limits are the card's
own: the largest float16 matrix product and the largest copy of the same run. Each part is written to
benchmarks/results/cuda.json as soon as it is measured; a run that is started again goes on after the last one, on the
same card.
"""

import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from benchmarks.codec import authors_search
from model import NetworkCodec, load_codec, preset_config
from model.networks import QINCo2

RESULT = Path(__file__).parent / "results" / "cuda.json"
ROUNDS = 9
DECODED = (1280, 4096, 1 << 16)
SEARCHES = {(4, 4): 8192, (8, 8): 4096, (16, 32): 512}
"""(A, B) and how many vectors a round encodes."""

CODES, LISTS, QUERIES, KEPT = 10_000_000, 4096, 32, 200
Form = Callable[[], Any]


def main() -> None:
    if not torch.cuda.is_available():
        raise SystemExit("This measures a CUDA card, and PyTorch finds none: run it where there is one.")
    codec = load_codec(sys.argv[1], "cuda") if len(sys.argv) > 1 else untrained("cuda")
    if not isinstance(codec, NetworkCodec) or codec.ivf_lists:
        raise SystemExit("This measures a codec of one network without lists: give the checkpoint of such a one.")
    name = Path(sys.argv[1]).name if len(sys.argv) > 1 else "preset S, D = 128, 8 bytes, untrained"
    card = {"card": torch.cuda.get_device_name(), "torch": str(torch.__version__), "codec": name}
    figures = resumed(card)
    limits = part(figures, "limits", card_limits)
    for n in DECODED:
        part(figures, f"decode, batches of {n}", partial(decoding, codec, n, limits["matrix TFLOP/s"]))
    for (A, B), n in SEARCHES.items():
        part(figures, f"encode, A={A} B={B}, batches of {n}", partial(encoding, codec, n, A, B))
    for probed in (LISTS, 64):
        name = f"scan of {codec.steps} bytes, {probed} of {LISTS} lists"
        part(figures, name, partial(scanning, codec.steps, probed, limits["copy GB/s"]))
    print(RESULT.read_text())


def resumed(card: dict[str, str]) -> dict[str, Any]:
    """What was measured before of the same codec on the same card."""
    before: dict[str, Any] = json.loads(RESULT.read_text()) if RESULT.is_file() else {}
    return before if all(before.get(key) == value for key, value in card.items()) else dict(card)


def part(figures: dict[str, Any], name: str, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """A part of the figures, measured unless it is there; written at once."""
    if name not in figures:
        with torch.inference_mode():
            figures[name] = measure()
        RESULT.write_text(json.dumps(figures, indent=2) + "\n")
        print(name, figures[name], flush=True)
    known: dict[str, Any] = figures[name]
    return known


def untrained(device: str) -> NetworkCodec:
    """A codec whose parameters were drawn at random."""
    torch.manual_seed(1)
    network = QINCo2(preset_config("S", 128, 8))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(std=0.05)
    return NetworkCodec(network, device=device)


def card_limits() -> dict[str, Any]:
    """The best rate of a large float16 product, and of a large copy, read and written bytes counted."""
    rates = []
    for size in (4096, 8192):
        left, right = torch.randn(2, size, size, device="cuda", dtype=torch.float16)
        rates.append(2e-12 * size**3 / (1e-3 * min(interleaved({"": partial(torch.matmul, left, right)})[""])))
    source = torch.empty(1 << 30, dtype=torch.uint8, device="cuda")
    copy = min(interleaved({"": lambda: source.clone()})[""])
    return {"matrix TFLOP/s": round(max(rates), 1), "copy GB/s": round(2e-6 * len(source) / copy, 1)}


def interleaved(forms: dict[str, Form]) -> dict[str, list[float]]:
    """Milliseconds of each form in every round, after three in which they are compiled and warmed."""
    taken: dict[str, list[float]] = {name: [] for name in forms}
    for round_ in range(ROUNDS + 3):
        for name, form in forms.items():
            began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            began.record()
            form()
            ended.record()
            ended.synchronize()
            if round_ >= 3:
                taken[name].append(began.elapsed_time(ended))
    return taken


def compared(taken: dict[str, list[float]], vectors: int) -> dict[str, Any]:
    """Vectors a second of each form by its median, and how many times faster ours is than float16 TorchScript."""
    rates = {f"{name}, vectors/s": round(1e3 * vectors / median(all_)) for name, all_ in taken.items()}
    return {**rates, "times faster": round(median(taken["float16 TorchScript"]) / median(taken["ours"]), 2)}


def decoding(codec: NetworkCodec, n: int, matrix_tflops: float) -> dict[str, Any]:
    codes = torch.randint(0, codec.codewords, (n, codec.steps), device=codec.device)
    plain = half_of(codec.network)
    scripted: Any = torch.jit.trace(lambda rows: plain.decode(rows), codes, check_trace=False)
    # The kernel alone: `codec.decode` looks at codes that it is given on the device, and so waits for it.
    fused = codec.operators.fused
    ours = (lambda: fused.decode(codes, codec.steps)) if fused is not None else (lambda: codec.decode(codes))
    taken = interleaved({"float16 TorchScript": lambda: scripted(codes), "ours": ours})
    rate = 2e-9 * multiplications(codec) * n / median(taken["ours"])
    return {**compared(taken, n), "TFLOP/s": round(rate, 1), "share of the matrix rate": round(rate / matrix_tflops, 3)}


def multiplications(codec: NetworkCodec) -> int:
    """Multiply-adds that decoding one vector takes once what depends on the codeword alone is in tables."""
    config = codec.config
    projection = 2 * config.embedding * config.dim if config.has_projection else config.embedding * config.dim
    return config.networks * (projection + 2 * config.blocks * config.embedding * config.hidden)


def encoding(codec: NetworkCodec, n: int, candidates: int, beam: int) -> dict[str, Any]:
    x = torch.randn(n, codec.dim, device=codec.device)
    plain = half_of(codec.network)
    parts = [share.half() for share in torch.split(x, n // 4)]
    scripted: Any = torch.jit.trace(
        lambda rows: authors_search(plain, rows, candidates, beam), parts[0], check_trace=False
    )
    forms: dict[str, Form] = {
        "float16 TorchScript": lambda: [scripted(share) for share in parts],
        "ours": lambda: codec.encode(x, candidates, beam),
    }
    return compared(interleaved(forms), n)


def scanning(steps: int, probed: int, copy_gbs: float) -> dict[str, Any]:
    """Codes a second over random ones, what is read of each beside the bandwidth, and queries a second."""
    from index_store.row_set import RowSet
    from index_store.scan import torch_form, triton_form
    from index_store.segment import group_by_list

    random = np.random.default_rng(steps)
    codes = random.integers(0, 256, (CODES, steps), np.uint8)
    rows, norms = np.arange(CODES, dtype=np.uint32), random.gamma(20, 1, CODES).astype(np.float32)
    segment = group_by_list("", "", (0, CODES), random.integers(0, LISTS, CODES), codes, rows, norms, LISTS)
    lists = np.stack([random.permutation(LISTS)[:probed] for _ in range(QUERIES)])
    bases = np.zeros(lists.shape, np.float32)
    tables = torch.randn(QUERIES, steps, 256, device="cuda")
    read = int((segment.offsets[lists + 1] - segment.offsets[lists]).sum())
    skipped = RowSet()
    forms = {
        "PyTorch": lambda: torch_form.scan([segment], lists, bases, tables, True, skipped, KEPT),
        "ours": lambda: triton_form.scan([segment], lists, bases, tables, True, skipped, KEPT),
    }
    taken = interleaved(forms if probed < LISTS else {"ours": forms["ours"]})
    ours = median(taken["ours"])
    return {
        **{f"{name}, million codes/s": round(1e-3 * read / median(all_)) for name, all_ in taken.items()},
        "queries/s": round(1e3 * QUERIES / ours),
        "share of the copy rate": round(1e-6 * read * (steps + 2) / ours / copy_gbs, 3),
    }


def half_of(network: QINCo2) -> QINCo2:
    """A copy in float16, as its plain form evaluates it."""
    copy = QINCo2(network.config).to(network.mean.device).half().requires_grad_(False)
    copy.load_state_dict(network.state_dict())
    return copy


if __name__ == "__main__":
    main()
