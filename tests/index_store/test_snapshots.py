"""Snapshots: one moment, packed while writes go on; put back whole, or refused and nothing changed."""

import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index_store import CodesConfig, Collection, SearchPlan, Store, backup
from index_store.errors import DiskFull, InvalidSnapshot, SnapshotNotFound
from index_store.storage import Storage
from model.errors import QincoError
from tests.builders import clustered, tiny_codec
from tests.index_store.making import DIM, THOROUGH, encode_all, fill, ids_of, make_collection, store_at
from tests.index_store.test_faults import FailingStorage, disk_full

QUERIES = clustered(5, DIM, seed=9)


def snapshot_path(store: Store) -> Path:
    record = store.create_snapshot("terms")
    return store.snapshots.path("terms", record.name)


def used_folders(folder: Path) -> int:
    return len(list((folder / "data" / "collections").iterdir()))


@pytest.mark.parametrize("codes", [{"lists": 8}, {"lists": 0}, {"lists": None}, {"originals": "none"}])
def test_a_snapshot_brings_back_points_codes_and_payloads(tmp_path: Path, codes: dict) -> None:
    with store_at(tmp_path) as store:
        collection = make_collection(store, tmp_path, **codes)
        fill(collection, 300)
        encode_all(collection, 100)
        collection.delete([1, 2, 3])
        collection.upsert([1000], {"default": QUERIES[:1]}, [{"colour": "red"}])
        before, info = collection.query(QUERIES, THOROUGH, with_payload=True), collection.info()
        archive = snapshot_path(store)
        collection.delete(range(200))
        fill(collection, 10, first=5000)
        store.restore_snapshot("terms", archive)
        store.restore_snapshot("copy", archive)
        for name in ("terms", "copy"):
            restored = store.collection(name)
            assert restored.query(QUERIES, THOROUGH, with_payload=True) == before
            assert (restored.count(), restored.info().pending) == (info.points, info.pending)
            assert restored.retrieve([1000])[0].payload == {"colour": "red"}
            restored.upsert([7777], {"default": QUERIES[:1]})
        assert used_folders(tmp_path) == 2
    with store_at(tmp_path) as store:
        assert [store.collection(name).count() for name in ("terms", "copy")] == [info.points + 1] * 2


@pytest.mark.parametrize("is_deleted", [False, True])
def test_a_snapshot_holds_the_model_of_its_codes_when_another_takes_over_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_deleted: bool
) -> None:
    with store_at(tmp_path) as store:
        collection = make_collection(store, tmp_path)
        fill(collection, 100)
        encode_all(collection)
        store.put_model("later", tiny_codec(tmp_path, dim=DIM, steps=6, lists=4, seed=5))
        capture, moments = backup.capture, list[str]()

        def captured(held: Any, folder: Path, config: Any) -> Any:
            """The other model takes over as soon as the first moment is captured."""
            files, of_then = capture(held, folder, config)
            moments.append(of_then.codes_of("default").model)
            if len(moments) == 1:
                store.reencode("terms", "default", CodesConfig(model="later"), lambda share: None)
                if is_deleted:
                    store.delete_model("tiny8")
            return files, of_then

        monkeypatch.setattr(backup, "capture", captured)
        archive = snapshot_path(store)
        assert moments == (["tiny8", "later"] if is_deleted else ["tiny8"])
    with store_at(tmp_path / "elsewhere") as other:
        other.restore_snapshot("terms", archive)
        assert [one.name for one in other.models()] == [moments[-1]]
        assert other.collection("terms").info().model == moments[-1]
        assert len(other.collection("terms").query(QUERIES, THOROUGH)[0]) == 10
    assert used_folders(tmp_path) == 1


def test_a_file_that_others_took_the_place_of_may_go_while_a_snapshot_is_taken(tmp_path: Path) -> None:
    class Forgetful(Storage):
        def link(self, source: Path, target: Path) -> None:
            if source.suffix == ".rows":
                source.unlink()
            super().link(source, target)

    with store_at(tmp_path, Forgetful()) as store:
        collection = make_collection(store, tmp_path)
        fill(collection, 100)
        encode_all(collection)
        assert list(tmp_path.glob("data/collections/*/vectors/default/slots/*.rows"))
        before = collection.query(QUERIES, THOROUGH)
        store.restore_snapshot("copy", snapshot_path(store))
        assert store.collection("copy").query(QUERIES, THOROUGH) == before


