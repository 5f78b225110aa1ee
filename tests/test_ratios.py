"""`make bench-quick` fails where a ratio has grown by more than a fifth, and says which."""

from typing import Any

import pytest

from benchmarks.ratios import ratios, worsened

FIGURES: dict[str, Any] = {
    "encoding": {"vectors": 1000, "uploaded_s": 1.0, "encoded_s": 2.0},
    "http": {"p50_ms": 3.0},
    "in_process": {"p50_ms": 2.0},
    "memory": {"code_bytes": 16, "rss_bytes_per_vector": 24.0},
    "yardstick": {"product_us": 500.0, "brute_force_us": 1000.0},
}


def test_a_run_is_told_in_ratios_to_what_the_machine_does() -> None:
    assert list(ratios(FIGURES).values()) == [2.0, 2.0, 3.0, 1.5]


def test_a_machine_twice_as_fast_has_the_same_ratios() -> None:
    halved = {
        **FIGURES,
        "encoding": {"vectors": 1000, "uploaded_s": 0.5, "encoded_s": 1.0},
        "http": {"p50_ms": 1.5},
        "in_process": {"p50_ms": 1.0},
        "yardstick": {"product_us": 250.0, "brute_force_us": 500.0},
    }
    assert ratios(halved) == pytest.approx(ratios(FIGURES))


def test_only_what_grew_by_more_than_a_fifth_is_told() -> None:
    last = ratios(FIGURES)
    names = list(last)
    now = {**last, names[0]: last[names[0]] * 1.19, names[1]: last[names[1]] * 1.21, names[2]: last[names[2]] / 2}
    assert worsened(last, last) == []
    assert [sentence.split(":")[0] for sentence in worsened(last, now)] == [names[1]]
    assert worsened({}, now) == []
