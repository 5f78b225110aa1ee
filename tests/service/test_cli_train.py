"""`qinco-server train`: what it shows, what it leaves, and how it is interrupted."""

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from model.training import Progress
from service.cli.training_display import display
from tests.builders import clustered
from tests.service.command_line import Run, runner
from tests.service.ctrl_c import heed_ctrl_c

COMMAND = [sys.executable, "-c", "from service.cli import main; main()"]
OPTIONS = ("--bytes", "2", "--preset", "XS", "--threads", "1", "--lists", "4")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(monkeypatch, capsys)


@pytest.fixture
def vectors(tmp_path: Path) -> Path:
    np.save(tmp_path / "x.npy", clustered(1500))
    return tmp_path / "x.npy"


def test_a_training_leaves_a_checkpoint_a_report_and_curves(run: Run, vectors: Path) -> None:
    out, curves = vectors.with_name("codec.safetensors"), vectors.with_name("curves")
    done = run("train", vectors, "--out", out, "--epochs", "2", "--tensorboard", curves, *OPTIONS)
    assert done.status == 0, done.err
    assert "codec.report.md. On vectors set apart: MSE" in done.out
    assert "Making codebook 2 of 2" in done.err
    assert "Epoch 2.00 of 2.00: loss" in done.err
    names = {path.name for path in out.parent.iterdir()}
    assert names == {"x.npy", "codec.safetensors", "codec.report.md", "codec.report.png", "curves"}
    drawn = EventAccumulator(str(curves)).Reload()
    assert {"loss", "mse/training", "mse/set apart", "dead_codewords/step 2"} <= set(drawn.Tags()["scalars"])
    assert drawn.Scalars("loss")[-1].step == 2000


def test_json_tells_all_that_the_checkpoint_does(run: Run, vectors: Path) -> None:
    out = vectors.with_name("codec.safetensors")
    told = json.loads(run("train", vectors, "--out", out, "--epochs", "1", "--json", *OPTIONS).out)
    assert {
        "recipe",
        "data",
        "quality",
        "steps",
        "history",
        "machine",
        "encode_us",
        "decode_us",
        "seconds",
        "start_mse",
        "kept_at",
        "ended_early",
    } == set(told)


def test_a_terminal_shows_a_bar(vectors: Path) -> None:
    ours, theirs = pty.openpty()
    command = [*COMMAND, "train", str(vectors), "--out", str(vectors.with_name("codec")), "--epochs", "2", *OPTIONS]
    subprocess.run(command, stderr=theirs, stdout=subprocess.DEVNULL, check=True, env=os.environ | {"COLUMNS": "150"})
    os.close(theirs)
    shown = b""
    while True:
        try:
            shown += os.read(ours, 65536)
        except OSError:  # what was written has been read
            break
    os.close(ours)
    for part in ("Epoch 2.00 of 2.00", "━", "0:00 left", "loss", "vectors/s", "Fitting the shortlist decoders"):
        assert part in shown.decode()


def test_ctrl_c_keeps_the_state_and_resume_goes_on(run: Run, vectors: Path) -> None:
    out = vectors.with_name("codec.safetensors")
    command = ["train", str(vectors), "--out", str(out), *OPTIONS]
    with subprocess.Popen(
        [*COMMAND, *command, "--epochs", "3000"], stderr=subprocess.PIPE, text=True, preexec_fn=heed_ctrl_c
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("Epoch"):
                process.send_signal(signal.SIGINT)
                break
        rest = process.stderr.read()
    assert "The state is kept: the same command with --resume continues." in rest
    assert process.returncode == 130
    assert out.with_name("codec.safetensors.state").exists()
    assert not out.exists()
    resumed = run(*command, "--epochs", "2", "--resume")
    assert resumed.status == 1
    assert "another epochs" in resumed.err


def test_dead_codewords_are_warned_of_once(capsys: pytest.CaptureFixture[str]) -> None:
    figures = dict.fromkeys(("epoch", "epochs", "loss", "training_mse", "vectors_per_s", "eta_s", "elapsed_s"), 1.0)
    with display(None) as report:
        for _ in range(3):
            report(Progress(**figures, validation_mse=2.0, dead_codewords=(60,), codewords=256))
    assert capsys.readouterr().err.count("Warning: 60 of 256 codewords of step 1 are chosen by no vector") == 1
