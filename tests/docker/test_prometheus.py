"""A real Prometheus scrapes a real run by docker/prometheus.yml, and answers each query of the Grafana dashboard."""

import json
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from service.metrics import TABLE
from tests.builders import clustered
from tests.service.requests import points, result, sentence
from tests.service.service_in_process import Client, running, wait_until
from tests.told import ADMIN_KEY, READER_KEY

ROOT = Path(__file__).parents[2]
PROMETHEUS = shutil.which("prometheus")
ADMIN = {"api-key": ADMIN_KEY}
COLLECTION = "/collections/scraped"

pytestmark = pytest.mark.skipif(PROMETHEUS is None, reason="Prometheus is not installed (Debian's package prometheus)")


def dashboard() -> list[tuple[str, str]]:
    panels = json.loads((ROOT / "docker/grafana/qinco.json").read_text())["panels"]
    return [(target["expr"], target["legendFormat"]) for panel in panels for target in panel["targets"]]


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of a Prometheus that has scraped a service with keys before it was used, and after."""
    folder = tmp_path_factory.mktemp("prometheus")
    keys = {"api_key": SecretStr(ADMIN_KEY), "read_only_api_key": SecretStr(READER_KEY)}
    with running(folder, **keys) as service, scraping(folder, service) as one:
        wait_until(lambda: value(one, "up") == ["1"])
        fill(service)
        # A rate wants a scrape from before and one from after.
        wait_until(
            lambda: value(one, "sum(qinco_points)") == ["30"] and value(one, "sum(qinco_queries_total)") == ["0"]
        )
        query(service)
        wait_until(lambda: float((value(one, "sum(rate(qinco_queries_total[1m]))") or ["0"])[0]) > 0)
        yield one


class scraping:  # noqa: N801
    """Prometheus, for the length of the block, with the configuration of the compose file made quicker."""

    def __init__(self, folder: Path, service: Client) -> None:
        port = free_port()
        (folder / "key").write_text(READER_KEY)
        config = (ROOT / "docker/prometheus.yml").read_text()
        config = config.replace("    # authorization:", "    authorization:").replace(
            "    #   credentials", "      credentials"
        )
        config = config.replace("/etc/prometheus/qinco.key", str(folder / "key")).replace("15s", "300ms")
        config = re.sub(r"targets: \[.*\]", f'targets: ["{service.base_url.host}:{service.base_url.port}"]', config)
        (folder / "prometheus.yml").write_text(config)
        self._log = (folder / "log").open("w")
        self._process = subprocess.Popen(
            [str(PROMETHEUS), f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'tsdb'}",
             f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"],
            stdout=self._log, stderr=self._log,
        )  # fmt: skip
        self._client = httpx.Client(base_url=f"http://127.0.0.1:{port}/api/v1", timeout=30)

    def __enter__(self) -> httpx.Client:
        return self._client

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(30)
        self._client.close()
        self._log.close()


def fill(service: Client) -> None:
    body = {"vectors": {"size": 8, "distance": "Euclid"}, "codes": {"model": "none"}}
    result(service.put(COLLECTION, json=body, headers=ADMIN))
    result(service.put(f"{COLLECTION}/points", json=points(clustered(30, 8)), headers=ADMIN))


def query(service: Client) -> None:
    for vector in clustered(5, 8).tolist():
        result(service.post(f"{COLLECTION}/points/query", json={"query": vector}, headers=ADMIN))
    sentence(service.post(f"{COLLECTION}/points/query", json={"unknown": 1}, headers=ADMIN), 400)


def answered(prometheus: httpx.Client, expression: str) -> list[dict[str, Any]]:
    try:
        answer = prometheus.get("/query", params={"query": expression})
    except httpx.TransportError:  # it is starting
        return []
    if answer.status_code == 503:
        return []
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["data"]["result"]
    return found


def value(prometheus: httpx.Client, expression: str) -> list[str]:
    return [one["value"][1] for one in answered(prometheus, expression)]


@pytest.mark.parametrize(("expression", "legend"), dashboard())
def test_a_query_of_the_dashboard_finds_series_with_the_labels_of_its_legend(
    prometheus: httpx.Client, expression: str, legend: str
) -> None:
    found = answered(prometheus, expression)
    assert found
    for label in re.findall(r"\{\{(\w+)\}\}", legend):
        assert all(label in one["metric"] for one in found)


def test_what_was_done_is_what_prometheus_has(prometheus: httpx.Client) -> None:
    assert value(prometheus, 'qinco_points{collection="scraped"}') == ["30"]
    assert value(prometheus, 'qinco_queries_total{collection="scraped"}') == ["5"]
    assert value(prometheus, 'qinco_rejected_total{status="400"}') == ["1"]


def test_every_metric_was_scraped_from_the_start(prometheus: httpx.Client) -> None:
    names = prometheus.get("/label/__name__/values").json()["data"]
    for name, one in TABLE.items():
        assert (f"{name}_count" if one.kind == "histogram" else name) in names


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
