"""What /openapi.json says: FastAPI's list of calls, with the answers, refusals and keys that it cannot know of."""

import re
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from service.answer_schemas import FILES, LINKS, NUMBER, OBJECT, RESULTS, TEXT, Schema, record
from service.routes.changes import tell_bodies
from service.security import OPEN

REFUSED: Schema = record({"status": record({"error": TEXT}), "time": NUMBER})
PLAIN = {"text/plain": {"schema": TEXT}}


def describe_calls(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document of an app; every call has its answers, in the envelope or not, and its refusals."""
    document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    tell_bodies(call for calls in document["paths"].values() for call in calls.values())
    components = document.setdefault("components", {})
    components["schemas"] = {"Refusal": REFUSED} | _hoisted(document["paths"])
    components["responses"] = {
        "Refused": _response(
            "Refused, with a sentence that says why", "application/json", "#/components/schemas/Refusal"
        ),
        "NoKey": {"description": "No key, or a wrong one", "content": PLAIN},
    }
    components["securitySchemes"] = {
        "key": {"type": "apiKey", "in": "header", "name": "api-key"},
        "bearer": {"type": "http", "scheme": "bearer"},
    }
    for path, calls in document["paths"].items():
        for method, call in calls.items():
            _describe(call, method, path)
    for (method, path), found in LINKS.items():
        _link(document["paths"], document["paths"][path][method], found)
    return document


def _describe(call: dict[str, Any], method: str, path: str) -> None:
    success = next(status for status in call["responses"] if status.startswith("2"))
    if (method, path) in FILES:
        kind, schema = FILES[method, path]
        call["responses"] = {success: {"description": "Done", "content": {kind: {"schema": schema}}}}
    else:
        envelope = _envelope(RESULTS[method, path])
        done = {"description": "Done", "content": {"application/json": {"schema": envelope}}}
        call["responses"] = {success: done}
        if any(parameter["name"] == "wait" for parameter in call.get("parameters", [])) and "snapshots" in path:
            call["responses"]["202"] = done
    is_health = path in ("/readyz", "/healthz")
    call["responses"] |= {"4XX": {"$ref": "#/components/responses/Refused"}}
    call["responses"] |= {
        "5XX": {"description": "Not ready", "content": PLAIN} if is_health else call["responses"]["4XX"]
    }
    if (method.upper(), path) not in OPEN:
        call["responses"]["401"] = {"$ref": "#/components/responses/NoKey"}
        call["security"] = [{"key": []}, {"bearer": []}, {}]  # none where the service has no key


def _link(paths: dict[str, Any], call: dict[str, Any], found: dict[str, str]) -> None:
    """Links a call's success to every call whose whole path it knows, and that takes all of what it made."""
    links = {
        following["operationId"]: {"operationId": following["operationId"], "parameters": found}
        for path, calls in paths.items()
        if set(re.findall(r"{(\w+)}", path)) == found.keys()
        for following in calls.values()
        if following is not call
    }
    for status, response in call["responses"].items():
        if status.startswith("2"):
            call["responses"][status] = response | {"links": links}


def _envelope(result: Schema) -> Schema:
    return record({"result": result, "status": {"const": "ok"}, "time": NUMBER}, {"usage": OBJECT})


def _response(meaning: str, kind: str, ref: str) -> dict[str, Any]:
    return {"description": meaning, "content": {kind: {"schema": {"$ref": ref}}}}


def _hoisted(node: Any) -> dict[str, Schema]:
    """Takes pydantic's `$defs` out of bodies, whose references lead to the document's root, for its components."""
    found: dict[str, Schema] = {}
    if isinstance(node, dict):
        for name, schema in node.pop("$defs", {}).items():
            found[name] = schema
            found |= _hoisted(schema)
        reference = node.get("$ref")
        if isinstance(reference, str):
            node["$ref"] = reference.replace("#/$defs/", "#/components/schemas/")
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        found |= _hoisted(child)
    return found
