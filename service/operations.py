"""Changes of points as JSON says them: each is read and checked whole, then made by one call of the collection."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from index_store import Collection, PointId
from index_store import payload_change as changes
from index_store.deferred import UpdateMode
from index_store.filters import Filter
from model.errors import QincoError
from service.bodies import checked
from service.errors import MalformedRequest
from service.point_ids import point_id, point_ids
from service.points_json import named_vectors, read_points
from service.schemas.points import (
    Batch,
    ClearPayload,
    DeletePayload,
    DeletePoints,
    DeleteVectors,
    OverwritePayload,
    Selected,
    SetPayload,
    UpdateVectors,
)
from service.vector_names import stored_name

Operation = Callable[[], int]
"""Makes a change that was checked; returns the operation's id."""


def upsert(collection: Collection, body: Any) -> Operation:
    """Write points; `update_mode` and `update_filter` spare some."""
    points = read_points(body, collection.config)
    condition = _condition(body.get("update_filter"))
    mode: UpdateMode = body.get("update_mode") or "upsert"
    return partial(collection.upsert, points.ids, points.vectors, points.payloads, points.places, mode, condition)


def delete(collection: Collection, body: Any) -> Operation:
    """Delete points."""
    return partial(collection.delete, _chosen(checked(DeletePoints, body)))


def set_payload(collection: Collection, body: Any) -> Operation:
    """Set keys of payloads, at a path if there is one."""
    one = checked(SetPayload, body)
    return partial(collection.change_payloads, _chosen(one), changes.setting(one.payload, one.key))


def overwrite_payload(collection: Collection, body: Any) -> Operation:
    """Put payloads in the place of others; at a path, the same as setting."""
    one = checked(OverwritePayload, body)
    change = changes.overwriting(one.payload) if one.key is None else changes.setting(one.payload, one.key)
    return partial(collection.change_payloads, _chosen(one), change)


def delete_payload(collection: Collection, body: Any) -> Operation:
    """Delete keys of payloads."""
    one = checked(DeletePayload, body)
    return partial(collection.change_payloads, _chosen(one), changes.deleting(one.keys))


def clear_payload(collection: Collection, body: Any) -> Operation:
    """Leave points without payload."""
    return partial(collection.change_payloads, _chosen(checked(ClearPayload, body)), changes.clearing())


def update_vectors(collection: Collection, body: Any) -> Operation:
    """Give points other vectors; what they have besides stays."""
    one = checked(UpdateVectors, body)
    ids: list[PointId] = [point_id(point.id, f"points[{place}].id") for place, point in enumerate(one.points)]
    vectors, places = named_vectors([point.vector for point in one.points], collection.config)
    given = {name: some for name, some in vectors.items() if len(some)}
    if not ids or len(set().union(*(places[name].tolist() for name in given))) < len(ids):
        raise MalformedRequest("Each of 'points' needs a vector, and there must be at least one.")
    return partial(collection.replace_vectors, ids, given, places, _condition(one.update_filter))


def delete_vectors(collection: Collection, body: Any) -> Operation:
    """Take vectors away from points."""
    one = checked(DeleteVectors, body)
    return partial(collection.take_vectors, _chosen(one), [stored_name(name) for name in one.vector])


OPERATIONS: dict[str, Callable[[Collection, Any], Operation]] = {
    "upsert": upsert,
    "delete": delete,
    "set_payload": set_payload,
    "overwrite_payload": overwrite_payload,
    "delete_payload": delete_payload,
    "clear_payload": clear_payload,
    "update_vectors": update_vectors,
    "delete_vectors": delete_vectors,
}


def batch(collection: Collection, body: Any) -> list[int]:
    """Make several changes in order, once all of them are known to be well-formed; returns the operations' ids."""
    operations: list[Operation] = []
    for place, one in enumerate(checked(Batch, body).operations):
        kinds = [kind for kind in one if kind in OPERATIONS]
        if len(kinds) != 1 or len(one) != 1:
            raise MalformedRequest(f"operations[{place}] must have one of {', '.join(OPERATIONS)}; it has {list(one)}.")
        with _telling_where(place, 0):
            operations.append(OPERATIONS[kinds[0]](collection, one[kinds[0]]))
    made: list[int] = []
    for place, operation in enumerate(operations):
        with _telling_where(place, len(made)):
            made.append(operation())
    return made


@contextmanager
def _telling_where(place: int, made: int) -> Iterator[None]:
    """Name the operation in the sentence of an error, and say how many before it were made."""
    try:
        yield
    except QincoError as error:
        before = f" The {made} before it were made." if made else ""
        raise type(error)(f"operations[{place}]: {error}{before}") from error


def _chosen(body: Selected) -> list[PointId] | Filter:
    if (body.points is None) == (body.filter is None):
        raise MalformedRequest("Give either 'points' or 'filter', to say which points are meant.")
    return Filter.parse(body.filter) if body.points is None else point_ids(body.points, "points")


def _condition(value: Any) -> Filter | None:
    return None if value is None else Filter.parse(value)
