"""The pins agree: pyproject.toml, the CPU's, the CUDA and the development requirements."""

import importlib.util
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
            found |= pin(line.partition(";")[0].strip())
    return found


def pin(requirement: str) -> dict[str, str]:
    name, version = requirement.split(";")[0].split("==")
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


UNLOCKED = {"clients.txt", "rivals.txt"}
LOCKS = sorted(path.name for path in (ROOT / "requirements").glob("*.txt") if path.name not in UNLOCKED)


@pytest.mark.parametrize("pinned", LOCKS)
def test_a_lock_holds_the_pins_with_hashes(pinned: str) -> None:
    wanted = [line for line in (ROOT / "requirements" / pinned).read_text().splitlines() if line and line[0] != "#"]
    found = hashed((ROOT / "requirements" / pinned).with_suffix(".lock"))
    assert [line.replace(".lock", ".txt") for line in found] == wanted, "run make lock"
    assert all(hashes or line.startswith("-r ") for line, hashes in found.items()), "a pin has no hash"


def test_the_cpu_build_of_torch_is_of_the_version_that_is_pinned() -> None:
    found = hashed(ROOT / "requirements/torch-cpu.lock")
    assert list(found) == [f"torch=={pins('torch.txt')['torch']}+cpu"]
    assert not set(*found.values()) & set(*hashed(ROOT / "requirements/torch.lock").values())


def hashed(lock: Path) -> dict[str, list[str]]:
    """The requirements of a lock file with their hashes."""
    entries = lock.read_text().replace(" \\\n    ", " ").splitlines()
    parted = [line.split(" --hash=sha256:") for line in entries if not line.startswith("#")]
    return {requirement: [one for one in hashes if len(one) == 64] for requirement, *hashes in parted}


@pytest.mark.parametrize("recipe", ["Makefile", "docker/Dockerfile"])
def test_nothing_is_installed_without_its_hash(recipe: str) -> None:
    text = (ROOT / recipe).read_text().replace("$(PIP)", "pip install").replace("$(LOCKED)", "--require-hashes")
    installs = [line.rstrip(" \\|") for line in text.splitlines() if re.search("^[^#:]*pip install ", line)]
    for line in installs:
        is_ours = re.search(r"--no-build-isolation (--editable )?\.$", line)
        assert is_ours or "requirements/clients.txt" in line or "--require-hashes" in line, line
    assert len(installs) >= 4


@pytest.mark.parametrize(
    ("packages", "status"),
    [
        ([{"name": "a", "version": "1", "vulns": []}], 0),
        ([{"name": "a", "version": "1", "vulns": [{"id": "CVE-1", "fix_versions": ["2"]}]}], 1),
        ([{"name": "a", "version": "1", "vulns": []}, {"name": "b", "skip_reason": "not found"}], 2),
        ([{"name": "b", "skip_reason": "not found"}], 2),
        ([], 2),
    ],
)
def test_an_audit_without_its_database_is_not_a_clean_one(packages: list[dict[str, object]], status: int) -> None:
    spec = importlib.util.spec_from_file_location("audit", ROOT / "requirements/audit.py")
    assert spec and spec.loader
    audit = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(audit)
    assert audit.verdict(packages)[1] == status
