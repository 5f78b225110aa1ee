"""Paths of Qdrant that are not served here, each with the sentence that says what is instead."""

import re

_ONE_MACHINE = (
    "There is one machine and one shard here, so there is nothing to tell or change about clusters and shards."
)

UNSERVED = [
    (re.compile(r"/cluster(/.*)?|/collections/[^/]+/(cluster|shards)(/.*)?"), _ONE_MACHINE),
    (
        re.compile(r"/collections/[^/]+/vectors/[^/]+"),
        "Named vectors are declared when a collection is made; make another with all of them, and let an alias stand "
        "for it.",
    ),
    (
        re.compile(r"/collections/[^/]+/optimizations"),
        "There are no optimizers here: GET /collections/NAME tells what waits to be encoded, GET /jobs what is done.",
    ),
    (
        re.compile(r"/snapshots/[^/]+"),
        "Snapshots of the whole storage are not served: take one of each collection, by POST "
        "/collections/NAME/snapshots.",
    ),
    (
        re.compile(r"/dashboard(/.*)?"),
        "There is no web interface here: GET /metrics and the Grafana dashboard in docker/ show how the service does.",
    ),
    (re.compile(r"/telemetry"), "No telemetry is collected: GET /metrics tells what the service does."),
    (re.compile(r"/issues"), "No issues are collected: a collection's 'warnings' tell what to know about it."),
    (re.compile(r"/locks"), "Collections cannot be locked; a read-only key keeps its holder from changing them."),
]


def why_unserved(path: str) -> str | None:
    """What to say of a path of Qdrant's; None for one that it does not know either."""
    return next((told for pattern, told in UNSERVED if pattern.fullmatch(path)), None)