def test_a_snapshot_brings_its_checkpoint_to_a_server_that_has_none(tmp_path: Path) -> None:
    with store_at(tmp_path) as store:
        collection = make_collection(store, tmp_path)
        fill(collection, 100)
        encode_all(collection)
        before = collection.query(QUERIES, THOROUGH)
        archive = snapshot_path(store)
    with store_at(tmp_path / "elsewhere") as other:
        other.restore_snapshot("terms", archive)
        assert [one.name for one in other.models()] == ["tiny8"]
        assert other.collection("terms").query(QUERIES, THOROUGH) == before
    with store_at(tmp_path / "taken") as other:  # another model has the name already
        make_collection(other, tmp_path, name="own", lists=0)
        other.put_model("tiny8", other.model_path("tiny0"))
        other.restore_snapshot("terms", archive)
        assert len(other.models()) == 3
        assert other.collection("terms").query(QUERIES, THOROUGH) == before
    with store_at(tmp_path / "taken") as other:
        assert other.collection("terms").query(QUERIES, THOROUGH) == before


def test_a_snapshot_taken_while_writes_go_on_is_one_moment(tmp_path: Path) -> None:
    """Each write changes ten points together; a snapshot that held some of a write would show two of its numbers."""
    with store_at(tmp_path) as store:
        collection = make_collection(store, tmp_path)
        stop = threading.Event()

        def write() -> None:
            number = 0
            while not stop.is_set():
                number += 1
                vectors = np.full((10, DIM), number, np.float32)
                collection.upsert(range(10), {"default": vectors}, [{"number": number}] * 10)
                collection.encode_pending(20)
                collection.merge()

        writing = threading.Thread(target=write)
        writing.start()
        try:
            for _ in range(5):
                archive = snapshot_path(store)
                store.restore_snapshot("copy", archive)
                records = store.collection("copy").retrieve(range(10), with_vector=True)
                numbers = {record.payload["number"] for record in records if record.payload}
                assert len(numbers) == (1 if records else 0)
                assert {float(record.vectors["default"][0]) for record in records if record.vectors} == numbers
        finally:
            stop.set()
            writing.join()


def archive_of(folder: Path) -> Path:
    with store_at(folder) as store:
        collection = make_collection(store, folder)
        fill(collection, 60)
        encode_all(collection, 30)
        return snapshot_path(store)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return archive_of(tmp_path_factory.mktemp("snapshot"))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Store]]:
    folder = tmp_path_factory.mktemp("served")
    with store_at(folder) as store:
        fill(make_collection(store, folder, lists=None), 5)
        yield folder, store


def assert_refused(served: tuple[Path, Store], data: bytes) -> None:
    folder, store = served
    damaged = folder / "damaged"
    damaged.write_bytes(data)
    with pytest.raises(QincoError):
        store.restore_snapshot("terms", damaged)
    assert store.collection("terms").count() == 5
    assert used_folders(folder) == 1
    assert store.models() == []


@settings(max_examples=60)
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_in_an_archive_is_refused_or_harmless(
    served: tuple[Path, Store], archive: Path, place: float, bit: int
) -> None:
    data = bytearray(archive.read_bytes())
    at = int(place * len(data))
    data[at] ^= 1 << bit
    if is_padding(archive, at):
        return
    assert_refused(served, bytes(data))


