"""What a fuzzer found is read again, or refused, on every commit; without the fuzzer."""

from pathlib import Path

import pytest

from tests.fuzz import progress
from tests.fuzz.__main__ import READERS as FUZZED
from tests.fuzz.corpora import inputs
from tests.fuzz.readers import READERS


@pytest.mark.parametrize("reader", READERS)
def test_what_strangers_send_is_read_or_refused_in_order(reader: str) -> None:
    verdicts = {READERS[reader](data) for data in inputs(reader).values()}
    assert verdicts == {True, False}, "the corpus holds what is read, and what is refused"


def test_every_reader_is_fuzzed() -> None:
    assert list(READERS) == list(FUZZED)


def test_a_fuzzer_notes_how_far_it_has_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "NOTED_EVERY_S", 0.0)
    assert progress.read_progress(tmp_path / "noted") == (0, 0.0)
    read = progress.noting(tmp_path / "noted", lambda data: True)
    for _ in range(3):
        read(b"")
    runs, minutes = progress.read_progress(tmp_path / "noted")
    assert runs == 3
    assert 0 <= minutes < 1
