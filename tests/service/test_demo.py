"""`qinco-server demo` shows the whole path, ends by itself and leaves nothing behind."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from service.cli.demo import EXAMPLE
from tests.service.ctrl_c import heed_ctrl_c

COMMAND = [sys.executable, "-c", "from service.cli import main; main()", "demo"]
# The whole example is run by `make demo`; every row that the demo shows is among the first of these.
ROWS, QUERIES = 2000, 200
SMALLER = """
import sys, pathlib
from service.cli.demo import demo
demo(pathlib.Path(sys.argv[1]), as_json=True)
"""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tenth of the bundled example, with its own exact neighbours."""
    folder = tmp_path_factory.mktemp("example")
    base = np.load(EXAMPLE / "base.npy")[:ROWS]
    queries = np.load(EXAMPLE / "query.npy")[:QUERIES]
    near, asked = (array / np.linalg.norm(array.astype(np.float32), axis=1)[:, None] for array in (base, queries))
    np.save(folder / "base.npy", base)
    np.save(folder / "query.npy", queries)
    np.save(folder / "groundtruth.npy", np.argsort(-asked @ near.T, axis=1)[:, :100].astype(np.int32))
    for name, lines in (("terms.txt", ROWS), ("query_terms.txt", QUERIES)):
        text = (EXAMPLE / name).read_text(encoding="utf-8").splitlines()[:lines]
        (folder / name).write_text("\n".join(text) + "\n", encoding="utf-8")
    (folder / "wordnet-16.safetensors").symlink_to(EXAMPLE / "wordnet-16.safetensors")
    return folder


def test_the_demo_prints_recall_and_leaves_nothing_behind(example: Path, tmp_path: Path) -> None:
    """With `--json` what people read is on standard error."""
    environment = os.environ | {"TMPDIR": str(tmp_path), "COLUMNS": "140", "PYTHONPATH": str(EXAMPLE.parents[1])}
    command = [sys.executable, "-c", SMALLER, str(example)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    for expected in ("2000", "recall@1", "10-recall@10", "codes alone", "originals", "ceiling", "queries/s", "bobcat"):
        assert expected in done.stderr
    told = json.loads(done.stdout)
    assert (told["vectors"], told["queries"], told["code_bytes"], told["float32_bytes"]) == (ROWS, QUERIES, 16, 1536)
    assert told["rescored"]["10_recall_at_10"] > 0.9 > told["codes_alone"]["10_recall_at_10"]
    assert told["ceiling"]["recall_at_1"] > 0.5
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
