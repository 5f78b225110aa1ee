"""The command line, run in this process."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from service.cli import main

Run = Callable[..., "Outcome"]


@dataclass(frozen=True)
class Outcome:
    status: int
    out: str
    err: str


def runner(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """A function that runs `qinco-server` with arguments; what commands set in the environment is undone."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS", "OMP_WAIT_POLICY"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("COLUMNS", "120")

    def run(*arguments: Any) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["qinco-server", *map(str, arguments)])
        status = 0
        try:
            main()
        except SystemExit as ended:
            status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        captured = capsys.readouterr()
        return Outcome(status, captured.out, captured.err)

    return run
