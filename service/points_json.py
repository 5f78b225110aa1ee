"""Points from JSON into arrays: as a list of points, as Qdrant's batch, or as our plain columns."""

from collections.abc import Callable
from dataclasses import dataclass
from operator import countOf
from struct import Struct
from struct import error as StructError
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index_store import CollectionConfig, PointId
from model.errors import DimensionMismatch, InvalidVectors
from service.bodies import checked
from service.errors import MalformedRequest, NotServed
from service.point_ids import point_ids
from service.schemas.points import PointsOptions
from service.vector_names import DEFAULT, stored_name, vectors_told

Float32 = NDArray[np.float32]
Ids = list[PointId] | NDArray[np.uint64]
Places = dict[str, NDArray[np.int64]]
# What an error calls the vector of a row.
Called = Callable[[int], str]


def numbered(what: str, first: int = 0) -> Called:
    """What errors call the vectors of rows that are counted from `first`: `Point 3`."""
    return lambda row: f"{what} {first + row}"


POINTS = numbered("Point")
NOT_EMBEDDED = "texts, images and other objects are not embedded here; send a list of numbers."


@dataclass(frozen=True)
class Points:
    """What an upsert writes: n ids, vectors by name, n payloads or None.

    Where a vector is lacking, `vectors[name]` [m, dim] are those of the points at `places[name]` [m]; else [n, dim].
    """

    ids: Ids
    vectors: dict[str, Float32]
    payloads: list[dict[str, Any] | None] | None = None
    places: Places | None = None

    def part(self, start: int, stop: int) -> "Points":
        """The points from `start` to before `stop`."""
        ids, payloads = self.ids[start:stop], None if self.payloads is None else self.payloads[start:stop]
        if self.places is None:
            return Points(ids, {name: rows[start:stop] for name, rows in self.vectors.items()}, payloads)
        has = {name: (start <= places) & (places < stop) for name, places in self.places.items()}
        vectors = {name: rows[has[name]] for name, rows in self.vectors.items()}
        return Points(ids, vectors, payloads, {name: self.places[name][has[name]] - start for name in has})


def read_points(body: Any, config: CollectionConfig, columns_at_top: bool = False) -> Points:
    """Everything checked but what only the store knows; raises MalformedRequest, DimensionMismatch, InvalidVectors."""
    if not isinstance(body, dict):
        raise MalformedRequest("The body must be a JSON object with 'points' or 'batch'.")
    forms = ["points", "batch"] + (["ids"] if columns_at_top else [])
    given = [form for form in forms if form in body]
    if len(given) != 1:
        raise MalformedRequest(f"The body must have one of {', '.join(map(repr, forms))}; it has {given or 'none'}.")
    if given == ["ids"]:
        return _from_columns(body, config)
    checked(PointsOptions, {key: value for key, value in body.items() if key != given[0]})
    return _from_list(body["points"], config) if given == ["points"] else _from_columns(body["batch"], config, "batch.")


def as_array(rows: list[Any], dim: int, called: Called = POINTS) -> Float32:
    """JSON numbers as float32 [n, dim]; raises naming the first row that is no vector of `dim` finite numbers."""
    for place, row in enumerate(rows):
        if not isinstance(row, list):
            raise _not_a_vector(row, called(place))
        if len(row) != dim:
            if row and isinstance(row[0], list):
                raise NotServed(f"{called(place)}: multi-vectors are not served; send one list of numbers.")
            raise DimensionMismatch(f"{called(place)}: this collection holds vectors of {dim} numbers, not {len(row)}.")
        if countOf(map(type, row), float) != dim and not set(map(type, row)) <= {float, int}:  # counting is faster
            raise MalformedRequest(f"{called(place)}: a vector holds numbers only.")
    try:
        array = _converted(rows, dim)
    except OverflowError as error:
        raise InvalidVectors("A vector has a number that float32 cannot hold.") from error
    check_finite(array, called)
    return array


def _converted(rows: list[list[int | float]], dim: int) -> Float32:
    """Rows of so many numbers as float32 [n, dim]; raises OverflowError for an integer beyond all floats."""
    pack = Struct(f"<{dim}f").pack  # a quarter of the time that NumPy takes
    try:
        return np.frombuffer(bytearray().join(pack(*row) for row in rows), "<f4").reshape(len(rows), dim)
    except (OverflowError, StructError):
        with np.errstate(over="ignore"):  # beyond float32 becomes infinity, which is refused with its place
            return np.array(rows, dtype=np.float32).reshape(len(rows), dim)


def check_finite(array: Float32, called: Called = POINTS) -> None:
    """Raises InvalidVectors naming the first of the rows that has NaN or infinity."""
    finite = np.isfinite(array).all(axis=1)
    if not finite.all():
        row = int(finite.argmin())
        place = int(np.isfinite(array[row]).argmin())
        raise InvalidVectors(f"{called(row)}: number {place} is {array[row, place]}; every number must be finite.")


