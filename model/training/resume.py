"""The state of a training on disk: written as it goes, taken up after a crash, a kill or Ctrl-C."""

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from model.errors import InvalidTrainingData
from model.training.loop import Trainer
from model.training.progress import Progress
from model.training.recipe import Recipe
from model.training.state_file import read_state, write_state

SAVE_EVERY_S = 60.0
VERSION = 4
"""Of what a state holds; those of other versions are refused."""


def state_path(out: Path) -> Path:
    """Where the state of the training that will write the checkpoint `out` is kept."""
    return out.with_name(f"{out.name}.state")


def can_go_on(path: Path) -> bool:
    """Whether a training left a state there, by this version of the program. Raises InvalidTrainingData for damage."""
    return path.exists() and read_state(path).get("version") == VERSION


def take_up(path: Path, recipe: Recipe, fingerprint: str) -> dict[str, Any]:
    """The state that a training left. Raises InvalidTrainingData where there is none, or it is another training's."""
    kept = read_state(path)
    if kept.get("version") != VERSION:
        raise InvalidTrainingData(
            f"'{path.name}' is the state of a training by another version of this program, which cannot go on with it. "
            "Remove it and begin anew."
        )
    if kept["fingerprint"] != fingerprint:
        raise InvalidTrainingData(f"'{path.name}' is the state of a training on other vectors.")
    if kept["recipe"] != asdict(recipe):
        changed = sorted(name for name, value in asdict(recipe).items() if kept["recipe"].get(name) != value)
        raise InvalidTrainingData(f"'{path.name}' is the state of a training with another {', '.join(changed)}.")
    return kept


def train_and_keep(
    trainer: Trainer,
    budget_s: float | None,
    path: Path | None,
    recipe: Recipe,
    fingerprint: str,
    report: Callable[[Progress], None],
    part_bytes: int | None,
) -> None:
    """Train to the end, leaving the state on disk once a minute, and when `report` raises; whole or in parts.

    path  where to; None where another process of the same training does
    """

    def keep() -> None:
        if path is None:
            return
        write_state(
            {**trainer.state(), "version": VERSION, "recipe": asdict(recipe), "fingerprint": fingerprint},
            path,
            part_bytes,
        )

    kept_at = time.monotonic()
    for progress in trainer.run(budget_s):
        if time.monotonic() - kept_at >= SAVE_EVERY_S:
            keep()
            kept_at = time.monotonic()
        try:
            report(progress)
        except BaseException:  # Ctrl-C among them: nothing is lost between two steps
            keep()
            raise
