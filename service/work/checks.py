"""What makes a job impossible, told before it begins."""

from typing import Any

from index_store import Collection, Store
from index_store.errors import InvalidConfig, ModelExists
from service.vector_names import DEFAULT
from service.work.encode_anew import codes_to_be

LEAST_VECTORS = 512


def check_encode_anew(store: Store, name: str, parameters: dict[str, Any]) -> None:
    """Raise why a collection cannot be encoded with the model that a job's parameters name."""
    using = parameters["using"] or DEFAULT
    store.check_reencode(name, using, codes_to_be(store.collection(name), using, parameters))


def check_recall(collection: Collection, using: str) -> None:
    """Raise InvalidConfig where there are no codes to measure, or no originals to compare with."""
    if collection.info(using).code_bytes == 0:
        raise InvalidConfig("This collection is searched exactly: its recall is 1.")
    if collection.config.codes_of(using).originals == "none":
        raise InvalidConfig("This collection keeps no originals, so there is nothing to compare its answers with.")


def check_train(store: Store, collection: Collection, using: str, model: str) -> None:
    """Raise InvalidConfig or ModelExists where a model of this name cannot be trained on a collection's vectors."""
    points = collection.info(using).points
    if collection.config.vectors[using].distance == "Manhattan":
        raise InvalidConfig("Manhattan is served exactly: a codec would not be used.")
    if collection.config.codes_of(using).originals == "none":
        raise InvalidConfig("This collection keeps no originals, so there is nothing to train on.")
    if points < LEAST_VECTORS:
        raise InvalidConfig(f"{points} vectors are too few to train a codec on: bring at least {LEAST_VECTORS}.")
    if model in {record.name for record in store.models()}:
        raise ModelExists(f"There is a model '{model}' already: delete it first, or choose another name.")
