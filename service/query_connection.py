"""A connection of uvicorn's on which single plain queries are answered without the ASGI app.

uvicorn makes a task of each request, with events between it and the parser; the app wraps it in ten layers. That takes
longer than reading a query and writing its hits. So a request whose head says that it may be such a query is held until
its body has come, and is handed to `QuickQueries`. One that it does not take, or whose body lets itself be waited for,
goes to the app as any other does.
"""

import asyncio
import time
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from service.quick_queries import Headers, QuickQueries

HELD_S = 0.01
"""So long a head waits for its body: most clients send them apart, one right after the other."""


class QueryConnection(HttpToolsProtocol):
    """Made by uvicorn for an app with `state.quick_queries`."""

    def __init__(self, config: Any, *more: Any, **named: Any) -> None:
        super().__init__(config, *more, **named)
        self._quick: QuickQueries = config.app.state.quick_queries
        self._held: list[bytes] | None = None  # what has come of the body, of a request that is held
        self.answered = 0.0  # when the last query was that was answered here
        self._timer: asyncio.TimerHandle | None = None

    def on_headers_complete(self) -> None:
        """Hold what may be a plain query, unless others of this connection are under way."""
        is_free = (self.cycle is None or self.cycle.response_complete) and not self.flow.write_paused
        if is_free and self._is_plain() and self._quick.may_answer(self.parser.get_method(), self.url, self.headers):
            self._held = []
        else:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Keep it, or give it to the app."""
        if self._held is None:
            super().on_body(body)
        else:
            self._held.append(body)

    def on_message_complete(self) -> None:
        """Answer, or let the app do it."""
        if self._held is None:
            return super().on_message_complete()
        turn = _Turn(self)
        if self._quick.begin(self.url, self.headers, b"".join(self._held), self.answered, turn.answer):
            self._stop_holding()
            self.cycle = turn  # type: ignore[assignment]  # what uvicorn asks of a request under way, it has
        else:
            self._let_go()
            super().on_message_complete()

    def data_received(self, data: bytes) -> None:
        """Read it; what is still held then is not held for long."""
        super().data_received(data)
        if self._held is not None and self._timer is None:
            self._timer = self.loop.call_later(HELD_S, self._let_go)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget what was held."""
        self._stop_holding()
        super().connection_lost(exc)

    def _is_plain(self) -> bool:
        parser = self.parser
        return parser.get_http_version() == "1.1" and parser.should_keep_alive() and not parser.should_upgrade()

    def _let_go(self) -> None:
        """Give the app what is held."""
        held = self._held
        self._stop_holding()
        if held is not None:
            super().on_headers_complete()
            for part in held:
                super().on_body(part)

    def _stop_holding(self) -> None:
        self._held = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class _Turn:
    """A request under way, as `HttpToolsProtocol` knows its own: `cycle.response_complete` and so on."""

    def __init__(self, connection: QueryConnection) -> None:
        self._connection = connection
        self.response_complete = False
        self.disconnected = False
        self.keep_alive = True
        self.message_event = _Nobody

    def answer(self, status: int, headers: Headers, body: bytes) -> None:
        """Send an answer, unless the client has gone."""
        self.response_complete = True
        if self.disconnected:
            return
        connection = self._connection
        connection.answered = time.monotonic()
        lines = [STATUS_LINE[status]]
        for name, value in (*connection.server_state.default_headers, *headers):
            lines += (name, b": ", value, b"\r\n")
        if not self.keep_alive:
            lines.append(b"connection: close\r\n")
        lines += (b"\r\n", body)
        connection.transport.write(b"".join(lines))
        if not self.keep_alive:
            connection.transport.close()
        connection.on_response_complete()


class _Nobody:
    """Waits for messages of a body that is whole."""

    @staticmethod
    def set() -> None:
        """Wake nobody."""
