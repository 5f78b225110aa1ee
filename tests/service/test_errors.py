"""Every error has its status, and its sentence reaches the client."""

import pytest

import index_store
import model.training.from_vectors
import service.errors
from model.errors import QincoError
from service.errors import STATUS, status_of

assert index_store, model.training  # imported for the errors that they declare


def _subclasses(kind: type[QincoError]) -> set[type[QincoError]]:
    return {kind}.union(*(_subclasses(one) for one in kind.__subclasses__()))


@pytest.mark.parametrize("kind", sorted(_subclasses(QincoError) - {QincoError}, key=str))
def test_every_error_has_a_status_of_its_own_or_of_an_ancestor(kind: type[QincoError]) -> None:
    assert any(ancestor in STATUS for ancestor in kind.__mro__ if ancestor is not QincoError), f"{kind} is a bug, 500"
    assert 400 <= status_of(kind("sentence")) <= 507


def test_an_error_nobody_thought_of_is_a_bug() -> None:
    class Surprise(QincoError):
        """Not in the table."""

    assert status_of(Surprise("sentence")) == 500


def test_each_class_of_the_tree_is_in_the_drawing() -> None:
    for kind in _subclasses(service.errors.RequestError):
        assert kind.__name__ in (service.errors.__doc__ or "")
