"""What servers are forked from: everything imported and compiled, and set aside, so that a child copies little of it.

A start takes 0.3 s of a core so, where it took 1.0 s.
"""

import gc
from importlib import import_module

from index_store.warming import warm
from model.kernels.threads import set_threads

# What uvicorn looks for by name once it runs
BY_NAME = ("uvicorn.lifespan.on", "uvicorn.protocols.http.auto", "anyio._backends._asyncio")
for name in ("service.server", "service.cli", *BY_NAME):
    import_module(name)
set_threads(1)  # threads that compute would not be there in a child
warm()
gc.collect()
gc.freeze()
