"""What a fuzzer found is read again, or refused, on every commit; without the fuzzer."""

import pytest

from tests.fuzz.__main__ import READERS as FUZZED
from tests.fuzz.corpora import inputs
from tests.fuzz.readers import READERS


@pytest.mark.parametrize("reader", READERS)
def test_what_strangers_send_is_read_or_refused_in_order(reader: str) -> None:
    verdicts = {READERS[reader](data) for data in inputs(reader).values()}
    assert verdicts == {True, False}, "the corpus holds what is read, and what is refused"


def test_every_reader_is_fuzzed() -> None:
    assert list(READERS) == list(FUZZED)
