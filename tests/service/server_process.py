"""A real `qinco-server serve` on a folder, as a process that tests may stop or kill."""

import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from tests.told import TOLD

READY_S = 300
ENDED_S = 60  # twice what requests under way are given when it stops

# Processes forked from one that has imported everything start in half a second instead of several.
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["tests.service.preloaded"])


class ServerProcess:
    """The command, started at once; `wait_until_ready` before it is asked."""

    def __init__(self, folder: Path, **settings: object) -> None:
        self.url, self.log, environment = _chosen(folder, settings)
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-c", "from service.cli import main; main()", "serve"],
                env=environment,
                stdout=output,
                stderr=output,
            )

    def wait_until_ready(self) -> None:
        _wait_until_ready(self.url, lambda: self.process.poll() is None, self.log)

    def kill(self) -> None:
        """SIGKILL: nothing of the process runs after this."""
        self.process.kill()
        self.process.wait()
        TOLD.look_at_file(self.log)

    def terminate(self, timeout_s: float = ENDED_S) -> int:
        """SIGTERM; the status it exits with."""
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(timeout_s)
        TOLD.look_at_file(self.log)
        return status


class ForkedServer:
    """The same command in a process that did not have to import anything; ready once it is made."""

    def __init__(self, folder: Path, **settings: object) -> None:
        self.url, self.log, environment = _chosen(folder, settings)
        self.process = _FORKS.Process(target=_serve, args=(environment, self.log))
        self.process.start()
        _wait_until_ready(self.url, self.process.is_alive, self.log)

    def kill(self) -> None:
        """SIGKILL: nothing of the process runs after this."""
        self.process.kill()
        self.process.join()
        TOLD.look_at_file(self.log)

    def terminate(self) -> int | None:
        """SIGTERM; the status it exits with."""
        self.process.terminate()
        self.process.join(ENDED_S)
        TOLD.look_at_file(self.log)
        return self.process.exitcode


def _serve(environment: dict[str, str], log: Path) -> None:
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["qinco-server", "serve"]
    with log.open("a") as sys.stdout, log.open("a") as sys.stderr:
        from service.cli import main

        main()


def _chosen(folder: Path, settings: dict[str, object]) -> tuple[str, Path, dict[str, str]]:
    """The server's URL, its log, and its environment."""
    port = _free_port()
    chosen = {"data": folder / "data", "port": port, "threads": 1, "device": "cpu"} | settings
    environment = {name: value for name, value in os.environ.items() if not name.upper().startswith("QINCO_")}
    environment |= {f"QINCO_{name.upper()}": str(value) for name, value in chosen.items()}
    return f"http://127.0.0.1:{port}", folder / "log", environment


def _wait_until_ready(url: str, is_alive: Callable[[], bool], log: Path) -> None:
    deadline = time.monotonic() + READY_S
    while True:
        assert is_alive(), log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        if _is_ready(url):
            return
        time.sleep(0.02)


def _is_ready(url: str) -> bool:
    """Asked without httpx, whose clients take longer to make than a server to start."""
    connection = HTTPConnection(url.removeprefix("http://"), timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
