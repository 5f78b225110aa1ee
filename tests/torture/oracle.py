"""What a service must answer: a dictionary of points, and brute force. It shares no code with the store."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float32]
Point = tuple[Vector, dict[str, Any] | None]  # vector, payload


@dataclass
class Oracle:
    """Collections by name, each id → point; `copy` before a change that may or may not have happened."""

    collections: dict[str, dict[int, Point]] = field(default_factory=dict)

    def copy(self) -> "Oracle":
        return Oracle({name: dict(points) for name, points in self.collections.items()})

    def create(self, name: str) -> None:
        self.collections[name] = {}

    def drop(self, name: str) -> None:
        del self.collections[name]

    def upsert(self, name: str, ids: list[int], vectors: Vector, payloads: list[dict[str, Any] | None]) -> None:
        for id, vector, payload in zip(ids, vectors, payloads, strict=True):
            self.collections[name][id] = (vector, payload)

    def delete(self, name: str, ids: list[int]) -> None:
        for id in ids:
            self.collections[name].pop(id, None)

    def delete_matching(self, name: str, key: str, value: Any) -> None:
        kept = {id: one for id, one in self.collections[name].items() if (one[1] or {}).get(key) != value}
        self.collections[name] = kept

    def set_payload(self, name: str, key: str, value: Any, values: dict[str, Any]) -> None:
        for id, (vector, payload) in self.collections[name].items():
            if (payload or {}).get(key) == value:
                self.collections[name][id] = (vector, {**(payload or {}), **values})

    def nearest(self, name: str, query: Vector, limit: int) -> list[float]:
        """The squared distances of the nearest points, in float64."""
        vectors = np.array([vector for vector, _ in self.collections[name].values()], np.float64)
        if not len(vectors):
            return []
        distances = ((vectors - query.astype(np.float64)) ** 2).sum(axis=1)
        return np.sort(distances)[:limit].tolist()