def test_a_flipped_bit_anywhere_in_the_manifest_is_refused(served: tuple[Path, Store], archive: Path) -> None:
    data = archive.read_bytes()
    with tarfile.open(archive) as members:
        manifest = members.getmember("manifest.json")
    for at in (manifest.offset_data + place * manifest.size // 40 for place in range(40)):
        flipped = bytearray(data)
        flipped[at] ^= 1
        assert_refused(served, bytes(flipped))


def is_padding(archive: Path, at: int) -> bool:
    """Whether a byte lies behind a member's end, or in fields of its header that mean nothing here."""
    with tarfile.open(archive) as members:
        return not any(one.offset <= at < one.offset_data + one.size for one in members)


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.9, 0.99])
def test_an_archive_that_was_cut_short_is_refused(served: tuple[Path, Store], archive: Path, share: float) -> None:
    data = archive.read_bytes()
    assert_refused(served, data[: int(len(data) * share)])


def test_a_tar_of_something_else_is_refused(served: tuple[Path, Store], tmp_path: Path) -> None:
    for kind in (tarfile.SYMTYPE, tarfile.DIRTYPE, tarfile.LNKTYPE, tarfile.XHDTYPE):
        member = tarfile.TarInfo("000000")
        member.type, member.linkname = kind, "/etc/passwd"
        assert_refused(served, member.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    assert_refused(served, b"not an archive")


def test_another_checksum_than_announced_is_refused(served: tuple[Path, Store], archive: Path) -> None:
    with pytest.raises(InvalidSnapshot, match="SHA-256"):
        served[1].restore_snapshot("terms", archive, "0" * 64)


def test_a_full_disk_leaves_no_trace_of_a_snapshot_and_none_of_a_restore(tmp_path: Path) -> None:
    disk = FailingStorage()
    with store_at(tmp_path, disk) as store:
        collection = make_collection(store, tmp_path)
        vectors = fill(collection, 20)
        archive = snapshot_path(store)
        disk.suffix, disk.fail_write = ".tmp", disk_full
        with pytest.raises(DiskFull):
            store.create_snapshot("terms")
        disk.suffix = ""
        with pytest.raises(DiskFull):
            store.restore_snapshot("terms", archive)
        disk.fail_write = None
        assert len(list((tmp_path / "data/snapshots/terms").iterdir())) == 2
        assert used_folders(tmp_path) == 1
        assert ids_of(collection.query(vectors, SearchPlan(1))) == [[i] for i in range(20)]


def test_snapshots_are_listed_deleted_and_survive_their_collection(tmp_path: Path) -> None:
    with store_at(tmp_path) as store:
        fill(make_collection(store, tmp_path), 20)
        first, second = store.create_snapshot("terms"), store.create_snapshot("terms")
        assert {one.name for one in store.snapshots.all("terms")} == {first.name, second.name}
        store.snapshots.delete("terms", first.name)
        for name in (first.name, "../lock", "", f"{second.name}.sha256"):
            with pytest.raises(SnapshotNotFound):
                store.snapshots.path("terms", name)
        store.delete_collection("terms")
        (tmp_path / "data/snapshots/terms/left.snapshot.tmp").write_bytes(b"begun")
    with store_at(tmp_path) as store:
        assert store.snapshots.all("terms") == [second]
        store.restore_snapshot("terms", store.snapshots.path("terms", second.name), second.sha256)
        assert store.collection("terms").count() == 20
        assert len(list((tmp_path / "data/snapshots/terms").iterdir())) == 2


class UnlinkingStorage(Storage):
    """A file system that knows no links."""

    def link(self, source: Path, target: Path) -> None:
        self._copy(source, target)


def test_a_file_system_without_links_gives_the_same_snapshot(tmp_path: Path) -> None:
    with store_at(tmp_path, UnlinkingStorage()) as store:
        collection = make_collection(store, tmp_path)
        fill(collection, 30)
        encode_all(collection)
        store.restore_snapshot("copy", snapshot_path(store))
        assert store.collection("copy").count() == 30


def closed(collection: Collection) -> bool:
    try:
        collection.delete([1])
    except QincoError:
        return True
    return False


def test_what_a_restored_collection_replaces_is_closed(tmp_path: Path) -> None:
    with store_at(tmp_path) as store:
        collection = make_collection(store, tmp_path)
        fill(collection, 20)
        store.restore_snapshot("terms", snapshot_path(store))
        assert closed(collection)
        assert not closed(store.collection("terms"))
