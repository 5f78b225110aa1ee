"""Other names of collections: they are taken wherever a collection's name is."""

from typing import Any

import anyio.to_thread
from fastapi import APIRouter, Request, Response

from index_store.aliases import AliasAction, CreateAlias, DeleteAlias, RenameAlias
from service.answers import answer
from service.bodies import read_body
from service.errors import MalformedRequest
from service.parameters import Served, Timeout, within
from service.routes.changes import json_body
from service.routes.collections import CollectionName
from service.schemas import collections as schemas

router = APIRouter(tags=["aliases"])


@router.post(
    "/collections/aliases", summary="Change aliases, all or none", openapi_extra=json_body(schemas.ChangeAliases)
)
async def change(request: Request, serving: Served, timeout: Timeout = None) -> Response:
    body = await read_body(request, schemas.ChangeAliases)
    actions = [_action(one, place) for place, one in enumerate(body.actions)]
    await within(timeout, anyio.to_thread.run_sync(serving.store.change_aliases, actions))
    return answer(request, True)


@router.get("/aliases", summary="All aliases")
async def list_all(request: Request, serving: Served) -> Response:
    return answer(request, _json(serving.store.aliases()))


@router.get("/collections/{collection_name}/aliases", summary="The aliases of a collection")
async def of_collection(request: Request, serving: Served, name: CollectionName) -> Response:
    collection = serving.collection(name).name
    return answer(request, _json({alias: of for alias, of in serving.store.aliases().items() if of == collection}))


def _action(one: schemas.AliasOperation, place: int) -> AliasAction:
    given = [action for action in (one.create_alias, one.delete_alias, one.rename_alias) if action is not None]
    if len(given) != 1:
        raise MalformedRequest(f"actions[{place}] must have one of create_alias, delete_alias and rename_alias.")
    (action,) = given
    if isinstance(action, schemas.CreateAlias):
        return CreateAlias(action.alias_name, action.collection_name)
    if isinstance(action, schemas.DeleteAlias):
        return DeleteAlias(action.alias_name)
    return RenameAlias(action.old_alias_name, action.new_alias_name)


def _json(aliases: dict[str, str]) -> dict[str, Any]:
    return {"aliases": [{"alias_name": alias, "collection_name": name} for alias, name in sorted(aliases.items())]}
