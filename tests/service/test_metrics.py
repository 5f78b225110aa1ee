"""Every metric is there at zero from the start, and counts what happens."""

from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from service.metrics import OTHER, TABLE, Metrics
from tests.builders import clustered
from tests.service.requests import points, result, sentence
from tests.service.service_in_process import Client, running


def samples(client: Client) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    text = client.get("/metrics").text
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_every_series_is_there_at_zero_from_the_start(tmp_path: Path) -> None:
    with running(tmp_path) as client:
        found = samples(client)
    names = {name for name, _ in found}
    for name, one in TABLE.items():
        assert name + ("_count" if one.kind == "histogram" else "") in names
    quiet = {key: value for key, value in found.items() if key[0].startswith("qinco_") and "http" not in key[0]}
    asked_too_early = ("qinco_rejected_total", (("status", "503"),))  # whether it is ready, as often as it took
    assert asked_too_early in quiet
    ended = {key: value for key, value in quiet.items() if key != asked_too_early and not key[0].endswith("_created")}
    assert {value for key, value in ended.items() if key != ("qinco_ready", ())} == {0.0}
    assert ended["qinco_ready", ()] == 1
    assert quiet["qinco_queries_total", (("collection", OTHER),)] == 0
    assert ("process_resident_memory_bytes", ()) in found


def test_what_happens_is_counted(client: Client, collection: str) -> None:
    name = (("collection", collection.rpartition("/")[2]),)
    before = samples(client)
    result(client.put(f"{collection}/points", json=points(clustered(40))))
    result(client.post(f"{collection}/points/query", json={"query": clustered(1)[0].tolist()}))
    sentence(client.post(f"{collection}/points/query", json={"unknown": 1}), 400)
    after = samples(client)
    assert after["qinco_points", name] == 40
    assert after["qinco_queries_total", name] == 1
    assert (
        after["qinco_query_seconds_count", (("stage", "total"),)]
        > before["qinco_query_seconds_count", (("stage", "total"),)]
    )
    assert (
        after["qinco_rejected_total", (("status", "400"),)] == before["qinco_rejected_total", (("status", "400"),)] + 1
    )
    route = "/collections/{collection_name}/points"
    assert after["qinco_http_requests_total", (("method", "PUT"), ("route", route), ("status", "200"))] >= 1


def test_collections_beyond_the_cap_share_a_label_and_deleted_ones_make_room() -> None:
    metrics = Metrics(max_collections=1)
    assert [metrics.collection_label(name) for name in ("a", "b", "a")] == ["a", OTHER, "a"]
    metrics.forget_collection("a")
    assert metrics.collection_label("b") == "b"
    assert b'collection="a"' not in metrics.exposition({})
