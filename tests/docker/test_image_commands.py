"""The CPU image's install and start commands work: replayed from the Dockerfile, without an engine."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.docker.dockerfile import Stage, read_dockerfile

ROOT = Path(__file__).parents[2]
FOLDERS = ("/opt/qinco", "/build", "/data", "/tmp/numba")
STAGES = read_dockerfile(ROOT / "docker/Dockerfile")


def test_both_images_hold_packages_of_their_own_on_one_runtime() -> None:
    assert list(STAGES) == ["runtime", "cpu-packages", "cuda-packages", "cuda", "cpu"]
    assert STAGES["cpu"].base == STAGES["cuda"].base == "runtime"
    assert STAGES["cpu"].all("COPY") == ["--from=cpu-packages /opt/qinco /opt/qinco"]
    assert STAGES["cuda"].all("COPY") == ["--from=cuda-packages /opt/qinco /opt/qinco"]


def test_the_images_run_as_a_user_with_a_fixed_id() -> None:
    assert STAGES["runtime"].all("USER") == ["10001:10001"]
    assert "--uid 10001" in STAGES["runtime"].all("RUN")[0]


@pytest.mark.slow
def test_the_cpu_image_installs_and_starts(tmp_path: Path) -> None:
    runtime, packages = STAGES["runtime"], STAGES["cpu-packages"]
    for folder in FOLDERS:
        moved(folder, tmp_path).mkdir(parents=True)
    install(packages, tmp_path)
    environment = image_environment(runtime, tmp_path)
    environment["QINCO_PORT"] = str(free_port())
    with started(runtime, environment, tmp_path) as server:
        wait_until_ready(server, f"http://127.0.0.1:{environment['QINCO_PORT']}/readyz")
        probe = [sys.executable, *runtime.command("HEALTHCHECK")[1:]]
        subprocess.run(probe, env=environment, check=True, timeout=30)


def install(stage: Stage, image: Path) -> None:
    """Run a stage's COPY and RUN instructions with the image's folders below `image`."""
    workdir = moved(stage.all("WORKDIR")[0], image)
    environment = os.environ | stage.arguments()
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    environment.pop("VIRTUAL_ENV", None)
    for instruction in stage.instructions:
        if instruction.word == "COPY":
            copy(instruction.rest.split(), workdir)
        elif instruction.word == "RUN":
            command = relocated(instruction.rest, image)
            done = subprocess.run(
                command, shell=True, cwd=workdir, env=environment, capture_output=True, text=True, timeout=400
            )
            assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"


def copy(arguments: list[str], workdir: Path) -> None:
    *sources, target = arguments
    for source in sources:
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, workdir / target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / source, workdir / target)


def image_environment(stage: Stage, image: Path) -> dict[str, str]:
    """The image's own variables and next to nothing else."""
    environment = {name: relocated(value, image) for name, value in stage.environment().items()}
    environment["PATH"] = environment["PATH"].replace("$PATH", os.environ["PATH"])
    environment["QINCO_HOST"] = "127.0.0.1"
    return environment


@contextmanager
def started(stage: Stage, environment: dict[str, str], image: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """The image's ENTRYPOINT and CMD, running for the length of the block."""
    program, *arguments = stage.command("ENTRYPOINT") + stage.command("CMD")
    script = moved("/opt/qinco", image) / "bin" / program
    log = image / "log"
    with log.open("w") as output:
        server = subprocess.Popen(
            [script, *arguments], env=environment, cwd=moved("/data", image), stdout=output, stderr=output
        )
        try:
            yield server
        except BaseException:
            print(log.read_text())
            raise
        finally:
            server.terminate()
            server.wait(timeout=30)


def wait_until_ready(server: "subprocess.Popen[bytes]", url: str) -> None:
    deadline = time.monotonic() + 120
    while server.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                assert answer.status == 200
                return
        except OSError:
            assert time.monotonic() < deadline, f"{url} did not answer 200 within two minutes"
            time.sleep(0.2)
    raise AssertionError(f"the server stopped with status {server.returncode}")


def moved(folder: str, image: Path) -> Path:
    return image / folder.lstrip("/")


def relocated(text: str, image: Path) -> str:
    return re.sub("|".join(FOLDERS), lambda folder: str(moved(folder[0], image)), text)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