def check_payloads(payloads: Any, n: int, where: str = "payloads") -> list[dict[str, Any] | None]:
    """Raises MalformedRequest unless there are n objects or nulls."""
    if not isinstance(payloads, list) or len(payloads) != n:
        got = len(payloads) if isinstance(payloads, list) else type(payloads).__name__
        raise MalformedRequest(f"'{where}' must have one entry for each of the {n} ids; it has {got}.")
    for place, payload in enumerate(payloads):
        if payload is not None and not isinstance(payload, dict):
            raise MalformedRequest(f"'{where}[{place}]' must be an object or null.")
    return payloads


def _from_list(points: Any, config: CollectionConfig) -> Points:
    if not isinstance(points, list):
        raise MalformedRequest("'points' must be an array.")
    for place, point in enumerate(points):
        _check_point(point, place)
    vectors, places = named_vectors([point["vector"] for point in points], config)
    return Points(
        point_ids((point["id"] for point in points), "points"),
        vectors,
        check_payloads([point.get("payload") for point in points], len(points)),
        None if all(len(some) == len(points) for some in places.values()) else places,
    )


def named_vectors(given: list[Any], config: CollectionConfig) -> tuple[dict[str, Float32], Places]:
    """Of each name float32 [m, dim], and the places [m] of the points that have it; a bare list is the unnamed one."""
    rows: dict[str, list[Any]] = {name: [] for name in config.vectors}
    places: dict[str, list[int]] = {name: [] for name in config.vectors}
    for place, vector in enumerate(given):
        for name, row in _by_name(vector, config, place).items():
            rows[name].append(row)
            places[name].append(place)
    return (
        {name: _of_points(some, config.vectors[name].size, places[name]) for name, some in rows.items()},
        {name: np.array(some, np.int64) for name, some in places.items()},
    )


def _of_points(rows: list[Any], dim: int, places: list[int]) -> Float32:
    return as_array(rows, dim, lambda row: POINTS(places[row]))


def _check_point(point: Any, place: int) -> None:
    if not isinstance(point, dict):
        raise MalformedRequest(f"Point {place} must be an object with 'id' and 'vector'.")
    for key in ("id", "vector"):
        if key not in point:
            raise MalformedRequest(f"Point {place} has no '{key}'.")
    unknown = point.keys() - {"id", "vector", "payload"}
    if unknown:
        raise MalformedRequest(f"Unknown parameter 'points[{place}].{min(unknown)}'.")


def _by_name(vector: Any, config: CollectionConfig, place: int) -> dict[str, Any]:
    if not isinstance(vector, dict):
        if config.vectors.keys() != {DEFAULT}:
            raise MalformedRequest(
                f"Point {place}: this collection has named vectors; send an object with {sorted(config.vectors)}."
            )
        return {DEFAULT: vector}
    given = {stored_name(key): value for key, value in vector.items()}
    _refuse_other_vectors(given, config, f"Point {place}")
    return given


def _from_columns(body: Any, config: CollectionConfig, prefix: str = "") -> Points:
    if not isinstance(body, dict):
        raise MalformedRequest("'batch' must be an object with 'ids' and 'vectors'.")
    unknown = body.keys() - {"ids", "vectors", "payloads"}
    if unknown:
        raise MalformedRequest(f"Unknown parameter '{prefix}{min(unknown)}'.")
    ids, vectors = body.get("ids"), body.get("vectors")
    if not isinstance(ids, list) or not isinstance(vectors, list | dict):
        raise MalformedRequest(f"'{prefix}ids' and '{prefix}vectors' must be arrays.")
    columns = (
        {stored_name(key): rows for key, rows in vectors.items()} if isinstance(vectors, dict) else {DEFAULT: vectors}
    )
    _refuse_other_vectors(columns, config, f"'{prefix}vectors'")
    for rows in columns.values():
        if not isinstance(rows, list) or len(rows) != len(ids):
            got = len(rows) if isinstance(rows, list) else "none"
            raise MalformedRequest(
                f"'{prefix}ids' has {len(ids)} entries, '{prefix}vectors' {got}; they must be as many."
            )
    lacking = config.vectors.keys() - columns.keys()
    all_places = {name: np.arange(0 if name in lacking else len(ids)) for name in config.vectors}
    return Points(
        point_ids(ids, prefix + "ids"),
        {name: as_array(columns.get(name, []), config.vectors[name].size) for name in config.vectors},
        None if body.get("payloads") is None else check_payloads(body["payloads"], len(ids), prefix + "payloads"),
        all_places if lacking else None,
    )


def _refuse_other_vectors(given: dict[str, Any], config: CollectionConfig, where: str) -> None:
    if {"indices", "values"} <= given.keys():
        raise NotServed(f"{where}: sparse vectors are not served.")
    if "model" in given and given.keys() & {"text", "image", "object"}:
        raise NotServed(f"{where}: {NOT_EMBEDDED}")
    unknown = given.keys() - config.vectors.keys()
    if unknown:
        raise MalformedRequest(f"{where}: this collection has no vector '{min(unknown)}'; {vectors_told(config)}.")


def _not_a_vector(row: Any, called: str) -> Exception:
    if isinstance(row, dict) and {"indices", "values"} <= row.keys():
        return NotServed(f"{called}: sparse vectors are not served.")
    if isinstance(row, dict):
        return NotServed(f"{called}: {NOT_EMBEDDED}")
    return MalformedRequest(f"{called}: a vector is a list of numbers.")
