"""A training's state on disk: one file, or parts below a given size behind a file that lists them.

So a run can move between machines where only small files pass. What is there is replaced only once all that is new is
written: the file itself is renamed last, and the parts of the state before go after that.
"""

import hashlib
import io
import json
import pickle
from pathlib import Path
from typing import Any

import torch

from model.errors import InvalidTrainingData

FORMAT = "training state in parts"


def write_state(state: dict[str, Any], path: Path, part_bytes: int | None) -> None:
    """Put a state at `path`, in parts of at most so many bytes if any are given. Raises OSError."""
    unfinished = path.with_name(f"{path.name}.unfinished")
    parts = []
    try:
        if part_bytes is None:
            _save(state, unfinished)
        else:
            parts = _write_parts(state, path, part_bytes)
            unfinished.write_text(json.dumps({"format": FORMAT, "parts": parts}))
        unfinished.replace(path)
    except OSError:
        unfinished.unlink(missing_ok=True)
        raise
    current = {part["name"] for part in parts}
    for part in part_paths(path):
        if part.name not in current:
            part.unlink()


def _save(state: dict[str, Any], path: Path) -> None:
    """PyTorch tells of a disk that fails by an error of its own, about positions in the file."""
    with path.open("wb") as file:
        try:
            torch.save(state, file)
        except RuntimeError as error:
            if isinstance(error.__context__, OSError):
                raise error.__context__ from error
            raise


def read_state(path: Path) -> dict[str, Any]:
    """The state at `path`. Raises InvalidTrainingData where there is none, or it or a part of it is damaged."""
    try:
        with path.open("rb") as file:
            is_whole = file.read(1) != b"{"
        content: Any = path if is_whole else io.BytesIO(_joined(path))
        state: dict[str, Any] = torch.load(content, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise InvalidTrainingData(f"There is no training to resume: '{path.name}' does not exist.") from error
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, ValueError, KeyError, TypeError) as error:
        raise InvalidTrainingData(f"'{path.name}' cannot be read as the state of a training.") from error
    return state


def remove_state(path: Path) -> None:
    """Take a state away, with its parts; nothing happens where there is none."""
    for part in part_paths(path):
        part.unlink()
    path.unlink(missing_ok=True)


def part_paths(path: Path) -> list[Path]:
    """The files beside `path` that are parts of a state there, or were left by a kill."""
    return sorted(path.parent.glob(f"{path.name}-*-[0-9][0-9][0-9][0-9][0-9]"))


def _write_parts(state: dict[str, Any], path: Path, part_bytes: int) -> list[dict[str, str]]:
    """The parts' names and SHA-256, in order. Names differ from those of another state's parts."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getbuffer()
    generation = hashlib.sha256(content).hexdigest()[:12]
    parts = []
    for number, begin in enumerate(range(0, len(content), part_bytes), start=1):
        part = content[begin : begin + part_bytes]
        name = f"{path.name}-{generation}-{number:05d}"
        path.with_name(name).write_bytes(part)
        parts.append({"name": name, "sha256": hashlib.sha256(part).hexdigest()})
    return parts


def _joined(path: Path) -> bytes:
    listed = json.loads(path.read_text())
    if listed["format"] != FORMAT:
        raise ValueError(listed["format"])
    return b"".join(_part(path, one) for one in listed["parts"])


def _part(path: Path, listed: dict[str, str]) -> bytes:
    name = Path(listed["name"]).name  # a list from elsewhere names no other folder
    try:
        content = path.with_name(name).read_bytes()
    except FileNotFoundError as error:
        raise InvalidTrainingData(
            f"Part '{name}' of the training's state is missing: bring it beside the others."
        ) from error
    if hashlib.sha256(content).hexdigest() != listed["sha256"]:
        raise InvalidTrainingData(f"Part '{name}' of the training's state is damaged: bring it again.")
    return content
