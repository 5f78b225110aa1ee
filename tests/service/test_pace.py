"""How long a pass took: while a thread sleeps the clock counts, and else its own time."""

import time
from types import SimpleNamespace

import pytest

from service import pace
from service.pace import Stopwatch


def test_a_pass_that_slept_took_what_the_clock_says() -> None:
    watch = Stopwatch()
    time.sleep(0.02)
    assert watch.seconds() >= 0.02


@pytest.mark.parametrize(("slept", "seconds"), [(0, 0.25), (1, 2.0)])
def test_a_pass_that_only_waited_for_a_processor_took_its_own_time(
    monkeypatch: pytest.MonkeyPatch, slept: int, seconds: float
) -> None:
    used = [SimpleNamespace(ru_utime=1.0, ru_stime=1.0, ru_nvcsw=7)]
    used += [SimpleNamespace(ru_utime=1.125, ru_stime=1.125, ru_nvcsw=7 + slept)]
    clock = iter([10.0, 12.0])
    monkeypatch.setattr(pace.resource, "getrusage", lambda _: used.pop(0))
    monkeypatch.setattr(pace.time, "perf_counter", lambda: next(clock))
    assert Stopwatch().seconds() == seconds
