"""What a condition is asked about: one point."""

from typing import Any, NamedTuple

from index_store.stored_forms import StoredId


class Point(NamedTuple):
    """A point as conditions see it.

    id       as SQLite keeps it; None for an object inside an array, which is no point
    vectors  the names of the vectors that it has
    """

    id: StoredId | None
    payload: dict[str, Any]
    vectors: frozenset[str] = frozenset()
