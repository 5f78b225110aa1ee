"""Recall as it was last measured: when that is due again, and the numbers that reach a target."""

from collections.abc import Callable

from index_store import measuring
from index_store.answers import Float32
from index_store.holdings import Holdings
from index_store.measured import Measured, OperatingPoint
from index_store.querying import while_stripes_go
from index_store.vector_index import VectorIndex

LEAST_MEASURED = 5000
GROWN = 1.5


def measure(
    held: Holdings, index: VectorIndex, limit: int, sample: int, recent: Float32, report: Callable[[float], None]
) -> Measured | None:
    """Measure recall of the `limit` nearest, and remember it; None where there is nothing to measure.

    recent: queries of late float32 [q, dim] · raises what `measuring.measure` does
    """
    queries = recent.reshape(-1, index.config.size)
    found = while_stripes_go(held, lambda: measuring.measure(held, index, limit, sample, queries, report))
    if found is not None:
        held.remember(index.name, found)
    return found


def is_due(held: Holdings, index: VectorIndex) -> bool:
    """Whether so much has changed since recall was measured that it should be again: points grew by half."""
    if index.codec is None or not index.keeps_originals or held.views[index.name].watermark < LEAST_MEASURED:
        return False
    last = last_measured(held, index)
    return last is None or held.count >= GROWN * last.points


def operating_point(
    held: Holdings, index: VectorIndex, target: float, wanted: int
) -> tuple[Measured, OperatingPoint] | None:
    """The cheapest numbers that reached a recall when last measured, for so many hits; None when none are known."""
    measured = _of_these_codes(held, index)
    enough = sorted((one for one in measured if one.limit >= wanted), key=lambda one: one.limit)
    chosen = enough[0] if enough else max(measured, key=lambda one: one.limit, default=None)
    point = None if chosen is None else chosen.cheapest(target)
    return None if chosen is None or point is None else (chosen, point)


def last_measured(held: Holdings, index: VectorIndex) -> Measured | None:
    """The last measurement of the codes as they are."""
    return max(_of_these_codes(held, index), key=lambda one: one.at, default=None)


def _of_these_codes(held: Holdings, index: VectorIndex) -> list[Measured]:
    codes = measuring.codes_of(index)
    return [one for one in held.measured[index.name].values() if one.codes == codes]
