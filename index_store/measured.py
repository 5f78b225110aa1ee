"""What was measured of a collection's recall: how hard a query must look for which recall, and what that costs.

It is kept in the collection's database, a row for each named vector and limit, and counts for as long as its codes
stay.
"""

import json
import sqlite3
from dataclasses import asdict, dataclass
from typing import Any

OWN_POINTS, RECENT_QUERIES = "own points", "recent queries"


@dataclass(frozen=True)
class OperatingPoint:
    """Numbers for a query: `nprobe` lists read, `rescored` candidates judged by their originals.

    recall  of the `limit` exactly nearest, on average · deviation  of that average, were others sampled
    cost_ms  a query by itself, when it was measured
    """

    nprobe: int
    rescored: int
    recall: float
    deviation: float
    cost_ms: float


@dataclass(frozen=True)
class Measured:
    """A measurement; its operating points ascend in cost and in recall.

    queries  what was asked: "own points", each without itself, or "recent queries"
    codes    of which codes; of others it says nothing
    points   how many points there were · at  seconds since 1970
    default  recall as queries are answered by default
    """

    limit: int
    sample: int
    queries: str
    codes: str
    points: int
    at: float
    default: float
    operating_points: tuple[OperatingPoint, ...]

    def cheapest(self, target: float) -> OperatingPoint | None:
        """The cheapest numbers that reached a recall beyond chance; None when none did."""
        reached = (one for one in self.operating_points if one.recall - one.deviation >= target or one.recall == 1)
        return next(reached, None)

    def to_json(self) -> dict[str, Any]:
        """The same as a JSON object."""
        return asdict(self)


def frontier(points: list[OperatingPoint]) -> tuple[OperatingPoint, ...]:
    """Those that nothing cheaper reaches, by cost."""
    kept: list[OperatingPoint] = []
    for one in sorted(points, key=lambda point: (point.cost_ms, -point.recall)):
        if not kept or one.recall > kept[-1].recall:
            kept.append(one)
    return tuple(kept)


def create(db: sqlite3.Connection) -> None:
    """Make the table where it is not there."""
    db.execute(
        "CREATE TABLE IF NOT EXISTS recalls (vector TEXT NOT NULL, hits INTEGER NOT NULL, body TEXT NOT NULL,"
        " PRIMARY KEY (vector, hits)) WITHOUT ROWID"
    )


def store(db: sqlite3.Connection, vector: str, one: Measured) -> None:
    """Remember a measurement instead of the last of its limit, in a transaction."""
    db.execute("INSERT OR REPLACE INTO recalls VALUES (?, ?, ?)", (vector, one.limit, json.dumps(one.to_json())))


def load(db: sqlite3.Connection, vector: str) -> dict[int, Measured]:
    """limit → what was measured of it."""
    found = db.execute("SELECT hits, body FROM recalls WHERE vector = ?", (vector,)).fetchall()
    return {limit: _from_json(json.loads(body)) for limit, body in found}


def _from_json(value: dict[str, Any]) -> Measured:
    points = tuple(OperatingPoint(**one) for one in value.pop("operating_points"))
    return Measured(**value, operating_points=points)
