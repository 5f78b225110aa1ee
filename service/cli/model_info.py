"""`qinco-server model info`: what a codec's file holds, and what the codec costs."""

import json
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.cli.model_costs import codec_macs, parameters
from service.cli.model_file import CodecFile, open_codec
from service.cli.process import share_threads

if TYPE_CHECKING:
    from model import Codec, CodecConfig


def info(
    file: Annotated[Path, typer.Argument(help="Checkpoint: ours, or a .pt of QINCo's or QINCo2's authors.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Print what a codec's file holds: its kind, sizes, costs, and where it came from."""
    share_threads(os.cpu_count() or 1)
    facts = describe(open_codec(file))
    if as_json:
        print(json.dumps(facts))
        return
    lines = _lines(facts)
    width = 2 + max(len(name) for name, _ in lines)
    for name, value in lines:
        print(f"{name:{width}} {value}")


def describe(file: CodecFile) -> dict[str, Any]:
    """All that is known of a codec's file; sizes of network and preset are those of one slice of a PQ codec."""
    from model import ProductCodec

    codec = file.codec
    slices = codec.slices if isinstance(codec, ProductCodec) else (codec,)
    config = slices[0].config
    candidates, beam = codec.default_candidates, codec.default_beam
    total, decoding = parameters(codec)
    decode, encode = codec_macs(codec, candidates, beam)
    preset, is_preset = nearest_preset(config)
    return {
        "file": file.path.name,
        "kind": file.kind,
        "format": "safetensors" if file.is_ours else "pt",
        "sha256": codec.sha256,
        "dim": codec.dim,
        "bytes_per_vector": code_bytes(codec, codec.steps),
        "steps": codec.steps,
        "codewords": codec.codewords,
        "lists": codec.ivf_lists,
        "slices": len(slices),
        "rotation": isinstance(codec, ProductCodec) and codec.rotation is not None,
        "blocks": config.blocks,
        "embedding": config.embedding,
        "hidden": config.hidden,
        "preselection_blocks": config.preselection_blocks,
        "preset": preset,
        "is_preset": is_preset,
        "candidates": candidates,
        "beam": beam,
        "parameters": total,
        "parameters_to_decode": decoding,
        "decode_macs": decode,
        "encode_macs": encode,
        "additive": codec.has_additive,
        "pairwise": _pairwise(codec),
        "ram_bytes": codec.size_bytes,
        "file_bytes": file.path.stat().st_size,
        "licence": file.training.get("licence"),
        "training": file.training,
    }


def code_bytes(codec: "Codec", steps: int) -> int:
    """Bytes of so many symbols: the fewest whole ones each."""
    return steps * math.ceil((codec.codewords - 1).bit_length() / 8)


def size(count: int) -> str:
    """Bytes for people."""
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count / 1e3:.1f} kB"


def nearest_preset(config: "CodecConfig") -> tuple[str, bool]:
    """The preset whose L, D_e and D_h have the smallest ratios to the codec's, and whether it has the same."""
    from model import PRESETS

    def apart(preset: str) -> float:
        sizes = PRESETS[preset]
        return sum(abs(math.log((1 + getattr(config, name)) / (1 + size))) for name, size in sizes.items())

    nearest = min(PRESETS, key=apart)
    return nearest, apart(nearest) == 0


def _pairwise(codec: "Codec") -> str | None:
    """Where the pairwise decoder comes from, None where there is none."""
    from model import ProductCodec

    if not codec.has_pairwise:
        return None
    return "fitted" if not isinstance(codec, ProductCodec) and codec.fitted_pairs is not None else "network"


def _lines(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """The same for people."""
    slices = f", {facts['slices']} slices" if facts["slices"] > 1 else ""
    rotation = ", rotated (OPQ)" if facts["rotation"] else ""
    preset = facts["preset"] if facts["is_preset"] else f"none; {facts['preset']} is nearest"
    tried = facts["candidates"] or f"all {facts['codewords']}: trained without pre-selection"
    blocks = facts["preselection_blocks"]
    by_network = f", by a network of L_s={blocks}" if blocks else ""
    network = f"L={facts['blocks']}, D_e={facts['embedding']}, D_h={facts['hidden']}"
    pairwise = {None: "none", "network": "from the network", "fitted": "fitted tables"}[facts["pairwise"]]
    lines = [
        ("file", f"{facts['file']}, {facts['format']}, {size(facts['file_bytes'])}"),
        ("SHA-256", facts["sha256"]),
        ("kind", f"{facts['kind']}{slices}{rotation}"),
        ("dimension", str(facts["dim"])),
        ("bytes per vector", str(facts["bytes_per_vector"])),
        ("steps × codewords", f"{facts['steps']} × {facts['codewords']}"),
        ("lists", str(facts["lists"] or "none")),
        ("network", f"{network}{' a slice' if slices else ''}"),
        ("preset", preset),
        ("candidates A", f"{tried}{by_network}"),
        ("beam B", str(facts["beam"])),
        ("parameters", f"{facts['parameters']}, {facts['parameters_to_decode']} of them to decode"),
        ("multiply-adds a vector", f"decode {facts['decode_macs']}, encode {facts['encode_macs']}"),
        ("additive decoder", "fitted tables" if facts["additive"] else "none"),
        ("pairwise decoder", pairwise),
        ("size in RAM", size(facts["ram_bytes"])),
        ("licence", facts["licence"] or "the file does not tell"),
    ]
    curves = ("history", "steps", "baselines")  # the training's report shows them
    return lines + _flat("training", {key: value for key, value in facts["training"].items() if key not in curves})


def _flat(name: str, value: Any) -> list[tuple[str, str]]:
    if not isinstance(value, dict):
        return [(name, str(value))]
    if not value:
        return [(name, "the file does not tell")]
    return [line for key, inner in value.items() for line in _flat(f"{name}.{key}", inner)]
