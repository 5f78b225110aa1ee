"""`qinco-server demo` shows the whole path, ends by itself and leaves nothing behind."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.service.ctrl_c import heed_ctrl_c

COMMAND = [sys.executable, "-c", "from service.cli import main; main()", "demo"]

pytestmark = pytest.mark.slow


def test_the_demo_prints_recall_and_leaves_nothing_behind(tmp_path: Path) -> None:
    environment = os.environ | {"TMPDIR": str(tmp_path), "COLUMNS": "140"}
    done = subprocess.run(COMMAND, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    for expected in ("20000", "recall@1", "10-recall@10", "codes alone", "originals", "ceiling", "queries/s", "bobcat"):
        assert expected in done.stdout
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_demo_that_is_stopped_leaves_nothing_behind(tmp_path: Path, how: signal.Signals) -> None:
    environment = os.environ | {"TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(COMMAND, env=environment, stdout=subprocess.PIPE, text=True, preexec_fn=heed_ctrl_c) as demo:
        is_ready = any("is ready" in line for line in demo.stdout or ())
        demo.send_signal(how)
        rest = demo.communicate(timeout=60)[0]
    assert is_ready, rest
    assert demo.returncode != 0
    assert left_behind(tmp_path) == []


def left_behind(folder: Path) -> list[str]:
    """Files in the folder, and processes that were told to use it for what is temporary."""
    files = [str(path) for path in folder.rglob("*")]
    return files + [str(process) for process in Path("/proc").glob("[0-9]*") if uses(process, folder)]


def uses(process: Path, folder: Path) -> bool:
    try:
        return f"TMPDIR={folder}\0".encode() in (process / "environ").read_bytes()
    except OSError:
        return False
