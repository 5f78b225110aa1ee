"""When the disk fails: nothing half-written is seen, a full disk passes, a failed sync ends writing until a restart."""

import errno
import gc
import os
import resource
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from index_store import Collection, CollectionConfig, SearchPlan, VectorConfig
from index_store.catalogue import Catalogue, CollectionEntry
from index_store.errors import DiskFull, DiskUnavailable, ReadOnly
from index_store.storage import Storage, SyncFailed
from tests.builders import clustered, tiny_codec
from tests.index_store.making import DIM, THOROUGH, encode_all, fill, ids_of, make_collection, store_at


class FailingStorage(Storage):
    """A disk that fails once told to, on paths that end in `suffix`."""

    def __init__(self) -> None:
        super().__init__()
        self.suffix = ".vec"
        self.fail_write: Callable[[Path, int, memoryview], None] | None = None
        self.fails_sync = False
        self.fails_cut = False

    def write_at(self, path: Path, offset: int, data: memoryview) -> None:
        if self.fail_write and path.suffix == self.suffix:
            super().write_at(path, offset, data[: len(data) // 2])
            self.fail_write(path, offset, data)
        super().write_at(path, offset, data)

    def sync(self, path: Path) -> None:
        if self.fails_sync and path.suffix == self.suffix:
            raise SyncFailed(errno.EIO, "Input/output error")
        super().sync(path)

    def cut(self, path: Path, size: int) -> None:
        if self.fails_cut:
            raise OSError(errno.EIO, "Input/output error")
        super().cut(path, size)


def disk_full(path: Path, offset: int, data: memoryview) -> None:
    raise DiskFull("The disk is full.")


def io_error(path: Path, offset: int, data: memoryview) -> None:
    raise OSError(errno.EIO, "Input/output error")


def stripe_size(folder: Path) -> int:
    (stripe,) = folder.glob("data/collections/*/vectors/default/originals/*.vec")
    return stripe.stat().st_size


def assert_holds(collection: Collection, vectors: np.ndarray) -> None:
    """Exactly these points, found by their vectors."""
    assert collection.count() == len(vectors)
    assert ids_of(collection.query(vectors, SearchPlan(1, nprobe=8))) == [[i] for i in range(len(vectors))]


def test_a_full_disk_refuses_the_request_and_later_ones_succeed(tmp_path: Path) -> None:
    disk = FailingStorage()
    with store_at(tmp_path, disk) as store:
        collection = make_collection(store, tmp_path)
        vectors = fill(collection, 20)
        size = stripe_size(tmp_path)
        disk.fail_write = disk_full
        with pytest.raises(DiskFull):
            fill(collection, 20, first=20, seed=2)
        assert stripe_size(tmp_path) == size
        assert_holds(collection, vectors)
        disk.fail_write = None
        vectors = np.concatenate([vectors, fill(collection, 20, first=20, seed=2)])
        assert_holds(collection, vectors)
    with store_at(tmp_path) as store:
        assert_holds(store.collection("terms"), vectors)


def test_a_reserve_of_the_disk_is_left_to_deletes(tmp_path: Path) -> None:
    with store_at(tmp_path) as store:
        vectors = fill(make_collection(store, tmp_path), 20)
    with store_at(tmp_path, Storage(reserve_bytes=1 << 60)) as store:
        collection = store.collection("terms")
        with pytest.raises(DiskFull, match="deleting goes on"):
            fill(collection, 20, first=20, seed=2)
        collection.delete([19])
        encode_all(collection)
        assert_holds(collection, vectors[:19])


@pytest.mark.parametrize("fault", ["sync", "write", "cut"])
def test_after_a_fault_of_the_disk_a_collection_is_read_only_until_a_restart(tmp_path: Path, fault: str) -> None:
    disk = FailingStorage()
    with store_at(tmp_path, disk) as store:
        collection = make_collection(store, tmp_path)
        vectors = fill(collection, 20)
        disk.fails_sync = fault == "sync"
        disk.fails_cut = fault == "cut"
        disk.fail_write = {"write": io_error, "cut": disk_full, "sync": None}[fault]
        with pytest.raises(DiskFull if fault == "cut" else ReadOnly):
            fill(collection, 20, first=20, seed=2)
        disk.fails_sync = disk.fails_cut = False
        disk.fail_write = None
        with pytest.raises(ReadOnly, match="Input/output error"):
            fill(collection, 20, first=20, seed=2)
        with pytest.raises(ReadOnly, match="restarted"):
            collection.delete([1])
        assert "Input/output error" in (collection.info().read_only_because or "")
        assert collection.encode_pending(10) == 0
        assert_holds(collection, vectors)
    with store_at(tmp_path) as store:
        collection = store.collection("terms")
        assert_holds(collection, vectors)
        assert_holds(collection, np.concatenate([vectors, fill(collection, 20, first=20, seed=2)]))


def test_a_segment_that_cannot_be_written_leaves_its_rows_pending(tmp_path: Path) -> None:
    disk = FailingStorage()
    with store_at(tmp_path, disk) as store:
        collection = make_collection(store, tmp_path)
        vectors = fill(collection, 50)
        disk.suffix, disk.fail_write = ".tmp", disk_full
        with pytest.raises(DiskFull):
            collection.encode_pending(50)
        assert collection.info().pending == 50
        assert_holds(collection, vectors)
        disk.fail_write = None
        encode_all(collection)
        assert collection.info().pending == 0
        assert_holds(collection, vectors)


def test_a_segment_whose_sync_failed_is_not_published(tmp_path: Path) -> None:
    disk = FailingStorage()
    with store_at(tmp_path, disk) as store:
        collection = make_collection(store, tmp_path)
        vectors = fill(collection, 50)
        disk.suffix, disk.fails_sync = ".tmp", True
        with pytest.raises(ReadOnly):
            collection.encode_pending(50)
        assert collection.view().segments == ()
        assert_holds(collection, vectors)
    with store_at(tmp_path) as store:
        collection = store.collection("terms")
        encode_all(collection)
        assert_holds(collection, vectors)


def test_a_transaction_that_the_database_refuses_is_wholly_undone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with store_at(tmp_path) as store:
        collection = make_collection(store, tmp_path)
        vectors = fill(collection, 20)
        collection._held.points.db.execute("PRAGMA max_page_count = 1")  # SQLITE_FULL at the next page
        with pytest.raises(DiskFull):
            collection.upsert(range(20, 320), {"default": clustered(300, DIM)}, [{"text": "x" * 500}] * 300)
        collection._held.points.db.execute("PRAGMA max_page_count = 1000000")
        assert_holds(collection, vectors)
        assert stripe_size(tmp_path) == 64 + 20 * 4 * DIM
        vectors = np.concatenate([vectors, fill(collection, 20, first=20, seed=2)])
        assert_holds(collection, vectors)
        assert len(collection.query(vectors[:1], THOROUGH)[0]) == 10


class FailingFolders(Storage):
    """A disk that does not keep the names in its folders, once told to."""

    fails = False

    def sync_folder(self, folder: Path) -> None:
        if self.fails:
            raise SyncFailed(errno.EIO, "Input/output error")
        super().sync_folder(folder)


def test_a_failed_sync_of_what_one_request_made_refuses_that_request_alone(tmp_path: Path) -> None:
    disk = FailingFolders()
    with store_at(tmp_path, disk) as store:
        collection = make_collection(store, tmp_path)
        vectors = fill(collection, 20)
        archive = store.snapshots.path("terms", store.create_snapshot("terms").name)
        checkpoint = tiny_codec(tmp_path, dim=DIM, steps=3)
        disk.fails = True
        asked: list[Callable[[], object]] = [
            lambda: store.create_snapshot("terms"),
            lambda: store.restore_snapshot("terms", archive),
            lambda: store.put_model("later", checkpoint),
            lambda: store.create_collection("later", collection.config),
        ]
        for ask in asked:
            with pytest.raises(DiskUnavailable, match="restart"):
                ask()
        disk.fails = False
        assert ids_of(collection.query(vectors, SearchPlan(1))) == [[i] for i in range(20)]
        assert len(store.snapshots.all("terms")) == 1
    with store_at(tmp_path) as store:
        assert (store.collections(), [one.name for one in store.models()]) == (["terms"], ["tiny8"])
        assert store.collection("terms").count() == 20


def test_the_catalogue_tells_of_a_disk_that_fails(tmp_path: Path) -> None:
    catalogue = Catalogue(tmp_path / "catalogue.sqlite3")
    config = CollectionConfig({"default": VectorConfig(DIM, "Euclid")})
    pages = catalogue._db.execute("PRAGMA page_count").fetchone()[0]
    catalogue._db.execute(f"PRAGMA max_page_count = {pages}")
    catalogue.add_collection(CollectionEntry("c0", "folder", config), 0.0)
    with pytest.raises(DiskFull):
        catalogue.add_collection(CollectionEntry("c1", "folder" * 10_000, config), 0.0)
    with pytest.raises(DiskFull):
        catalogue.set_aliases({f"alias-{place}" * 20: "c0" for place in range(1000)})
    assert catalogue.aliases() == {}
    catalogue._db.execute("PRAGMA query_only = 1")
    with pytest.raises(DiskUnavailable):
        catalogue.remove_collection("c0")
    catalogue.close()


@pytest.mark.parametrize("error", [DiskFull("full"), DiskUnavailable("too many files"), SyncFailed(errno.EIO, "EIO")])
def test_what_cannot_be_sealed_is_deleted_replaced_and_closed_all_the_same(tmp_path: Path, error: Exception) -> None:
    disk = FailingStorage()

    def fail(path: Path, offset: int, data: memoryview) -> None:
        if path.name.endswith(".sqlite3.tmp"):
            raise error

    with store_at(tmp_path, disk) as store:
        fill(make_collection(store, tmp_path), 20)
        fill(make_collection(store, tmp_path, name="other"), 30)
        archive = store.snapshots.path("terms", store.create_snapshot("terms").name)
        disk.suffix, disk.fail_write = ".tmp", fail
        store.restore_snapshot("other", archive)
        assert store.collection("other").count() == 20
        store.delete_collection("terms")
        assert store.collections() == ["other"]
        assert len(list((tmp_path / "data/collections").iterdir())) == 1
    assert not list(tmp_path.rglob("*.seal"))
    with store_at(tmp_path) as store:
        assert (store.collections(), store.collection("other").count()) == (["other"], 20)


@pytest.mark.parametrize("damaged", ["*.vec", "points.sqlite3"])
def test_a_collection_that_is_refused_keeps_none_of_its_files_open(tmp_path: Path, damaged: str) -> None:
    with store_at(tmp_path) as store:
        fill(make_collection(store, tmp_path), 20)
    (file,) = (tmp_path / "data/collections").rglob(damaged)
    with file.open("r+b") as opened:
        opened.write(b"spoilt")
    gc.collect()
    gc.disable()  # what is only let go by chance is not let go
    try:
        with store_at(tmp_path) as store:
            assert store.damage("terms")
            held = {target for one in Path("/proc/self/fd").iterdir() if (target := link_of(one)) is not None}
            assert not [one for one in held if "/collections/" in one and str(tmp_path) in one]
    finally:
        gc.enable()


def link_of(descriptor: Path) -> str | None:
    try:
        return os.readlink(descriptor)
    except FileNotFoundError:  # the one that listed them
        return None


def test_a_sample_is_written_whole_or_refused_where_the_disk_is_full(tmp_path: Path) -> None:
    disk, path = FailingStorage(), tmp_path / "sample.npy"
    with store_at(tmp_path, disk) as store:
        collection = make_collection(store, tmp_path)
        vectors = fill(collection, 20)
        disk.suffix, disk.fail_write = ".tmp", disk_full
        with pytest.raises(DiskFull):
            collection.codes.write_samples("default", {path: 20}, seed=0)
        assert not list(tmp_path.glob("sample*"))
        disk.fail_write = None
        assert collection.codes.write_samples("default", {path: 30}, seed=0) == {path: 20}
        assert np.array_equal(np.load(path, allow_pickle=False), vectors)
        disk._reserve_bytes = 1 << 60
        with pytest.raises(DiskFull, match="Free some space"):
            collection.codes.write_samples("default", {path: 20}, seed=0)


def test_too_many_open_files_are_told_as_such_of_models_too(tmp_path: Path) -> None:
    with store_at(tmp_path) as store:
        make_collection(store, tmp_path)
        store.delete_collection("terms")
        assert store._models.training_mse("tiny8")
        free = os.open(os.devnull, os.O_RDONLY)
        os.close(free)
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free, before[1]))
        try:
            with pytest.raises(DiskUnavailable, match="cannot be opened"):
                store._models.training_mse("tiny8")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
        make_collection(store, tmp_path)
