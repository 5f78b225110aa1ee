"""A little of each room on every commit, with fixed seeds; and that a room notices a store that is careless."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.torture import damage, emptied, half_open, hostile, long_life, rooms, snapshotting
from tests.torture.__main__ import ROOMS
from tests.torture.failing import KINDS
from tests.torture.failing_room import failing_disk
from tests.torture.kept_codecs import keep_codecs
from tests.torture.recorded import small_stripes
from tests.torture.recording import Recorder, compiler, recorder
from tests.torture.report import PAGE, with_table

needs_compiler = pytest.mark.skipif(compiler() is None, reason="there is no C compiler to make the recorder with")
STEPS = 12


@pytest.fixture(scope="module")
def recording() -> Iterator[Recorder]:
    with recorder() as one:
        yield one


@pytest.fixture(autouse=True)
def _small_stripes_and_kept_codecs(monkeypatch: pytest.MonkeyPatch) -> None:
    small_stripes(monkeypatch.setattr)
    keep_codecs(monkeypatch.setattr)


@needs_compiler
def test_a_kill_at_any_point_loses_nothing_that_was_acknowledged(recording: Recorder) -> None:
    assert rooms.killed_at_every_point(recording, seed=101, steps=STEPS, every=11) > 20


@needs_compiler
def test_a_kill_while_recovering_loses_nothing(recording: Recorder) -> None:
    assert rooms.killed_while_recovering(recording, seed=102, steps=STEPS, moments=2, every=7) > 3


@needs_compiler
def test_a_power_cut_loses_nothing_that_was_acknowledged(recording: Recorder) -> None:
    assert rooms.without_power(recording, seed=103, steps=STEPS, cuts=25) == 25


@needs_compiler
@pytest.mark.parametrize("without", ["sync", "sync_folder"])
def test_a_store_that_does_not_sync_is_caught_by_power_cuts(recording: Recorder, without: str) -> None:
    with pytest.raises(AssertionError, match="power cut"):
        rooms.without_power(recording, seed=104, steps=STEPS, cuts=100, careless=without)


@needs_compiler
def test_a_disk_that_fails_refuses_and_goes_on_once_it_can() -> None:
    with failing_disk() as disk:
        for kind in KINDS:
            struck, refused = disk.live(seed=3, steps=STEPS, kind=kind)
            assert struck >= refused > 0


@pytest.mark.parametrize("kind", [damage.flip, damage.cut_short])
def test_damage_to_any_file_is_noticed_and_the_others_are_served(tmp_path: Path, kind: damage.Damage) -> None:
    found = damage.many(tmp_path, seed=105, steps=STEPS, damage=kind, count=25)
    assert found.total() >= 25


def test_a_snapshot_taken_while_writes_go_on_is_one_moment(tmp_path: Path) -> None:
    assert snapshotting.snapshots_under_writes(tmp_path, seed=106, rounds=4) == 4


def test_a_long_life_answers_as_a_fresh_build_of_the_same_vectors(tmp_path: Path) -> None:
    assert long_life.lived(tmp_path, seed=107, operations=4000, ids=1000).operations == 4000


def test_what_is_deleted_gives_its_room_back(tmp_path: Path) -> None:
    sizes = emptied.emptied(tmp_path, points=8000)
    empty, full, _ = sizes["disk"]
    assert full > 2 * empty


def test_half_open_clients_are_let_go_and_keep_nobody_out(tmp_path: Path) -> None:
    half_open.half_open(tmp_path, clients=60, seconds=0, timeout_s=1)


def test_bodies_that_ask_for_much_are_refused_without_it(tmp_path: Path) -> None:
    count, _, _ = hostile.refused(tmp_path, every=7)
    assert count > 5


def test_the_durability_page_tells_the_counts_that_were_reached() -> None:
    page = PAGE.read_text()
    assert with_table(page) == page, "run python -m tests.torture.report"
    assert all(f"| `{name}` |" in page for name in ROOMS)
