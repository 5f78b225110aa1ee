"""What PATCH changes of a collection: how it is searched by default, how it encodes from now on, its metadata."""

from dataclasses import replace
from typing import Any

from index_store import CollectionConfig
from index_store.json_path import merge
from service.collection_config import kept_of
from service.errors import MalformedRequest
from service.schemas.collections import EncodingParams, UpdateCollection
from service.schemas.queries import QuantizationParams, SearchParams
from service.vector_names import DEFAULT, stored_name, vectors_told

REPORTED = ("hnsw_config", "optimizers_config")
"""Accepted, reported as Qdrant's clients expect, and without effect."""


def changed(config: CollectionConfig, body: UpdateCollection) -> CollectionConfig:
    """The config with the changes of a body; what a body leaves out stays, a null in `metadata` deletes a key."""
    kept = kept_of(config)
    if body.metadata is not None:
        if "codes" in body.metadata:
            raise MalformedRequest("'metadata.codes' is read when a collection is made; change 'codes' instead.")
        kept["metadata"] = dict(kept.get("metadata") or {})
        merge(kept["metadata"], body.metadata)
    if body.search is not None:
        kept["search"] = {**(kept.get("search") or {}), **body.search.model_dump(exclude_none=True)}
        for name in body.search.model_fields_set:
            if getattr(body.search, name) is None:
                kept["search"].pop(name, None)
    kept["given"] = {**kept["given"]}
    for name in REPORTED:
        if (value := getattr(body, name)) is not None:
            kept["given"][name] = {**kept["given"].get(name, {}), **value}
    for key, value in (body.params or {}).items():
        kept["given"][key] = value
    kept["vectors"] = _with_vectors(config, body.vectors or {})
    return replace(config, codes=_with_codes(config, body.codes), metadata=kept)


def with_defaults(given: SearchParams | None, config: CollectionConfig) -> SearchParams:
    """A query's parameters, and the collection's own for those that it leaves out."""
    own = config.metadata.get("search")
    if not own:
        return given or SearchParams()
    default = SearchParams.model_validate(own)
    if given is None:
        return default
    merged = {name: _either(getattr(given, name), getattr(default, name)) for name in SearchParams.model_fields}
    if given.quantization is not None and default.quantization is not None:
        pair = given.quantization, default.quantization
        names = QuantizationParams.model_fields
        merged["quantization"] = QuantizationParams(
            **{name: _either(getattr(pair[0], name), getattr(pair[1], name)) for name in names}
        )
    return SearchParams.model_construct(**merged)


def _either(value: Any, default: Any) -> Any:
    return default if value is None else value


def _with_codes(config: CollectionConfig, given: EncodingParams | dict[str, EncodingParams] | None) -> dict[str, Any]:
    by_name = given if isinstance(given, dict) else {} if given is None else {DEFAULT: given}
    codes = {name: config.codes_of(name) for name in config.vectors}
    for name, one in by_name.items():
        name = _stored(name, config, "codes")
        changes = {key: getattr(one, key) for key in one.model_fields_set}
        codes[name] = replace(codes[name], **changes)
    return codes


def _with_vectors(config: CollectionConfig, given: dict[str, Any]) -> dict[str, Any]:
    kept = {name: dict(one) for name, one in kept_of(config)["vectors"].items()}
    for name, one in given.items():
        kept.setdefault(_stored(name, config, "vectors"), {}).update(one.model_dump(exclude_none=True))
    return kept


def _stored(name: str, config: CollectionConfig, where: str) -> str:
    stored = stored_name(name)
    if stored not in config.vectors:
        raise MalformedRequest(f"'{where}.{name}': there is no such vector; {vectors_told(config)}.")
    return stored
