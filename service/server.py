"""The server's life: uvicorn around the app, one process, stopped in order by SIGTERM or Ctrl-C."""

import gc
import logging
import signal
import socket
import sys
import time
from types import FrameType

import uvicorn

from service.app import create_app
from service.half_open import HalfOpen
from service.query_connection import QueryConnection
from service.serving import Serving
from service.settings import Settings

logger = logging.getLogger(__name__)

# Longer than clients keep idle connections, so that the client and not the server closes them.
KEEP_ALIVE_S = 75
TICKS_A_SECOND = 10
TURN_S = 0.0005
"""So long a thread may keep the interpreter from one that waits for it. At 5 ms, as Python has it, a query beside an
upload, which asks for it anew after each kernel, waited for several such turns."""
YOUNG_OBJECTS = 20_000
"""So many are made before they are looked through for garbage. At 700, as Python has it, one query of a hundred beside
an upload met a search through that upload's ids and rows."""


class Server(uvicorn.Server):
    """Uvicorn, but readiness drops with the signal, and stopping in order exits with 0."""

    def __init__(self, settings: Settings) -> None:
        self.failure: BaseException | None = None
        self._half_open = HalfOpen(settings.body_timeout)
        app = create_app(settings, self._fail)
        self._serving: Serving = app.state.serving
        # What was made until now stays: modules and the store. To look through it for garbage stopped everything for
        # 0.3 to 0.4 s every few seconds under load; 64 clients had their p99 from that (2026-11-21).
        self._serving.settle = _keep_what_is_made
        super().__init__(
            uvicorn.Config(
                app,
                loop="uvloop",
                http=QueryConnection,
                host=settings.host,
                port=settings.port,
                log_config=None,
                access_log=False,
                lifespan="on",
                server_header=False,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=settings.grace,
                ssl_certfile=settings.tls_certificate,
                ssl_keyfile=settings.tls_key,
            )
        )

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        logger.info("Stopping, on %s", signal.Signals(sig).name)
        self._serving.is_stopping = True
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for server in self.servers:
            for listening in server.sockets:
                logger.info("Listening on %s, port %d", *listening.getsockname()[:2])

    async def on_tick(self, counter: int) -> bool:
        if counter % TICKS_A_SECOND == 0:
            self._half_open.close_overdue(list(self.server_state.connections), time.monotonic())
        return await super().on_tick(counter)

    def _fail(self, error: BaseException) -> None:
        self.failure = error
        self.should_exit = True


def _keep_what_is_made() -> None:
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS)


def run(settings: Settings, listening: socket.socket) -> BaseException | None:
    """Serves an open port until a signal; what kept the data folder from being opened, if something did."""
    sys.setswitchinterval(TURN_S)
    server = Server(settings)
    server.run([listening])
    return server.failure
