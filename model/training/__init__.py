"""From vectors to a checkpoint that carries all that search needs."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from model.training.data import Rows
    from model.training.from_vectors import train
    from model.training.progress import Progress
    from model.training.recipe import Recipe, list_count
    from model.training.report import write_report
    from model.training.resume import can_go_on, state_path
    from model.training.state_file import remove_state

__all__ = [
    "Progress",
    "Recipe",
    "Rows",
    "can_go_on",
    "list_count",
    "remove_state",
    "state_path",
    "train",
    "write_report",
]

_PLACES = {
    "Progress": "progress",
    "Recipe": "recipe",
    "Rows": "data",
    "can_go_on": "resume",
    "list_count": "recipe",
    "remove_state": "state_file",
    "state_path": "resume",
    "train": "from_vectors",
    "write_report": "report",
}


def __getattr__(name: str) -> Any:
    """Imports what is asked for: a service writes recipes without PyTorch, which the process that trains imports."""
    if name not in _PLACES:
        raise AttributeError(f"module 'model.training' has no attribute '{name}'")
    return getattr(import_module(f"model.training.{_PLACES[name]}"), name)
