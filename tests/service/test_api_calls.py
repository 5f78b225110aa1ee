"""Calls made up from the OpenAPI document are answered as it says: a little on every commit, `make torture` goes on."""

from collections.abc import Iterator

import pytest

from tests.service import api_calls
from tests.service.service_in_process import Client


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with api_calls.locked(tmp_path_factory.mktemp("calls")) as client:
        yield client


def test_each_call_answers_everybody_as_the_document_says(locked: Client) -> None:
    assert api_calls.called_alone(locked, examples=2) > 300


def test_rows_of_calls_that_follow_the_links_answer_as_the_document_says(locked: Client) -> None:
    assert api_calls.called_in_rows(locked, rows=8) > 40


def test_an_answer_that_the_document_does_not_know_is_noticed(locked: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.routes.aliases._json", lambda aliases: {"aliases": 3})
    with pytest.raises(BaseExceptionGroup, match="Response violates schema"):
        api_calls.called_alone(locked, examples=1)
