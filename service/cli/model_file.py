"""A codec's file, opened: the codec, and what kind of the family it is."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from service.cli.failure import CommandFailed

if TYPE_CHECKING:
    from model import Codec


@dataclass(frozen=True)
class CodecFile:
    """kind      QINCo, QINCo-LR, QINCo2, or one of these behind IVF- or PQ-
    is_ours   a safetensors file of this project; else a .pt of the authors
    training  how it came to be, as far as the file tells
    """

    path: Path
    codec: "Codec"
    kind: str
    is_ours: bool
    training: dict[str, Any]


def open_codec(path: Path, device: str = "cpu") -> CodecFile:
    """Load a codec's file, ours or the authors'; raises CommandFailed with what is wrong with it."""
    from model import attach_graph, load_codec
    from model.checkpoint.ours import read_training
    from model.errors import QincoError

    _check_is_file(path)
    try:
        codec = load_codec(path, device)
        attach_graph(codec, path)
    except QincoError as error:
        raise CommandFailed(f"{path}: {error}") from error
    is_ours = not _is_torch_archive(path)
    try:
        training = read_training(path) if is_ours else {}
    except ValueError as error:
        raise CommandFailed(f"{path}: what it says about its training is not JSON: {error}.") from error
    if not isinstance(training, dict):
        raise CommandFailed(f"{path}: what it says about its training is not an object of JSON.")
    return CodecFile(path, codec, _kind(codec, path, training, is_ours), is_ours, training)


def check_output(path: Path) -> None:
    """Raise CommandFailed where a checkpoint could not be written, before time is spent."""
    if not path.parent.is_dir():
        raise CommandFailed(f"There is no folder {path.parent} to write {path.name} into.")
    if path.is_dir():
        raise CommandFailed(f"{path} is a folder; name the file to write.")


def _check_is_file(path: Path) -> None:
    if path.is_dir():
        raise CommandFailed(f"{path} is a folder; name a checkpoint.")
    if not path.exists():
        raise CommandFailed(f"There is no file {path}.")


def _is_torch_archive(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"PK"


def _kind(codec: "Codec", path: Path, training: dict[str, Any], is_ours: bool) -> str:
    from model import ProductCodec

    first = codec.slices[0] if isinstance(codec, ProductCodec) else codec
    before = "PQ-" if isinstance(codec, ProductCodec) else "IVF-" if codec.ivf_lists else ""
    if first.config.outer_skip:
        return f"{before}QINCo2"
    # The two matrices of QINCo-LR are multiplied out when it is loaded: only the file tells.
    is_low_rank = _was_low_rank(training) if is_ours else not before and _holds_low_rank(path)
    return f"{before}QINCo-LR" if is_low_rank else f"{before}QINCo"


def _was_low_rank(training: dict[str, Any]) -> bool:
    origin = training.get("converted_from")
    return isinstance(origin, dict) and str(origin.get("kind")).endswith("-LR")


def _holds_low_rank(path: Path) -> bool:
    from model.checkpoint import torch_archive

    content = torch_archive.read(path)
    return isinstance(content, torch_archive.Module) and content.kind == "QINCoLR"
