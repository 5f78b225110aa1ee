"""A tally tells what prometheus_client's own histogram tells of the same values."""

from unittest import mock

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from service import tally
from service.tally import Tally

BUCKETS = (1.0, 2.5, 10.0)
VALUES = st.sampled_from([0.0, 1.0, 2.0, 2.5, 10.0, 11.0])  # on bounds, between and beyond


@given(values=st.lists(st.tuples(st.sampled_from("ab"), VALUES)), most=st.integers(0, 5))
def test_a_tally_tells_what_a_histogram_tells(values: list[tuple[str, float]], most: int) -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    noted, counted = (
        Tally("h", "Some.", ("label",), BUCKETS),
        Histogram("h", "Some.", ("label",), buckets=BUCKETS, registry=None),
    )
    ours.register(noted)
    theirs.register(counted)
    with mock.patch.object(tally, "MOST_NOTED", most):
        for label, value in values:
            noted.labels(label).observe(value)
            counted.labels(label).observe(value)
    assert _told(ours) == _told(theirs)
    noted.remove("a")
    assert not any('label="a"' in line for line in _told(ours))


def _told(registry: CollectorRegistry) -> set[str]:
    return {line for line in generate_latest(registry).decode().splitlines() if "_created" not in line}
