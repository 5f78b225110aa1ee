"""What a code is made of: the QINCo2 codec. Numbers in, numbers out; no files but checkpoints."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model.errors import InvalidCheckpoint, UnsupportedOption

if TYPE_CHECKING:
    from model.any_codec import Codec
    from model.codec import NetworkCodec
    from model.codecs_in_ram import size_bytes
    from model.config import PRESETS, CodecConfig, preset_config
    from model.product_codec import ProductCodec
    from model.warming import warm_kernels

__all__ = [
    "PRESETS",
    "Codec",
    "CodecConfig",
    "NetworkCodec",
    "ProductCodec",
    "attach_graph",
    "load_codec",
    "preset_config",
    "save_codec",
    "size_bytes",
    "warm_kernels",
]

_PLACES = {
    "Codec": "model.any_codec",
    "NetworkCodec": "model.codec",
    "size_bytes": "model.codecs_in_ram",
    "PRESETS": "model.config",
    "CodecConfig": "model.config",
    "preset_config": "model.config",
    "ProductCodec": "model.product_codec",
    "warm_kernels": "model.warming",
}

PRECISIONS = (None, "float32")


def __getattr__(name: str) -> Any:
    """Imports what is asked for: Numba comes with most of it, 65 MB that a service without models does without."""
    if name not in _PLACES:
        raise AttributeError(f"module 'model' has no attribute '{name}'")
    return getattr(import_module(_PLACES[name]), name)


def load_codec(
    path: str | Path, device: str = "cpu", precision: str | None = None, pair_table_bytes: int | None = None
) -> Codec:
    """Read a checkpoint: ours, or a `.pt` of QINCo's or QINCo2's authors, recognised by content.

    precision  "float32", or None for what is fastest here: bfloat16 products where the processor multiplies them
               in hardware, which costs less than a thousandth of the error
    pair_table_bytes  most that the table of `decode_pairwise` may take; None for 64 MB

    Raises InvalidCheckpoint, UnsupportedOption.
    """
    if precision not in PRECISIONS:
        raise UnsupportedOption(f"Precision '{precision}' is not supported; use 'float32'.")
    path = Path(path)
    try:
        with path.open("rb") as file:
            is_torch_archive = file.read(4) == b"PK\x03\x04"
            file.seek(0)
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InvalidCheckpoint(f"The checkpoint cannot be read: {error.strerror}.") from error
    codec = _read(path, is_torch_archive, device, sha256)
    for one in _networks(codec):
        if precision == "float32":
            one.compute_in_float32()
        if pair_table_bytes is not None:
            one.bound_pair_table(pair_table_bytes)
    return codec


def attach_graph(codec: Codec, checkpoint: str | Path) -> bool:
    """Let a codec of very many lists find them through the graph beside its checkpoint; whether there is one.

    Only codecs on the CPU use it. Raises InvalidCheckpoint where the graph is damaged or another checkpoint's.
    """
    from model import list_graph

    path, lists = list_graph.path_beside(Path(checkpoint)), codec.coarse
    if lists is None or lists.storage is None or not path.is_file():
        return False
    lists.take_graph(path, codec.sha256)
    return True


def save_codec(codec: Codec, path: str | Path, training: dict[str, Any] | None = None) -> None:
    """Write a codec as a float16 safetensors checkpoint, with how it was trained."""
    from model.checkpoint import ours

    ours.save(codec, Path(path), training or {})


def _networks(codec: Codec) -> Sequence[NetworkCodec]:
    from model.product_codec import ProductCodec

    return codec.slices if isinstance(codec, ProductCodec) else (codec,)


def _read(path: Path, is_torch_archive: bool, device: str, sha256: str) -> Codec:
    if not is_torch_archive:
        from model.checkpoint import ours

        return ours.load(path, device, sha256)
    from model.checkpoint import qinco1, qinco2, torch_archive  # with PyTorch

    content = torch_archive.read(path)
    if isinstance(content, torch_archive.Module):
        return qinco1.load(content, device, sha256)
    return qinco2.load(content, device, sha256)
