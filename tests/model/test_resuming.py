"""A training that was interrupted goes on where it was, here or on another machine, or says why it cannot."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from model import load_codec
from model.errors import InvalidTrainingData
from model.training import Recipe, resume, train
from model.training.progress import Progress
from model.training.state_file import read_state, write_state
from tests.builders import clustered
from tests.model.trained import SMALL


def test_a_resumed_training_ends_where_an_unbroken_one_does(tmp_path):
    recipe = Recipe(**{**vars(SMALL), "epochs": 6})
    x = clustered(2000)
    unbroken = train(x, recipe, tmp_path / "unbroken.safetensors", lambda _: None)

    class Killed(Exception):
        pass

    def killed_in_the_third_epoch(news):
        if isinstance(news, Progress) and news.epoch > 2:
            raise Killed

    broken = tmp_path / "broken.safetensors"
    with pytest.raises(Killed):
        train(x, recipe, broken, killed_in_the_third_epoch)
    said: list[str | Progress] = []
    resumed = train(x, recipe, broken, said.append, resume=True)
    assert said[0] == "Resuming the training of the network"
    assert resumed["quality"] == unbroken["quality"]
    first, second = (load_codec(tmp_path / f"{name}.safetensors") for name in ("unbroken", "broken"))
    np.testing.assert_array_equal(first.additive_tables, second.additive_tables)
    assert not resume.state_path(broken).exists()


def test_the_state_is_kept_while_training_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(resume, "SAVE_EVERY_S", 0.0)
    kept: list[bool] = []
    out = tmp_path / "codec.safetensors"
    train(clustered(1000), SMALL, out, lambda _: kept.append(resume.state_path(out).exists()))
    assert not kept[0]
    assert kept[-2]
    assert not resume.state_path(out).exists()


@pytest.mark.parametrize(
    ("vectors", "changes", "sentence"),
    [(1001, {}, "on other vectors"), (1000, {"epochs": 9, "seed": 4}, "another epochs, seed")],
)
def test_only_the_same_training_is_resumed(tmp_path, vectors, changes, sentence):
    out = tmp_path / "codec.safetensors"

    def stop(news):
        if isinstance(news, Progress) and news.epoch > 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(clustered(1000), SMALL, out, stop)
    with pytest.raises(InvalidTrainingData, match=sentence):
        train(clustered(vectors), Recipe(**{**vars(SMALL), **changes}), out, stop, resume=True)


def test_there_must_be_a_training_to_resume(tmp_path):
    out = tmp_path / "codec.safetensors"
    with pytest.raises(InvalidTrainingData, match="no training to resume"):
        train(clustered(1000), SMALL, out, lambda _: None, resume=True)
    for content in (b"not a state", b"{not a list", b'{"format": "another"}', b"{}", b""):
        resume.state_path(out).write_bytes(content)
        with pytest.raises(InvalidTrainingData, match="cannot be read"):
            train(clustered(1000), SMALL, out, lambda _: None, resume=True)


def test_a_state_of_another_version_is_refused_by_a_sentence(tmp_path, monkeypatch):
    out = tmp_path / "codec.safetensors"
    assert not resume.can_go_on(resume.state_path(out))
    with monkeypatch.context() as before:
        before.setattr(resume, "VERSION", 2)
        interrupted(clustered(1000), out)
        assert resume.can_go_on(resume.state_path(out))
    assert not resume.can_go_on(resume.state_path(out))
    with pytest.raises(InvalidTrainingData, match="another version of this program"):
        train(clustered(1000), SMALL, out, lambda _: None, resume=True)


def test_a_state_in_parts_moves_to_another_machine_and_is_resumed_there(tmp_path):
    x = clustered(1000)
    here, there = (tmp_path / name / "codec.safetensors" for name in ("here", "there"))
    here.parent.mkdir()
    there.parent.mkdir()
    files = interrupted(x, here, state_part_bytes=50_000)
    assert len(files) > 3
    assert all(file.stat().st_size <= 50_000 for file in files)
    for file in files:
        shutil.copy(file, there.parent)
    whole = train(x, SMALL, tmp_path / "whole.safetensors", lambda _: None)
    resumed = train(x, SMALL, there, lambda _: None, resume=True)
    assert resumed["quality"] == whole["quality"]
    assert list(there.parent.iterdir()) == [there]


def test_of_two_states_in_parts_the_later_one_is_left(tmp_path, monkeypatch):
    monkeypatch.setattr(resume, "SAVE_EVERY_S", 0.0)
    files = interrupted(clustered(1000), tmp_path / "codec.safetensors", state_part_bytes=50_000)
    assert len({file.name.split("-")[1] for file in files[1:]}) == 1
    read_state(resume.state_path(tmp_path / "codec.safetensors"))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda part: part.unlink(), "-00002' of the training's state is missing"),
        (lambda part: part.write_bytes(b"?" + part.read_bytes()[1:]), "-00002' of the training's state is damaged"),
    ],
)
def test_a_part_that_is_missing_or_damaged_is_named(tmp_path, change, sentence):
    x, out = clustered(1000), tmp_path / "codec.safetensors"
    files = interrupted(x, out, state_part_bytes=50_000)
    change(files[2])
    with pytest.raises(InvalidTrainingData, match=sentence):
        train(x, SMALL, out, lambda _: None, resume=True)


def interrupted(x, out, **options):
    """The files that a training of SMALL leaves which is stopped in its second epoch."""

    def stop(news):
        if isinstance(news, Progress) and news.epoch > 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(x, SMALL, out, stop, **options)
    return sorted(out.parent.iterdir())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is always full")
def test_a_state_that_the_disk_has_no_room_for_is_told_as_such(tmp_path):
    path = tmp_path / "state"
    path.with_name("state.unfinished").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        write_state({"weights": torch.zeros(1 << 20)}, path, None)
    assert not list(tmp_path.iterdir())
