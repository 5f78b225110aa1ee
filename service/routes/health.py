"""Whether the service lives and is ready, what it is, and its metrics."""

import anyio.to_thread
from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from index_store import CollectionInfo
from index_store.errors import CollectionNotFound, DamagedData
from service import __version__
from service.parameters import Served
from service.serving import Serving

router = APIRouter(tags=["service"])

TITLE = "qinco-server"
# The minor version of Qdrant's API that is spoken: its clients warn when theirs is further than one away.
QDRANT_API_VERSION = "1.20.0"


@router.get("/", summary="What this is")
async def root() -> Response:
    return JSONResponse({"title": TITLE, "version": QDRANT_API_VERSION, "commit": "", "server_version": __version__})


@router.get("/livez", summary="Whether the process answers")
async def livez() -> Response:
    return PlainTextResponse("livez check passed")


@router.get("/readyz", summary="Whether all collections are loaded and kernels are warm")
async def readyz(serving: Served) -> Response:
    if serving.is_ready:
        return PlainTextResponse("all collections are ready")
    return PlainTextResponse("stopping" if serving.is_stopping else serving.progress, 503)


@router.get("/healthz", summary="Readiness, and that the encoding worker lives")
async def healthz(serving: Served) -> Response:
    if serving.is_ready and not serving.worker.is_alive:
        return PlainTextResponse("the encoding worker has died: restart the service", 503)
    return await readyz(serving)


@router.get("/metrics", summary="Metrics for Prometheus")
async def metrics(serving: Served) -> Response:
    infos = await anyio.to_thread.run_sync(_infos, serving) if serving.is_ready else {}
    return Response(serving.metrics.exposition(infos), media_type="text/plain; version=0.0.4; charset=utf-8")


def _infos(serving: Serving) -> dict[str, CollectionInfo]:
    infos = {}
    for name in serving.store.collections():
        try:
            collection = serving.store.collection(name)
            infos[name] = collection.info(next(iter(collection.config.vectors)))  # of several, the first stands for all
        except (CollectionNotFound, DamagedData):  # deleted meanwhile, or not loaded
            continue
    return infos
