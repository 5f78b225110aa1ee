"""A ready service in a thread of this process, on a free port, and a client for it."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from service.app import create_app
from service.query_connection import QueryConnection
from service.settings import Settings
from tests.told import TOLD

READY_S = 300


class Client(httpx.Client):
    """A client that knows its service's data folder."""

    data: Path

    def send(self, request: httpx.Request, **how: Any) -> httpx.Response:
        """Nothing of the body may be logged from now on."""
        TOLD.note_sent(getattr(request, "_content", b""))
        return super().send(request, **how)


@contextmanager
def running(folder: Path, **settings: Any) -> Iterator[Client]:
    """A client of a service on `folder`/data, ready."""
    with starting(folder, **settings) as client:
        wait_until(lambda: client.get("/readyz").status_code == 200)
        yield client


@contextmanager
def starting(folder: Path, **settings: Any) -> Iterator[Client]:
    """A client of a service whose port is open, ready or not."""
    chosen = Settings(data=folder / "data", threads=1, device="cpu", **settings)
    server = uvicorn.Server(
        uvicorn.Config(create_app(chosen), port=0, http=QueryConnection, log_config=None, lifespan="on")
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: server.started)
        port = server.servers[0].sockets[0].getsockname()[1]
        with Client(base_url=f"http://127.0.0.1:{port}", timeout=READY_S) as client:
            client.data = chosen.data
            yield client
    finally:
        server.should_exit = True
        thread.join()


def wait_until(is_so: Callable[[], bool], timeout_s: float = READY_S) -> None:
    """Returns as soon as `is_so()`; fails after `timeout_s`."""
    deadline, pause_s = time.monotonic() + timeout_s, 0.005
    while not is_so():
        assert time.monotonic() < deadline, f"not so within {timeout_s} s"
        time.sleep(pause_s)
        pause_s = min(0.1, 1.2 * pause_s)  # whoever asks all the time takes the time from what is waited for
