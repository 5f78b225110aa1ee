"""Processes that train one network together train as one does."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from model.checkpoint import ours
from model.errors import InvalidTrainingData
from model.training import train
from model.training.peers import Peers
from tests.builders import clustered
from tests.model.trained import SMALL

COMMAND = Path(sys.executable).with_name("qinco-server")


def test_two_processes_train_as_one_does(tmp_path):
    """Losses alike up to rounding; one codec, written once, and nothing left beside it."""
    vectors = tmp_path / "vectors.npy"
    np.save(vectors, clustered(2000))
    told = {}
    for count in 1, 2:
        out = tmp_path / f"{count}.safetensors"
        launched = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(count), "--no-python"]
        options = ["--bytes", "3", "--preset", "XS", "--epochs", "2", "--lists", "4", "--batch", "64", "--threads", "1"]
        done = subprocess.run(
            [*launched, COMMAND, "train", vectors, "--out", out, *options], capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("Wrote") == 1
        told[count] = ours.read_training(out)
    for name in "loss", "training_mse", "validation_mse":
        alone, together = ([one[name] for one in told[count]["history"] if one["epoch"] in (1, 2)] for count in (1, 2))
        assert together == pytest.approx(alone, rel=1e-2), name
    assert {path.name for path in tmp_path.iterdir()} == {
        "vectors.npy", "1.safetensors", "2.safetensors", "1.report.md", "2.report.md", "1.report.png", "2.report.png"
    }  # fmt: skip


def test_shares_of_a_batch_make_it_up_evenly_or_it_is_refused(tmp_path):
    rows = torch.arange(12)
    shares = [rows[Peers(rank, 3).slice] for rank in range(3)]
    assert [len(share) for share in shares] == [4, 4, 4]
    assert torch.equal(torch.stack(shares, dim=1).flatten(), rows)
    with pytest.raises(InvalidTrainingData, match="100 vectors is not to be shared out evenly to 3 processes"):
        train(clustered(1000), replace(SMALL, batch=100), tmp_path / "codec.safetensors", print, peers=Peers(0, 3))
