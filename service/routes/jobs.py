"""Work in the background: lowering a collection's rate, and what becomes of each job."""

from dataclasses import asdict
from typing import Annotated, Any

import anyio.to_thread
from fastapi import APIRouter, Path, Request, Response

from index_store import JobRecord
from service.answers import answer
from service.bodies import read_body
from service.jobs import keeping_steps
from service.parameters import Served
from service.points_json import DEFAULT
from service.routes.collections import CollectionName
from service.schemas import Reencode

router = APIRouter(tags=["jobs"])

JobId = Annotated[str, Path(alias="job_id")]
BODY = {"requestBody": {"content": {"application/json": {"schema": Reencode.model_json_schema()}}}}


@router.post(
    "/collections/{collection_name}/reencode",
    summary="Keep the first steps of every code",
    status_code=202,
    openapi_extra=BODY,
)
async def reencode(request: Request, serving: Served, name: CollectionName) -> Response:
    collection = serving.collection(name)
    body = await read_body(request, Reencode)
    using = body.using or DEFAULT
    await anyio.to_thread.run_sync(collection.check_steps, body.steps, using)
    work = keeping_steps(collection, body.steps, using)
    parameters = {"steps": body.steps, "using": body.using or ""}
    record = await anyio.to_thread.run_sync(serving.jobs.begin, "reencode", name, parameters, work)
    return answer(request, _json(record), status=202)


@router.get("/jobs", summary="The jobs of late, the newest first")
async def list_all(request: Request, serving: Served) -> Response:
    records = await anyio.to_thread.run_sync(serving.jobs.all)
    return answer(request, {"jobs": [_json(record) for record in records]})


@router.get("/jobs/{job_id}", summary="One job")
async def get(request: Request, serving: Served, id: JobId) -> Response:
    return answer(request, _json(await anyio.to_thread.run_sync(serving.jobs.get, id)))


@router.delete("/jobs/{job_id}", summary="Cancel a job")
async def cancel(request: Request, serving: Served, id: JobId) -> Response:
    return answer(request, _json(await anyio.to_thread.run_sync(serving.jobs.cancel, id)))


def _json(record: JobRecord) -> dict[str, Any]:
    return asdict(record)
