"""Logs: a line an event, as text or JSON, with the id of the request that it belongs to, which the answer has too."""

import json
import logging

import pytest

from service.logs import JsonLines, TextLines, request_id
from tests.service.service_in_process import Client


def record(message: str) -> logging.LogRecord:
    return logging.LogRecord("service", logging.INFO, __file__, 1, message, (), None)


def test_a_line_names_the_request_that_it_belongs_to() -> None:
    before = request_id.set("abc")
    try:
        assert TextLines().format(record("Published a segment")).endswith("INFO service: Published a segment [abc]")
        told = json.loads(JsonLines().format(record("Published a segment")))
        assert (told["message"], told["level"], told["request_id"]) == ("Published a segment", "info", "abc")
    finally:
        request_id.reset(before)
    assert TextLines().format(record("Started")).endswith("service: Started")
    assert json.loads(JsonLines().format(record("Started")))["request_id"] is None


@pytest.mark.parametrize(("sent", "is_kept"), [("abc-1.2:3_X", True), ("a b", False), ("x" * 65, False)])
def test_an_answer_has_the_id_that_came_or_a_new_one(client: Client, sent: str, is_kept: bool) -> None:
    answered = client.get("/livez", headers={"X-Request-Id": sent}).headers.get_list("x-request-id")
    assert len(answered) == 1
    assert (answered[0] == sent) == is_kept
    assert client.get("/livez").headers["x-request-id"] != client.get("/livez").headers["x-request-id"]
