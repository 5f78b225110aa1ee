"""A server of one's own: started as a child on a free port, stopped at the end."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import httpx

from service.cli.failure import CommandFailed

START_S = 120
STOP_S = 20
# What the user may choose for the child; other QINCO_… variables are about the user's own server.
INHERITED = ("QINCO_DEVICE", "QINCO_THREADS")


@dataclass(frozen=True)
class ChildServer:
    url: str
    pid: int


@contextmanager
def serving(folder: Path) -> Iterator[ChildServer]:
    """A ready server whose data is `folder`/data, stopped at the end. Raises CommandFailed with its last words."""
    port = _free_port()
    log = folder / "log"
    process = _start(folder / "data", port, log)
    try:
        url = f"http://127.0.0.1:{port}"
        _wait_until_ready(url, process, log)
        yield ChildServer(url, process.pid)
    finally:
        _stop(process)


def _start(data: Path, port: int, log: Path) -> "subprocess.Popen[bytes]":
    environment = {name: value for name, value in os.environ.items() if not name.upper().startswith("QINCO_")}
    environment |= {name: os.environ[name] for name in INHERITED if name in os.environ}
    environment |= {"QINCO_DATA": str(data), "QINCO_HOST": "127.0.0.1", "QINCO_PORT": str(port)}
    with log.open("wb") as output:
        # In a session of its own, Ctrl-C reaches this process alone, which then stops the child in order.
        return subprocess.Popen(
            [sys.executable, "-c", "from service.cli import main; main()", "serve"],
            env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip


def _wait_until_ready(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            if httpx.get(f"{url}/readyz", timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    why = "stopped" if process.poll() is not None else f"was not ready within {START_S} s"
    raise CommandFailed(f"The server {why}. Its last words:\n{log.read_text(errors='replace')[-2000:]}")


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def sigterm_as_exit() -> Iterator[None]:
    """SIGTERM unwinds the stack like Ctrl-C does, so that what is open gets closed."""

    def leave(signum: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + signum)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
