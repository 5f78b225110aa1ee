"""An alias is taken wherever a collection's name is, and aliases change together or not at all."""

from pathlib import Path
from typing import Any

from tests.builders import clustered
from tests.service.conftest import DIM
from tests.service.requests import count, points, result, sentence
from tests.service.service_in_process import Client, running

PLAIN = {"vectors": {"size": DIM, "distance": "Dot"}}


def change(client: Client, *actions: Any) -> Any:
    return client.post("/collections/aliases", json={"actions": list(actions)})


def create(alias: str, collection: str) -> dict[str, Any]:
    return {"create_alias": {"alias_name": alias, "collection_name": collection}}


def test_an_alias_stands_for_a_collection_also_after_a_restart(tmp_path: Path) -> None:
    with running(tmp_path) as client:
        for name, n in (("blue", 3), ("green", 5)):
            result(client.put(f"/collections/{name}", json=PLAIN))
            result(client.put(f"/collections/{name}/points", json=points(clustered(n))))
        assert result(change(client, create("live", "blue"), create("next", "green"))) is True
        assert count(client, "/collections/live") == 3
        swap = [{"delete_alias": {"alias_name": "live"}}]
        swap += [{"rename_alias": {"old_alias_name": "next", "new_alias_name": "live"}}]
        result(change(client, *swap))
        assert result(client.get("/aliases")) == {"aliases": [{"alias_name": "live", "collection_name": "green"}]}
    with running(tmp_path) as client:
        assert count(client, "/collections/live") == 5
        assert result(client.get("/collections/live/exists")) == {"exists": True}
        hits = result(client.post("/collections/live/points/query", json={"query": [1.0] * DIM}))["points"]
        assert len(hits) == 5
        assert result(client.get("/collections/green/aliases"))["aliases"][0]["alias_name"] == "live"
        assert result(client.get("/collections/blue/aliases")) == {"aliases": []}
        assert result(client.delete("/collections/live")) is False  # the name of a collection is asked for
        assert result(client.delete("/collections/green")) is True
        assert result(client.get("/aliases")) == {"aliases": []}
        assert "live" in sentence(client.get("/collections/live"), 404)


def test_actions_of_which_one_cannot_be_change_nothing(client: Client, collection: str) -> None:
    name = collection.rpartition("/")[2]
    for last, status, named in (
        (create("another", "unknown"), 404, "unknown"),
        (create(name, name), 409, name),
        ({"rename_alias": {"old_alias_name": "unknown", "new_alias_name": "new"}}, 404, "unknown"),
        ({"rename_alias": {"old_alias_name": "a", "new_alias_name": name}}, 409, name),
        (create("a b", name), 400, "alias_name"),
        ({}, 400, "actions[1]"),
        ({"drop_alias": {}}, 400, "drop_alias"),
    ):
        assert named in sentence(change(client, create("a", name), last), status)
        assert result(client.get("/aliases")) == {"aliases": []}


def test_a_collection_cannot_take_the_name_of_an_alias(client: Client, collection: str) -> None:
    result(change(client, create("taken", collection.rpartition("/")[2])))
    assert "alias" in sentence(client.put("/collections/taken", json=PLAIN), 409)
