"""Plain queries to each collection by the very way that a client's take, before the service says that it is ready.

Once all is loaded and compiled, the first query over HTTP still took 5 ms where the tenth took 1: code of the
interpreter that never ran, memory that no query touched, connections to databases that were never opened. So these are
sent over a socket to a connection as the server makes them, with counters of their own: nobody's metrics tell of them.
"""

import asyncio
import logging
import socket
import time
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import orjson
import uvicorn
from uvicorn.server import ServerState

from index_store import Collection, Store
from index_store.config import DEFAULT_VECTOR
from model.errors import QincoError
from service.metrics import Metrics
from service.pace import Pace
from service.plain_query import PlainQueries
from service.query_admission import QueryAdmission
from service.query_batcher import QueryBatcher
from service.query_connection import QueryConnection
from service.quick_queries import QuickQueries
from service.security import KeyCheck
from service.settings import Settings

logger = logging.getLogger(__name__)

QUERIES = 12
LONGEST_S = 0.3
"""A vector that is searched exactly among very many is asked less often: what is slow anyhow need not be warm."""

MOST_S = 30

END_OF_HEAD = b"\r\n\r\n"


async def warm_up(store: Store, settings: Settings, plain_queries: PlainQueries) -> Pace:
    """Ask each vector of each collection some queries; what they fail of is left to who asks next.

    Returns how long they take, which is known of no query before the first; `plain_queries` remembers their form.
    """
    pace = Pace()
    try:
        async with asyncio.timeout(MOST_S):
            await _ask_all(store, settings, plain_queries, pace)
    except (TimeoutError, OSError, EOFError) as error:
        logger.warning("Warming up ended early: %s", error or "it took too long")
    return pace


async def _ask_all(store: Store, settings: Settings, plain_queries: PlainQueries, pace: Pace) -> None:
    metrics = Metrics(settings.metrics_collections)
    batcher = QueryBatcher(1, settings.query_batch, settings.max_queued, settings.query_timeout, metrics, pace)
    trial = _Trial(store, settings, batcher, metrics, plain_queries)
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=theirs)
    transport, _ = await asyncio.get_running_loop().connect_accepted_socket(lambda: _connection(trial), ours)
    try:
        for name in store.collections():
            try:
                await _ask(store.collection(name), reader, writer)
            except QincoError as error:  # told by its own routes; the others are served
                logger.error("Could not load collection %s: %s", name, error)
    finally:
        writer.close()
        transport.close()
        batcher.close()


async def _ask(collection: Collection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    random = np.random.default_rng(0)
    for using, vector in collection.config.vectors.items():
        end = time.monotonic() + LONGEST_S
        for query in random.normal(size=(QUERIES, vector.size)):
            named = {} if using == DEFAULT_VECTOR else {"using": using}
            body = orjson.dumps({"query": query.tolist(), "limit": 10, **named})
            path = f"/collections/{collection.name}/points/query"
            head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
            writer.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
            answer = await reader.readuntil(END_OF_HEAD)
            length = next(line for line in answer.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(int(length.partition(b":")[2]))
            if time.monotonic() > end:
                break
    collection.forget_queries()


@dataclass(frozen=True)
class _Trial:
    """What `QuickQueries` sees of a service."""

    store: Store
    settings: Settings
    batcher: QueryBatcher
    metrics: Metrics
    plain_queries: PlainQueries
    is_ready: bool = True

    def collection(self, name: str) -> Collection:
        return self.store.collection(name)


def _connection(trial: _Trial) -> QueryConnection:
    keys = KeyCheck(_not_found, api_key=None, read_only_api_key=None)
    quick = QuickQueries(cast(Any, trial), QueryAdmission(trial.settings.max_wait / 1000), keys)
    config = uvicorn.Config(_not_found, ws="none", lifespan="off", log_config=None, access_log=False)
    config.load()
    config.app = cast(Any, SimpleNamespace(state=SimpleNamespace(quick_queries=quick)))
    return QueryConnection(config, ServerState(), {})


async def _not_found(scope: Any, receive: Any, send: Any) -> None:
    """What answers in the app's place where a query is not taken for a plain one."""
    await send({"type": "http.response.start", "status": 404, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})
