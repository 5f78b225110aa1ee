"""The server's side of a training: starts the process, hears what it says, and ends it."""

from __future__ import annotations

import json
import logging
import os
import select
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model.errors import InvalidTrainingData

if TYPE_CHECKING:
    from model.training.recipe import Recipe

logger = logging.getLogger(__name__)

VECTORS, RECIPE, MODEL, LOG = "vectors.npy", "recipe.json", "model.safetensors", "errors.log"
BASE_BYTES = 2 << 30
BYTES_A_BYTE = 8
"""Memory that a process may take: what PyTorch and a network of preset L take, and for each byte of its vectors."""

LISTENED_MS = 500
_ROOT = Path(__file__).parents[2]
_LONGEST_TAIL = 2000

Hear = Callable[[dict[str, Any]], None]


def train_apart(
    folder: Path, recipe: Recipe, threads: int, device: str, hear: Hear, while_waiting: Callable[[], None]
) -> dict[str, Any]:
    """Train on FOLDER/vectors.npy in another process, to FOLDER/model.safetensors; goes on where an earlier one ended.

    hear, while_waiting  the first gets each {"stage"} and {"progress"}, the other is called every half second without
                         news, for a busy machine may take minutes to the first; what they raise ends the process, and
                         passes through
    Returns what the checkpoint tells of its training. Raises InvalidTrainingData.
    """
    (folder / RECIPE).write_text(json.dumps(asdict(recipe)))
    allowed = BASE_BYTES + BYTES_A_BYTE * (folder / VECTORS).stat().st_size
    command = [sys.executable, "-m", "service.training.child", str(folder), str(allowed), device]
    with (folder / LOG).open("wb") as errors:
        child = subprocess.Popen(
            command, env=_environment(threads), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors
        )
        try:
            for said in _lines(child, while_waiting):
                if "done" in said:
                    told: dict[str, Any] = said["done"]
                    return told
                if "refused" in said:
                    raise InvalidTrainingData(str(said["refused"]))
                hear(said)
        finally:
            child.kill()
            with child:  # closes the pipes, waits
                pass
    tail = (folder / LOG).read_bytes()[-_LONGEST_TAIL:].decode("utf-8", "replace")
    logger.error("Training ended with status %s:\n%s", child.returncode, tail)
    raise InvalidTrainingData(
        f"The training's process ended unexpectedly (status {child.returncode}); the log says more. Was memory short?"
    )


def _lines(child: subprocess.Popen[bytes], while_waiting: Callable[[], None]) -> Iterator[dict[str, Any]]:
    assert child.stdout is not None
    news, rest = select.poll(), b""
    news.register(child.stdout, select.POLLIN)
    while True:
        while not news.poll(LISTENED_MS):
            while_waiting()
        piece = os.read(child.stdout.fileno(), 1 << 16)
        if not piece:
            return
        *lines, rest = (rest + piece).split(b"\n")
        yield from map(json.loads, lines)


def _environment(threads: int) -> dict[str, str]:
    """The server's, without its settings, keys among them."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("QINCO_")}
    paths = os.pathsep.join([str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**kept, "PYTHONPATH": paths, "OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE"}
