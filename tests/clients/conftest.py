"""A server for stock clients. Nothing here or beside it imports the service: it runs where only clients are."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings

READY_S = 60
# Few examples where all tests run, many where clients are what is tested.
EXAMPLES = int(os.environ.get("CLIENT_EXAMPLES", "4"))

settings.register_profile(
    "clients",
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],  # shrinking asks a server hundreds of times; the values are small as they are
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


@pytest.fixture(scope="session")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a server of its own, run by the interpreter that QINCO_PYTHON names, else by this one."""
    python = os.environ.get("QINCO_PYTHON", sys.executable)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = tmp_path_factory.mktemp("server")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("QINCO_")}
    environment |= {"QINCO_DATA": str(folder / "data"), "QINCO_PORT": str(port), "QINCO_THREADS": "1"}
    with (folder / "log").open("wb") as log:
        command = [python, "-c", "from service.cli import main; main()", "serve"]
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        _wait_until_ready(f"http://127.0.0.1:{port}", server, folder / "log")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(30)


def _wait_until_ready(url: str, server: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + READY_S
    while True:
        assert server.poll() is None and time.monotonic() < deadline, log.read_text()
        try:
            with urllib.request.urlopen(f"{url}/readyz", timeout=5) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
