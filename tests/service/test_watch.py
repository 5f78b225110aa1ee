"""A watch goes on whatever becomes of one look."""

import threading
from types import SimpleNamespace
from typing import Any, cast

import pytest

from index_store import Store
from model.errors import QincoError
from service.watch import Watch

WAIT_S = 60


@pytest.mark.parametrize("error", [QincoError("busy"), RuntimeError("a bug"), OSError(28, "no space")])
def test_what_one_look_raises_keeps_no_other_from_being_taken(error: Exception) -> None:
    seen, again = list[str](), threading.Event()

    def look(collection: Any) -> None:
        seen.append(collection)
        if seen.count("b") == 2:
            again.set()
        if collection == "a":
            raise error

    store = SimpleNamespace(collections=lambda: ["a", "b"], collection=lambda name: name)
    watch = Watch("test", cast(Store, store), 0.001, look)
    watch.start()
    assert again.wait(WAIT_S)
    watch.stop()
    assert seen[:4] == ["a", "b"] * 2
