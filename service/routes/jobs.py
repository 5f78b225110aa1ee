"""Work in the background: lowering a collection's rate, encoding it anew, training; what becomes of each job."""

from dataclasses import asdict
from typing import Annotated, Any

import anyio.to_thread
from fastapi import APIRouter, Path, Request, Response

from index_store import JobRecord
from service.answers import answer
from service.bodies import read_body
from service.durations import seconds
from service.parameters import Served
from service.routes.changes import json_body
from service.routes.collections import CollectionName
from service.schemas.jobs import MeasureRecall, Reencode, TrainModel
from service.serving import Serving
from service.vector_names import DEFAULT
from service.work import RECALL, REENCODE, TRAIN, check_encode_anew, check_recall, check_train

router = APIRouter(tags=["jobs"])

JobId = Annotated[str, Path(alias="job_id")]


@router.post(
    "/collections/{collection_name}/reencode",
    summary="Keep the first steps of every code, or encode with another model",
    status_code=202,
    openapi_extra=json_body(Reencode),
)
async def reencode(request: Request, serving: Served, name: CollectionName) -> Response:
    collection = serving.collection(name)
    body = await read_body(request, Reencode)
    using = body.using or DEFAULT
    parameters: dict[str, Any] = {"using": body.using or ""}
    if body.steps is not None:
        parameters = {"steps": body.steps} | parameters
        await anyio.to_thread.run_sync(collection.codes.check_steps, body.steps, using)
    else:
        assert body.model is not None, "the schema asks for one of the two"
        parameters |= {"model": body.model, "candidates": body.candidates, "beam": body.beam}
        await anyio.to_thread.run_sync(check_encode_anew, serving.store, collection.name, parameters)
    return await _begun(request, serving, REENCODE, collection.name, parameters)


@router.post(
    "/collections/{collection_name}/train",
    summary="Train a codec on a collection's vectors",
    status_code=202,
    openapi_extra=json_body(TrainModel),
)
async def train(request: Request, serving: Served, name: CollectionName) -> Response:
    collection = serving.collection(name)
    body = await read_body(request, TrainModel)
    parameters = {
        "using": body.using or "",
        "bytes": body.bytes,
        "preset": body.preset,
        "time_budget_s": seconds(body.time_budget),
        "name": body.name,
        "apply": body.apply,
        "by_itself": False,
    }
    await anyio.to_thread.run_sync(check_train, serving.store, collection, body.using or DEFAULT, body.name)
    return await _begun(request, serving, TRAIN, collection.name, parameters)


@router.post(
    "/collections/{collection_name}/recall",
    summary="Measure recall, and what it takes to reach more of it",
    status_code=202,
    openapi_extra=json_body(MeasureRecall),
)
async def recall(request: Request, serving: Served, name: CollectionName) -> Response:
    collection = serving.collection(name)
    body = await read_body(request, MeasureRecall)
    await anyio.to_thread.run_sync(check_recall, collection, body.using or DEFAULT)
    parameters = {"using": body.using or "", "limit": body.limit, "sample": body.sample}
    return await _begun(request, serving, RECALL, collection.name, parameters)


@router.get("/jobs", summary="The jobs of late, the newest first")
async def list_all(request: Request, serving: Served) -> Response:
    records = await anyio.to_thread.run_sync(serving.jobs.all)
    return answer(request, {"jobs": [_json(record) | {"log": []} for record in records]})


@router.get("/jobs/{job_id}", summary="One job")
async def get(request: Request, serving: Served, id: JobId) -> Response:
    return answer(request, _json(await anyio.to_thread.run_sync(serving.jobs.get, id)))


@router.get("/jobs/{job_id}/report", summary="One page on a training, in Markdown")
async def report(serving: Served, id: JobId) -> Response:
    page = await anyio.to_thread.run_sync(serving.jobs.report, id)
    return Response(page, media_type="text/markdown; charset=utf-8")


@router.delete("/jobs/{job_id}", summary="Cancel a job")
async def cancel(request: Request, serving: Served, id: JobId) -> Response:
    return answer(request, _json(await anyio.to_thread.run_sync(serving.jobs.cancel, id)))


async def _begun(request: Request, serving: Serving, kind: str, name: str, parameters: dict[str, Any]) -> Response:
    record = await anyio.to_thread.run_sync(serving.jobs.begin, kind, name, parameters)
    return answer(request, _json(record), status=202)


def _json(record: JobRecord) -> dict[str, Any]:
    """The log of a job that has ended is kept in its result."""
    told = asdict(record)
    if record.result is not None and "log" in record.result:
        told["log"] = record.result["log"]
        told["result"] = {key: value for key, value in record.result.items() if key != "log"}
    return told
