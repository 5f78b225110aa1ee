"""Graphs over the lists of stored models that have very many: made once each, by a process that yields to all others.

A model serves before its graph is there: its lists are compared one by one until then.
"""

import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock

from index_store.conversion import environment_of_child
from index_store.storage import Storage

logger = logging.getLogger(__name__)

_MADE_SUFFIX = ".making"


@dataclass(frozen=True)
class GraphState:
    """state  waiting · making · ready · failed, until the next start · progress  the share that is linked, 0 to 1"""

    state: str
    progress: float = 0.0


class ListGraphs:
    """Makes graphs, one after another; `ready` hears the name of each model whose graph has come to its place."""

    def __init__(self, storage: Storage, threads: int, ready: Callable[[str], None]) -> None:
        self._storage, self._threads, self._ready = storage, threads, ready
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="graphs")
        self._lock = Lock()
        self._states: dict[str, GraphState] = {}
        self._process: tuple[str, subprocess.Popen[str]] | None = None
        self._is_closed = False

    def state(self, name: str) -> GraphState | None:
        """How far a model's graph is; None for a model that needs none."""
        return self._states.get(name)

    def found(self, name: str) -> None:
        """Note that a model's graph lies in its place."""
        self._states[name] = GraphState("ready", 1.0)

    def make(self, name: str, checkpoint: Path, target: Path, sha256: str) -> None:
        """Make the graph of a stored checkpoint when those before it are done; returns at once."""
        with self._lock:
            if self._is_closed:
                return
            self._states[name] = GraphState("waiting")
            self._worker.submit(self._make, name, checkpoint, target, sha256)

    def forget(self, name: str) -> None:
        """Make none for a model that is deleted, and end the process that is at it."""
        with self._lock:
            self._states.pop(name, None)
            self._end(name)

    def close(self) -> None:
        """End what is under way; the next start makes what is missing."""
        with self._lock:
            self._is_closed = True
            self._end(None)
        self._worker.shutdown(cancel_futures=True)

    def _make(self, name: str, checkpoint: Path, target: Path, sha256: str) -> None:
        made, began = target.with_suffix(_MADE_SUFFIX), time.perf_counter()
        try:
            is_made = self._run(name, [str(checkpoint), str(made), sha256])
            with self._lock:
                if self._is_closed or name not in self._states:
                    return
                if is_made:
                    self._storage.rename(made, target)
                    self._storage.sync_folder(target.parent)
                self._states[name] = GraphState("ready", 1.0) if is_made else GraphState("failed")
            if is_made:
                self._ready(name)
                logger.info("Made the graph over the lists of model %s in %.1f s", name, time.perf_counter() - began)
            else:
                logger.error("Could not make the graph over the lists of model %s; they are compared one by one", name)
        except OSError as error:
            self._states[name] = GraphState("failed")
            logger.error("Could not keep the graph over the lists of model %s: %s", name, error.strerror)
        finally:
            self._storage.remove(made)

    def _run(self, name: str, arguments: list[str]) -> bool:
        """Run the process and follow its progress; whether it made the graph."""
        with self._lock:
            if self._is_closed or name not in self._states:
                return False
            process = subprocess.Popen(
                [sys.executable, "-m", "index_store.list_graphs", *arguments],
                env=environment_of_child(self._threads),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            self._process = (name, process)
        with process:
            assert process.stdout is not None
            for line in process.stdout:
                with self._lock:
                    if name in self._states:
                        self._states[name] = replace(GraphState("making"), progress=float(line))
        with self._lock:
            self._process = None
        return process.returncode == os.EX_OK

    def _end(self, name: str | None) -> None:
        """End the process for a model, or for whichever it is. The caller holds the lock."""
        if self._process is not None and name in (None, self._process[0]):
            self._process[1].kill()
