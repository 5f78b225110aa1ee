"""How near the points of a random sample are to each other: for each its nearest within the sample."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from index_store import Collection, PointId, metric
from index_store.filters import Filter
from service.errors import OutOfRange
from service.filter_json import also
from service.questions import vector_named
from service.schemas.queries import Matrix as Body
from service.vector_names import DEFAULT, UNNAMED

DEFAULT_SAMPLE, DEFAULT_LIMIT = 10, 3


@dataclass(frozen=True)
class Matrix:
    """`scores[i]` is of the points `ids[rows[i]]` and `ids[columns[i]]`."""

    ids: list[PointId]
    rows: list[int]
    columns: list[int]
    scores: list[float]

    def pairs(self) -> Iterator[tuple[PointId, PointId, float]]:
        """The two ids and the score of each."""
        for row, column, score in zip(self.rows, self.columns, self.scores, strict=True):
            yield self.ids[row], self.ids[column], score


def prepared(collection: Collection, body: Body, most: int) -> Callable[[], Matrix]:
    """The work that a checked body asks for; raises OutOfRange, MalformedRequest, InvalidFilter."""
    sample, limit = body.sample or DEFAULT_SAMPLE, body.limit or DEFAULT_LIMIT
    if sample * limit > most:
        raise OutOfRange(f"sample × limit is {sample * limit}; at most {most} scores are given at a time.")
    using = vector_named(body.using, collection)
    has_it = {"must": [{"has_vector": UNNAMED if using == DEFAULT else using}]}
    condition = Filter.parse(also(body.filter, has_it))
    return lambda: _matrix(collection, using, condition, sample, limit)


def _matrix(collection: Collection, using: str, condition: Filter, sample: int, limit: int) -> Matrix:
    records = collection.sample(sample, condition, False, (using,))
    vectors = {record.id: record.vectors[using] for record in records if record.vectors and using in record.vectors}
    if len(vectors) < 2:
        return Matrix([], [], [], [])
    ids = sorted(vectors, key=lambda id: (not isinstance(id, int), id))
    array = np.stack([vectors[id] for id in ids])  # [n, dim]
    distance = collection.config.vectors[using].distance
    inside = metric.distances(distance, array, array)  # [n, n]
    np.fill_diagonal(inside, np.inf)
    nearest = np.argsort(inside, axis=1, kind="stable")[:, : min(limit, len(ids) - 1)]
    scores = metric.scores(distance, np.take_along_axis(inside, nearest, axis=1))
    rows = np.repeat(np.arange(len(ids)), nearest.shape[1])
    return Matrix(ids, rows.tolist(), nearest.ravel().tolist(), scores.ravel().tolist())
