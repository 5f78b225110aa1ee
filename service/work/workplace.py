"""What a job's work is to whoever runs it, and what it finds where it works."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from index_store import Store

REENCODE, TRAIN, RECALL = "reencode", "train", "recall"
REPORT = "report.md"
"""What stays of a training's folder when it has ended."""


class Report(Protocol):
    """Hears which share of a job is done, and figures for its log; raises JobCancelled when it is to end."""

    def __call__(self, share: float, figures: dict[str, Any] | None = None) -> None: ...


class Work(Protocol):
    """A job's work. `goes_on`: what a restart cuts off is taken up by running it again."""

    @property
    def goes_on(self) -> bool: ...

    def run(self, report: Report) -> dict[str, Any]:
        """Do it; returns the job's result."""

    def give_up(self) -> None:
        """Clear away what it has begun, once it was cancelled or has failed."""


@dataclass(frozen=True)
class Workplace:
    """What all jobs share.

    folder: where a job may keep files, below its id · threads, device: for training · wake: tells the encoding worker
    """

    store: Store
    folder: Path
    threads: int
    device: str
    wake: Callable[[], None]
