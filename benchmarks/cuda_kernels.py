"""`python -m benchmarks.cuda_kernels [CAPABILITY...]`: what the compiler makes of each kernel, for cards not at hand.

The codec and the scan call their kernels as ever, on the CPU; instead of being run each is compiled by Triton and by
ptxas, which come with it, for cards of these compute capabilities (80 and 90 unless told: A100, H100). What comes out
says what the interpreter cannot: that a kernel compiles, the registers a thread takes, the bytes it spills, the memory
that its program shares (a multiprocessor has 163 KiB at 80, 227 at 90; where a program takes more, fewer weights are
held on their way). Writes benchmarks/results/cuda_kernels.json.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

os.environ["TRITON_INTERPRET"] = "0"
import numpy as np
import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime.jit import JITFunction

from benchmarks.machine import machine
from index_store.row_set import RowSet
from index_store.scan import triton_form
from index_store.segment import group_by_list
from model.config import CodecConfig, preset_config
from model.kernels import folding, fused_decoding, fused_encoding, fused_packed
from model.networks import QINCo2

RESULT = Path(__file__).parent / "results" / "cuda_kernels.json"
TYPES = {
    torch.float32: "*fp32",
    torch.float16: "*fp16",
    torch.int64: "*i64",
    torch.int32: "*i32",
    torch.int16: "*i16",
    torch.uint8: "*u8",
}
ROWS = 1 << 15
Launch = tuple[JITFunction[Any], dict[str, Any]]


def main() -> None:
    capabilities = [int(one) for one in sys.argv[1:]] or [80, 90]
    figures: dict[str, Any] = {"machine": machine(), "triton": triton.__version__}
    RESULT.write_text(json.dumps(figures, indent=2) + "\n")
    for capability in capabilities:
        known = figures[f"sm_{capability}"] = {}
        for name, launches in calls().items():
            for kernel, arguments in launches:
                known[f"{kernel.__name__}, {name}"] = compiled(kernel, arguments, capability)
                RESULT.write_text(json.dumps(figures, indent=2) + "\n")
                print(capability, name, kernel.__name__, known[f"{kernel.__name__}, {name}"], flush=True)


@torch.no_grad()
def calls() -> dict[str, list[Launch]]:
    """What is launched for presets S at 128 dimensions and XS at 384 with lists, and for a scan of 8 bytes."""
    found: dict[str, list[Launch]] = {}
    sizes = {"S, D = 128": preset_config("S", 128, 2), "XS, D = 384, IVF": preset_config("XS", 384, 1, ivf_lists=4)}
    for name, config in sizes.items():
        with recorded() as launches:
            codec_calls(config)
        found[name] = launches
    with recorded() as launches:
        scan_call()
    found["8 bytes, 200 kept"] = launches
    return found


def codec_calls(config: CodecConfig) -> None:
    network = QINCo2(config)
    packed = fused_packed.fuse(network, [folding.fold(step) for step in network.steps])
    assert packed is not None
    lists = torch.zeros(ROWS, dtype=torch.int64) if config.ivf_lists else None
    width = config.steps + (lists is not None)
    fused_decoding.decode(packed, torch.zeros((ROWS, width), dtype=torch.int64), config.steps)
    fused_encoding.encode(packed, network, torch.zeros(ROWS, config.dim), lists, 8, 8)


def scan_call() -> None:
    codes = np.zeros((1000, 8), np.uint8)
    rows, none = np.arange(1000, dtype=np.uint32), np.zeros(1000, np.int64)
    segment = group_by_list("", "", (0, 1000), none, codes, rows, np.arange(1000, dtype=np.float32), 1)
    lists, bases = np.zeros((32, 1), np.int64), np.zeros((32, 1), np.float32)
    triton_form.scan([segment], lists, bases, torch.zeros(32, 8, 256), True, RowSet().with_rows(rows[:9]), 200)


@contextmanager
def recorded() -> Iterator[list[Launch]]:
    """The launches made inside, none of them run, each kernel of a kind once."""
    seen: dict[Any, Launch] = {}

    def record(kernel: Any, *arguments: Any, grid: Any, warmup: bool, **named: Any) -> None:
        bound = dict(zip(kernel.arg_names, arguments, strict=False)) | named
        constant = tuple((key, value) for key, value in bound.items() if not isinstance(value, torch.Tensor))
        variant = tuple(one for one in constant if one[0].isupper() or one[0].startswith("num_"))
        seen.setdefault((kernel.__name__, variant), (kernel, bound))

    launches: list[Launch] = []
    with patch.object(JITFunction, "run", record):
        yield launches
    launches.extend(seen.values())


def compiled(kernel: Any, arguments: dict[str, Any], capability: int) -> dict[str, int]:
    """What ptxas says of a kernel."""
    options = {key: arguments[key] for key in ("num_warps", "num_stages") if key in arguments}
    constants = {name for name, one in zip(kernel.arg_names, kernel.params, strict=True) if one.is_constexpr}
    signature = {name: "constexpr" if name in constants else kind(arguments[name]) for name in kernel.arg_names}
    values = {(kernel.arg_names.index(name),): arguments[name] for name in constants}
    aligned = {(place,): [["tt.divisibility", 16]] for place, one in enumerate(signature.values()) if one[0] == "*"}
    source = ASTSource(fn=kernel, signature=signature, constexprs=values, attrs=aligned)
    made = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(made.asm["cubin"])
        file.flush()
        tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
        told = subprocess.run(
            [tool, "--dump-resource-usage", file.name], capture_output=True, text=True, check=True
        ).stdout
    usage = dict(word.split(":")[:2] for word in told.split() if word.startswith(("REG:", "STACK:")))
    return {
        "registers": int(usage["REG"]),
        "spilled bytes": int(usage["STACK"]),
        "shared bytes": made.metadata.shared,
        "warps": options.get("num_warps", 4),
        "tensor core instructions": made.asm["ptx"].count("mma.sync") + made.asm["ptx"].count("wgmma.mma_async"),
    }


def kind(value: Any) -> str:
    """A value's type as Triton's signatures name it."""
    if isinstance(value, torch.Tensor):
        return TYPES[value.dtype]
    return "fp32" if isinstance(value, float) else "i32"


if __name__ == "__main__":
    main()
