"""The pins agree: pyproject.toml, the CPU's, the CUDA and the development requirements."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def pins(name: str) -> dict[str, str]:
    """The pinned versions of a requirements file and of those it includes, by normalised name."""
    found: dict[str, str] = {}
    for line in (ROOT / "requirements" / name).read_text().splitlines():
        if line.startswith("-r "):
            found |= pins(line.removeprefix("-r "))
        elif line and not line.startswith("#"):
            found |= pin(line)
    return found


def pin(requirement: str) -> dict[str, str]:
    name, version = requirement.split("==")
    return {re.sub("[-_.]+", "-", name).lower(): version}


@pytest.fixture(scope="module")
def project() -> dict[str, list[str]]:
    table = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return {"runtime": table["dependencies"], "dev": table["optional-dependencies"]["dev"]}


def test_every_direct_dependency_is_pinned_to_the_version_that_gets_installed(project: dict[str, list[str]]) -> None:
    for requirement in project["runtime"]:
        assert pin(requirement).items() <= pins("cpu.txt").items()
    for requirement in project["dev"]:
        assert pin(requirement).items() <= pins("dev.txt").items()


def test_the_cuda_image_differs_from_the_cpu_image_in_faiss_and_cuda_packages_alone() -> None:
    cpu, cuda = pins("cpu.txt"), pins("cuda.txt")
    assert set(cpu) - set(cuda) == {"faiss-cpu"}
    assert all(cuda[name] == version for name, version in cpu.items() if name in cuda)
    assert all(re.match("nvidia-|cuda-|triton$|faiss-gpu-cu12$", name) for name in set(cuda) - set(cpu))


def test_every_direct_dependency_says_why_it_is_here(project: dict[str, list[str]]) -> None:
    page = (ROOT / "docs/dependencies.md").read_text()
    for requirement in project["runtime"] + project["dev"]:
        name = requirement.split("==")[0]
        assert f"`{name}`" in page, f"docs/dependencies.md has no line for {name}"
