"""What looks at the logs of all tests notices what it looks for, and nothing else."""

import json
import logging

import pytest

from tests.told import ADMIN_KEY, TOLD

logger = logging.getLogger("service.somewhere")
BODY = {
    "points": [{"id": 1, "vector": [0.2571834, 1], "payload": {"name": "Erika Mustermann", "n": [{"a": "innermost"}]}}]
}


@pytest.mark.parametrize(
    "text",
    [
        f"asked with {ADMIN_KEY}",
        "point of Erika Mustermann",
        "held innermost",
        "moved by 0.2571834",
        "[0.123456, -7.654321]",
    ],
)
def test_keys_payloads_and_vectors_are_noticed(text: str) -> None:
    TOLD.note_sent(json.dumps(BODY).encode())
    logger.info("%s", text)
    assert len(TOLD.forget()) == 1


def test_tracebacks_are_looked_at() -> None:
    try:
        raise RuntimeError(ADMIN_KEY)
    except RuntimeError:
        logger.exception("It failed")
    assert TOLD.forget()


def test_times_and_names_may_be_logged() -> None:
    TOLD.note_sent(json.dumps(BODY).encode())
    logger.info("Published segment %s of points: 1 code in 0.123456 s", "ab12")
    assert not TOLD.forget()
