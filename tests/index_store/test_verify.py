"""`verify` reads all of a folder: what is sound passes, and a flipped bit is told by its file and place."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index_store import Store
from index_store.errors import DamagedData, FolderInUse
from index_store.verify import verify
from tests.builders import clustered
from tests.index_store.making import DIM, encode_all, fill, make_collection, store_at
from tests.torture.recorded import small_stripes

# A lock holds a number for people; without its seal a database is looked at otherwise; rows follow from segments.
UNCHECKED = ("lock", ".seal", ".rows")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every kind of file."""
    folder = tmp_path_factory.mktemp("verify")
    with store_at(folder) as store:
        collection = make_collection(store, folder, lists=0)
        fill(collection, 200)
        encode_all(collection, 100)
        collection.upsert([1000], {"default": clustered(1, DIM)}, [{"colour": "red"}])
        collection.delete([3])
        make_collection(store, folder, "other", lists=None)
        collection.codes.keep_steps(2, "default", lambda share: None)  # brings shortlist decoders of its own
    return folder / "data"


def checked_files(data: Path) -> list[Path]:
    return sorted(path for path in data.rglob("*") if path.is_file() and not path.name.endswith(UNCHECKED))


def test_every_kind_of_file_is_looked_at(data: Path) -> None:
    verdict = verify(data)
    assert verdict.damages == []
    assert (verdict.collections, verdict.models) == (2, 1)
    kinds = {path.suffix for path in checked_files(data)}
    assert kinds == {".sqlite3", ".safetensors", ".seg", ".vec", ".bin", ".tables"}
    assert verdict.files == len(checked_files(data))
    assert verdict.size_bytes == sum(path.stat().st_size for path in checked_files(data))


@settings(max_examples=80)
@given(draw=st.data())
def test_a_flipped_bit_is_told_by_its_file(data: Path, draw: st.DataObject) -> None:
    path = draw.draw(st.sampled_from(checked_files(data)))
    place = draw.draw(st.integers(0, path.stat().st_size - 1))
    sound = path.read_bytes()
    flipped = bytearray(sound)
    flipped[place] ^= 1 << draw.draw(st.integers(0, 7))
    path.write_bytes(flipped)
    try:
        told = [(one.file, one.offset) for one in verify(data).damages]
    finally:
        path.write_bytes(sound)
    if path.suffix == ".seg" and not told:
        assert is_padding(sound, place)
        return
    assert [file for file, _ in told] == [path.relative_to(data).as_posix()]
    assert all(offset is None or offset <= place for _, offset in told)


def is_padding(segment: bytes, place: int) -> bool:
    """Whether a byte lies between the blocks of a segment, where nobody reads."""
    length = int.from_bytes(segment[12:16], "little")
    blocks = json.loads(segment[16 : 16 + length])["blocks"].values()
    size = {"<i8": 8, "|u1": 1, "<u4": 4, "<u2": 2}
    ends = [16 + length + 4]
    for one in blocks:
        count = 1
        for side in one["shape"]:
            count *= side
        ends.append(one["offset"] + count * size[one["dtype"]])
    starts = [one["offset"] for one in blocks]
    return any(end <= place < start for end, start in zip(ends, starts, strict=False))


@pytest.mark.parametrize("kind", [".sqlite3", ".safetensors", ".seg", ".vec", ".tables"])
def test_a_file_that_is_gone_or_cut_short_is_told(data: Path, kind: str) -> None:
    path = next(one for one in checked_files(data) if one.suffix == kind and one.name != "catalogue.sqlite3")
    sound = path.read_bytes()
    try:
        path.write_bytes(sound[: len(sound) // 2])
        assert [one.file for one in verify(data).damages][:1] == [path.relative_to(data).as_posix()]
        path.unlink()
        assert [one.file for one in verify(data).damages] == [path.relative_to(data).as_posix()]
    finally:
        path.write_bytes(sound)


def test_a_folder_in_use_and_one_that_is_none_are_not_checked(tmp_path: Path) -> None:
    with store_at(tmp_path), pytest.raises(FolderInUse):
        verify(tmp_path / "data")
    with pytest.raises(DamagedData, match="not a data folder"):
        verify(tmp_path)


def test_the_command_tells_damage_by_its_status(data: Path, tmp_path: Path) -> None:
    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        program = "from service.cli import main; main()"
        command = [sys.executable, "-c", program, "verify", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert run(str(tmp_path)).returncode == 1
    path = next(one for one in checked_files(data) if one.suffix == ".vec")
    sound = path.read_bytes()
    path.write_bytes(sound[:-1] + bytes([sound[-1] ^ 1]))
    try:
        ended = run(str(data), "--json")
        told = json.loads(ended.stdout)
        assert (ended.returncode, told["is_sound"], len(told["damages"])) == (3, False, 1)
        assert told["damages"][0]["file"] == path.relative_to(data).as_posix()
    finally:
        path.write_bytes(sound)


def open_names(data: Path) -> tuple[list[str], list[str]]:
    """Which collections a start serves, and which it refuses."""
    served, refused = [], []
    store = Store.open(data, threads=1)
    try:
        for name in store.collections():
            try:
                store.collection(name).count()
                served.append(name)
            except DamagedData:
                refused.append(name)
    finally:
        store.close()
    return served, refused


def test_a_database_that_changed_while_it_was_closed_is_refused_and_the_others_are_served(tmp_path: Path) -> None:
    with store_at(tmp_path) as store:
        collection = make_collection(store, tmp_path, lists=None)
        make_collection(store, tmp_path, "other", lists=None)
        collection.upsert([1], {"default": clustered(1, DIM)}, [{"colour": "red"}])
    path = next(one for one in tmp_path.glob("data/collections/*/points.sqlite3") if b"colour" in one.read_bytes())
    sound = path.read_bytes()
    path.write_bytes(sound.replace(b'"red"', b'"rod"'))
    for _ in range(2):
        assert open_names(tmp_path / "data") == (["other"], ["terms"])
    path.write_bytes(sound)
    assert open_names(tmp_path / "data") == (["other", "terms"], [])


def test_a_stripe_of_originals_that_is_gone_is_noticed_at_the_start(tmp_path: Path) -> None:
    with store_at(tmp_path) as store:
        fill(make_collection(store, tmp_path), 20)
    (stripe,) = tmp_path.glob("data/collections/*/vectors/default/originals/*.vec")
    stripe.unlink()
    assert open_names(tmp_path / "data") == ([], ["terms"])


def test_damage_behind_a_write_that_two_stripes_share_is_told_by_its_own_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_stripes(monkeypatch.setattr)
    with store_at(tmp_path) as store:
        fill(make_collection(store, tmp_path), 100)  # one write, the rows from 64 on in the second stripe
    second = next(tmp_path.glob("data/collections/*/vectors/default/originals/00000001.vec"))
    data = second.read_bytes()
    second.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    (damage,) = verify(tmp_path / "data").damages
    assert damage.file == second.relative_to(tmp_path / "data").as_posix()
