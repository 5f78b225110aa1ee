"""A life of a data folder, made from a seed: what is done to a store, and to the oracle beside it."""

import random
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from index_store import CodesConfig, CollectionConfig, Filter, Store, VectorConfig
from index_store.payload_change import setting
from tests.builders import clustered, tiny_codec
from tests.torture.oracle import Oracle

DIM = 8
STRIPE_ROWS = 64
IDS = 150
MODELS = {"lists": 8, "bare": 0}

# name → model, how originals are kept
KINDS = {"lists": ("lists", "float32"), "bare": ("bare", "float32"), "exact": ("none", "float32"),
         "codes": ("lists", "none")}  # fmt: skip


@dataclass(frozen=True)
class Step:
    """One thing that is done: its effect on a store, and on the oracle (none, for what users must not notice)."""

    what: str
    act: Callable[[Store], Any]
    effect: Callable[[Oracle], None] | None = None


@lru_cache(maxsize=8)
def steps(seed: int, count: int) -> list[Step]:
    """What is done, the same for the same seed: models and collections first, then `count` steps."""
    rng = random.Random(seed)
    made = [_put_model(name, lists) for name, lists in MODELS.items()]
    made += [_create(kind) for kind in KINDS]
    return made + list(_mixed(rng, count))


def _mixed(rng: random.Random, count: int) -> Iterator[Step]:
    choices: list[tuple[int, Callable[[random.Random], list[Step]]]] = [
        (8, _upsert),
        (3, _delete),
        (1, _delete_matching),
        (2, _change_payloads),
        (6, _encode),
        (4, _merge),
        (1, _snapshot_and_restore),
        (1, _keep_steps),
        (1, _recreate),
    ]
    weights = [weight for weight, _ in choices]
    for _ in range(count):
        ((_, choose),) = rng.choices(choices, weights)
        yield from choose(rng)


@cache
def _checkpoint(lists: int) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return tiny_codec(Path(folder), dim=DIM, lists=lists).read_bytes()


def _put_model(name: str, lists: int) -> Step:
    data = _checkpoint(lists)

    def act(store: Store) -> None:
        store.put_model(name, data)

    return Step("put_model", act)


def _create(kind: str) -> Step:
    model, originals = KINDS[kind]
    config = CollectionConfig(
        {"default": VectorConfig(DIM, "Euclid")}, {"default": CodesConfig(model, originals)}, {"of": kind}
    )
    return Step("create", lambda store: store.create_collection(kind, config), lambda oracle: oracle.create(kind))


def _upsert(rng: random.Random) -> list[Step]:
    name, n = rng.choice(list(KINDS)), rng.choice([1, 3, 10, 40])
    ids = rng.sample(range(IDS), n)
    vectors = clustered(n, DIM, seed=rng.randrange(2**31))
    payloads = [{"colour": rng.choice(["red", "blue"]), "id": id} if rng.random() < 0.7 else None for id in ids]

    def act(store: Store) -> None:
        store.collection(name).upsert(np.array(ids, np.uint64), {"default": vectors}, payloads)

    return [Step("upsert", act, lambda oracle: oracle.upsert(name, ids, vectors, payloads))]


def _delete(rng: random.Random) -> list[Step]:
    name, ids = rng.choice(list(KINDS)), rng.sample(range(IDS), rng.choice([1, 10, 60]))
    return [Step("delete", lambda store: store.collection(name).delete(ids), lambda oracle: oracle.delete(name, ids))]


def _delete_matching(rng: random.Random) -> list[Step]:
    name, colour = rng.choice(list(KINDS)), rng.choice(["red", "blue"])
    condition = Filter.parse({"must": [{"key": "colour", "match": {"value": colour}}]})
    return [
        Step(
            "delete_matching",
            lambda store: store.collection(name).delete(condition),
            lambda oracle: oracle.delete_matching(name, "colour", colour),
        )
    ]


def _change_payloads(rng: random.Random) -> list[Step]:
    name, colour, seen = rng.choice(list(KINDS)), rng.choice(["red", "blue"]), rng.randrange(1000)
    condition = Filter.parse({"must": [{"key": "colour", "match": {"value": colour}}]})
    return [
        Step(
            "payload",
            lambda store: store.collection(name).change_payloads(condition, setting({"seen": seen})),
            lambda oracle: oracle.set_payload(name, "colour", colour, {"seen": seen}),
        )
    ]


def _encode(rng: random.Random) -> list[Step]:
    name, rows = rng.choice(list(KINDS)), rng.choice([5, 20, 100])
    return [Step("encode", lambda store: store.collection(name).encode_pending(rows))]


def _merge(rng: random.Random) -> list[Step]:
    name = rng.choice(list(KINDS))
    return [Step("merge", lambda store: store.collection(name).merge())]


def _keep_steps(rng: random.Random) -> list[Step]:
    name, steps = rng.choice(["lists", "bare", "codes"]), rng.choice([3, 2])

    def act(store: Store) -> None:
        if store.collection(name).info().steps > steps:
            store.collection(name).codes.keep_steps(steps, "default", lambda share: None)

    return [Step("keep_steps", act)]


def _snapshot_and_restore(rng: random.Random) -> list[Step]:
    """What is put back is what is there: no user may notice it."""
    name = rng.choice(list(KINDS))

    def act(store: Store) -> None:
        record = store.create_snapshot(name)
        store.restore_snapshot(name, store.snapshots.path(name, record.name))
        store.snapshots.delete(name, record.name)

    return [Step("snapshot", act)]


def _recreate(rng: random.Random) -> list[Step]:
    name = rng.choice(list(KINDS))
    drop = Step("drop", lambda store: store.delete_collection(name), lambda oracle: oracle.drop(name))
    return [drop, _create(name)]
