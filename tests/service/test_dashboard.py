"""The Grafana dashboard asks for metrics and labels that a real run has."""

import json
import re
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tests.service.service_in_process import Client

DASHBOARD = Path(__file__).parents[2] / "docker/grafana/qinco.json"
METRIC = re.compile(r"\b(?:qinco|process)_[a-z_]+")
LABELS = re.compile(r"by \(([a-z, ]+)\)")


def queries() -> list[tuple[str, str]]:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    return [(target["expr"], target["legendFormat"]) for panel in panels for target in panel["targets"]]


def test_every_query_asks_for_metrics_and_labels_that_there_are(client: Client, collection: str) -> None:
    del collection  # so that there is one
    labels: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(client.get("/metrics").text):
        for sample in family.samples:
            labels.setdefault(sample.name, set()).update(sample.labels)
    for expression, legend in queries():
        names = METRIC.findall(expression)
        assert names
        asked = {one.strip() for group in LABELS.findall(expression) for one in group.split(",")}
        asked |= set(re.findall(r"\{\{([a-z]+)\}\}", legend))
        for name in names:
            assert name in labels, f"{name} is no metric of the service"
            assert asked <= labels[name], f"{name} has no labels {sorted(asked - labels[name])}"


def test_every_panel_has_a_query_and_a_place_of_its_own() -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    assert all(panel["targets"] and panel["title"] for panel in panels)
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels]
    assert len(set(places)) == len(places)
