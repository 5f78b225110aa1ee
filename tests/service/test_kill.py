"""What was acknowledged survives SIGKILL and SIGTERM: ids, vectors, payloads, deletes; any other request is whole."""

from pathlib import Path

import pytest

from tests.torture.killing import Siege

KILLS, STOPS = 10, 3


@pytest.mark.slow
def test_whatever_was_acknowledged_survives_kills_and_stops(tmp_path: Path) -> None:
    siege = Siege(tmp_path, seed=7)
    try:
        for _ in range(KILLS):
            siege.kill()
        for _ in range(STOPS):
            siege.stop()
        assert sum(writer.requests for writer in siege.writers) >= KILLS + STOPS
    finally:
        siege.close()
