"""How long a pass took: while a thread sleeps the clock counts, and else its own time."""

import time

import pytest

from service import pace
from service.pace import Stopwatch


def test_a_pass_that_slept_took_what_the_clock_says() -> None:
    watch = Stopwatch()
    time.sleep(0.02)
    assert watch.seconds() >= 0.02


@pytest.mark.parametrize(("slept", "seconds"), [(0, 0.25), (1, 2.0), (None, 2.0)])
def test_a_pass_that_only_waited_for_a_processor_took_its_own_time_where_that_is_told(
    monkeypatch: pytest.MonkeyPatch, slept: int | None, seconds: float
) -> None:
    used = iter([(2.0, None if slept is None else 7), (2.25, None if slept is None else 7 + slept)])
    clock = iter([10.0, 12.0])
    monkeypatch.setattr(pace, "_own_usage", lambda: next(used))
    monkeypatch.setattr(pace.time, "perf_counter", lambda: next(clock))
    assert Stopwatch().seconds() == seconds
