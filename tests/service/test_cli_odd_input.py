"""What a user can mend is told in one line, whatever a command is given."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.builders import clustered, tiny_codec
from tests.service.command_line import Run, runner
from tests.service.ctrl_c import heed_ctrl_c

COMMAND = [sys.executable, "-c", "from service.cli import main; main()"]
NOWHERE = "http://127.0.0.1:1"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(monkeypatch, capsys)


@pytest.fixture(autouse=True)
def odd_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("empty.npy", "empty.fvecs", "empty.bvecs", "empty.json", "codec"):
        Path(name).touch()
    for name in ("text.npy", "text.fvecs", "bad.json", "bad.toml", "bad.jsonl"):
        Path(name).write_text("{hello\n")
    Path("binary.json").write_bytes(b"\xff\xfe")
    for name in ("folder", "folder.npy", "folder.jsonl"):
        Path(name).mkdir()
    arrays = {
        "flat": np.arange(5.0), "words": np.array([["a", "b"]]), "complex": np.zeros((2, 3), complex),
        "dimensionless": np.zeros((5, 0), np.float32), "objects": np.array([{}]), "good": clustered(40),
    }  # fmt: skip
    for name, array in arrays.items():
        np.save(f"{name}.npy", array)
    Path("cut.npy").write_bytes(Path("good.npy").read_bytes()[:-3])
    for name, dim in (("minus", -3), ("zero", 0), ("huge", 2**31 - 1)):
        Path(f"{name}.fvecs").write_bytes(np.full(4, dim, "<i4").tobytes())
    Path("uneven.fvecs").write_bytes(np.array([[1, 7], [2, 7]], "<i4").tobytes())
    return tmp_path


NO_VECTORS = [
    "none.npy", "none.fvecs", "empty.npy", "empty.fvecs", "empty.bvecs", "text.npy", "text.fvecs", "bad.json", "folder",
    "folder.npy", "words.npy", "complex.npy", "dimensionless.npy", "objects.npy", "flat.npy", "cut.npy", "minus.fvecs",
    "zero.fvecs", "huge.fvecs",
]  # fmt: skip


def one_line(done: object, *words: str) -> None:
    status, error = done.status, done.err  # type: ignore[attr-defined]
    assert status in (1, 2), error
    assert len(error.splitlines()) == 1, error
    for word in words:
        assert word in error


@pytest.mark.parametrize("file", [*NO_VECTORS, "uneven.fvecs"])
@pytest.mark.parametrize(
    "command",
    [
        ("ingest", "{}", "--collection", "c", "--url", NOWHERE),
        ("train", "{}", "--out", "out", "--threads", "1"),
        ("model", "evaluate", "tiny", "--base", "{}", "--queries", "good.npy"),
        ("model", "evaluate", "tiny", "--base", "good.npy", "--queries", "{}"),
        ("model", "convert", "tiny", "out", "--fit", "{}"),
    ],
    ids=lambda command: "-".join(command[:2]),
)
def test_a_file_without_vectors_is_named(run: Run, odd_files: Path, command: tuple[str, ...], file: str) -> None:
    tiny_codec(odd_files).rename("tiny")
    named = [] if command[0] == "train" else [file]  # training names what it was given only where that is no array
    one_line(run(*[word.format(file) for word in command]), *named)
    assert not Path("out").exists()


@pytest.mark.parametrize(
    "file", ["none.json", "empty.json", "bad.json", "binary.json", "folder", "empty.npy", "words.npy", "complex.npy"]
)
def test_a_query_that_cannot_be_read_is_named(run: Run, file: str) -> None:
    one_line(run("query", "c", "--vector", file, "--url", NOWHERE), file)


@pytest.mark.parametrize("file", ["none.jsonl", "folder.jsonl", "bad.jsonl"])
def test_lines_that_cannot_be_read_are_named(run: Run, file: str) -> None:
    one_line(run("ingest", file, "--collection", "c", "--url", NOWHERE), file)


@pytest.mark.parametrize("url", ["notaurl", "http://", "http://[::1", "ftp://host", "localhost:6333"])
def test_a_url_that_is_none_is_named(run: Run, url: str) -> None:
    one_line(run("query", "c", "--id", "1", "--url", url), f"'{url}'", "http://localhost:6333")
    one_line(run("query", "c", "--id", "1", "--url", NOWHERE), "Is the server running?")


@pytest.mark.parametrize("command", ["serve", "config"])
@pytest.mark.parametrize("file", ["none.toml", "folder", "bad.toml", "binary.json"])
def test_settings_that_cannot_be_read_are_named(run: Run, command: str, file: str) -> None:
    one_line(run(command, "--config", file), file)


@pytest.mark.parametrize(
    "command",
    ["serve", "train", "ingest", "query", "demo", "config", "model", "model info", "model convert", "model evaluate"],
)
def test_an_unknown_option_is_named_with_where_to_look(run: Run, command: str) -> None:
    one_line(run(*command.split(), "--colour"), "--colour", f"'qinco-server {command} --help'")


def test_an_unknown_command_and_a_missing_argument_are_named(run: Run) -> None:
    one_line(run("surf"), "'surf'")
    one_line(run("model", "surf"), "'surf'")
    one_line(run("train", "good.npy"), "'--out'")
    one_line(run("train", "good.npy", "--out", "x", "--bytes", "lots"), "--bytes")
    one_line(run("train", "good.npy", "--out", "folder"), "folder")
    one_line(run("train", "good.npy", "--out", "none/x"), "none")


def test_a_device_that_is_not_there_is_told_before_serving(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    module = sys.modules["service.cli.serve"]
    monkeypatch.setattr(module, "give_memory_back", lambda: None)
    monkeypatch.setattr("service.logs.configure_logging", lambda level, form: None)
    one_line(run("serve", "--device", "cuda", "--data", "d"), "no CUDA device")


def test_help_asked_for_by_no_arguments_is_shown_without_complaint(run: Run) -> None:
    for command in ([], ["model"]):
        done = run(*command)
        assert "Usage" in done.out
        assert done.err == ""


def test_an_address_that_cannot_be_listened_on_ends_with_a_sentence() -> None:
    done = subprocess.run(
        [*COMMAND, "serve", "--host", "256.1.1.1", "--port", "0", "--data", "d"],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    assert "could not listen on 256.1.1.1, port 0" in done.stderr.splitlines()[-1]


def test_ctrl_c_ends_long_work_with_a_word_and_leaves_nothing(odd_files: Path) -> None:
    tiny_codec(odd_files).rename("tiny")
    np.save("many.npy", clustered(200_000))
    before = sorted(path.name for path in odd_files.iterdir())
    command = [*COMMAND, "model", "convert", "tiny", "out", "--fit", "many.npy", "--threads", "1"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(
        command, env=environment, stderr=subprocess.PIPE, text=True, preexec_fn=heed_ctrl_c
    ) as process:
        deadline = time.monotonic() + 60
        while not list(odd_files.glob(".converting-*")) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        error = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert error.splitlines()[-1] == "Stopped."
    assert "Traceback" not in error
    assert sorted(path.name for path in odd_files.iterdir()) == before
