"""docker-compose.yml is valid for docker-compose 1.29, in every profile, and says what it should."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def docker_compose() -> str:
    command = shutil.which("docker-compose")
    if command is None and not os.environ.get("CI"):
        pytest.skip("docker-compose is not installed")
    assert command, "CI checks the compose file: docker-compose must be installed there"
    return command


@pytest.mark.parametrize("profile", [[], ["--profile", "gpu"]], ids=["default", "gpu"])
def test_the_compose_file_is_valid_in_every_profile(docker_compose: str, profile: list[str]) -> None:
    done = subprocess.run([docker_compose, *profile, "config"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    for service in ("qinco", "qinco-gpu", "prometheus", "grafana"):
        assert f"  {service}:\n" in done.stdout


@pytest.mark.parametrize(
    ("profile", "services"),
    [([], {"qinco", "prometheus", "grafana"}), (["--profile", "gpu"], {"qinco", "qinco-gpu", "prometheus", "grafana"})],
    ids=["default", "gpu"],
)
def test_a_profile_starts_its_services(docker_compose: str, profile: list[str], services: set[str]) -> None:
    command = [docker_compose, *profile, "config", "--services"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert services <= set(done.stdout.split())


def test_prometheus_scrapes_the_port_that_the_image_exposes() -> None:
    scraped = (ROOT / "docker/prometheus.yml").read_text()
    dockerfile = (ROOT / "docker/Dockerfile").read_text()
    assert "EXPOSE 6333" in dockerfile
    assert '"qinco:6333"' in scraped
    assert '"qinco-gpu:6333"' in scraped
