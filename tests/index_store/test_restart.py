"""What a start finds: everything that was acknowledged, nothing that was not, and no code made twice."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from index_store import Collection, Filter, SearchPlan
from index_store.errors import CollectionNotFound, DamagedData, FolderInUse
from tests.builders import clustered
from tests.index_store.making import DIM, THOROUGH, encode_all, fill, ids_of, make_collection, store_at


def folder_of(folder: Path) -> Path:
    (found,) = (folder / "data" / "collections").iterdir()
    return found


def files_of(folder: Path, pattern: str) -> list[Path]:
    return sorted(folder_of(folder).glob(f"vectors/default/{pattern}"))


@pytest.mark.parametrize("lists", [8, 0, None])
def test_a_restart_gives_the_same_answers_and_encodes_nothing_again(tmp_path: Path, lists: int | None) -> None:
    queries = clustered(10, DIM, seed=9)
    with store_at(tmp_path) as store:
        collection = make_collection(store, tmp_path, lists=lists)
        fill(collection, 600)
        encode_all(collection, 250)
        fill(collection, 50, first=580, seed=5)  # overwrites 20, leaves 50 pending
        collection.delete([1, 2, 3])
        before, info, view = collection.query(queries, THOROUGH), collection.info(), collection.view()
    with store_at(tmp_path) as store:
        collection = store.collection("terms")
        assert collection.query(queries, THOROUGH) == before
        assert collection.count() == 627
        now = collection.view()
        assert (now.watermark, now.stop, now.version) == (view.watermark, view.stop, view.version)
        assert [one.file for one in now.segments] == [one.file for one in view.segments]
        assert (collection.info().pending, collection.info().tombstones) == (info.pending, info.tombstones)
        assert collection.upsert([10_000], {"default": queries[:1]}) == 4


def test_what_a_crash_left_beyond_the_last_commit_is_cut_away(tmp_path: Path) -> None:
    with store_at(tmp_path) as store:
        vectors = fill(make_collection(store, tmp_path), 30)
    (stripe,) = files_of(tmp_path, "originals/*.vec")
    sound = stripe.read_bytes()
    stripe.write_bytes(sound + b"torn" * 50)
    stripe.with_name("00000001.vec").write_bytes(b"begun")
    with store_at(tmp_path) as store:
        collection = store.collection("terms")
        assert stripe.read_bytes() == sound
        assert files_of(tmp_path, "originals/*.vec") == [stripe]
        more = fill(collection, 5, first=30, seed=3)
        assert ids_of(collection.query(np.concatenate([vectors, more]), SearchPlan(1))) == [[i] for i in range(35)]


def test_a_segment_that_no_transaction_named_is_deleted(tmp_path: Path) -> None:
    with store_at(tmp_path) as store:
        collection = make_collection(store, tmp_path)
        fill(collection, 30)
        encode_all(collection)
    (named,) = files_of(tmp_path, "segments/*")
    for left in ("f" * 32 + ".seg", "e" * 32 + ".tmp"):
        named.with_name(left).write_bytes(b"begun")
    with store_at(tmp_path):
        assert files_of(tmp_path, "segments/*") == [named]


@pytest.mark.parametrize("lists", [8, 0])
def test_a_damaged_segment_is_put_aside_and_rebuilt_from_originals(tmp_path: Path, lists: int) -> None:
    queries = clustered(10, DIM, seed=9)
    with store_at(tmp_path) as store:
        collection = make_collection(store, tmp_path, lists=lists)
        fill(collection, 600)
        encode_all(collection, 200)
        collection.delete([250, 251])
        before = collection.query(queries, THOROUGH)
        damaged = collection.view().segments[1].file
    (path,) = files_of(tmp_path, f"segments/{damaged}")
    data = bytearray(path.read_bytes())
    data[-100] ^= 1
    path.write_bytes(data)
    for _ in range(2):  # the second start finds it mended
        with store_at(tmp_path) as store:
            collection = store.collection("terms")
            assert collection.query(queries, THOROUGH) == before
            assert [(one.first_row, one.stop_row) for one in collection.view().segments] == [
                (0, 200), (200, 400), (400, 600)
            ]  # fmt: skip
            assert [len(one) for one in collection.view().segments] == [200, 198, 200]
            assert path.with_name(damaged + ".damaged").exists()
            assert collection.info().pending == 0


def test_a_damaged_segment_without_originals_is_refused_by_name_and_others_are_served(tmp_path: Path) -> None:
    with store_at(tmp_path) as store:
        collection = make_collection(store, tmp_path, originals="none")
        fill(collection, 200)
        encode_all(collection)
    (path,) = files_of(tmp_path, "segments/*")
    sound = path.read_bytes()
    path.write_bytes(sound[:-1] + bytes([sound[-1] ^ 1]))
    with store_at(tmp_path) as store:
        with pytest.raises(DamagedData, match=rf"{path.name}: the block 'norms'"):
            store.collection("terms")
        assert store.collections() == ["terms"]
        make_collection(store, tmp_path, name="other", lists=None)
    path.write_bytes(sound)
    with store_at(tmp_path) as store:
        assert store.collection("terms").count() == 200


def test_a_pending_vector_that_changed_on_disk_is_refused_by_its_rows(tmp_path: Path) -> None:
    with store_at(tmp_path) as store:
        collection = make_collection(store, tmp_path)
        fill(collection, 30)
        fill(collection, 30, first=30)
    (stripe,) = files_of(tmp_path, "originals/*.vec")
    data = bytearray(stripe.read_bytes())
    data[64 + 40 * DIM * 4] ^= 1
    stripe.write_bytes(data)
    with store_at(tmp_path) as store, pytest.raises(DamagedData, match="rows 30 to 59"):
        store.collection("terms")


def test_verify_finds_an_original_that_changed_after_it_was_encoded(tmp_path: Path) -> None:
    with store_at(tmp_path) as store:
        collection = make_collection(store, tmp_path)
        fill(collection, 30)
        encode_all(collection)
        collection.verify()
        (stripe,) = files_of(tmp_path, "originals/*.vec")
        data = bytearray(stripe.read_bytes())
        data[-1] ^= 1
        stripe.write_bytes(data)
        with pytest.raises(DamagedData, match="rows 0 to 29"):
            collection.verify()


def test_without_originals_stripes_go_once_they_are_encoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("index_store.originals.STRIPE_ROWS", 64)
    monkeypatch.setattr("index_store.vector_index.STRIPE_ROWS", 64)
    queries = clustered(5, DIM, seed=9)
    with store_at(tmp_path) as store:
        collection = make_collection(store, tmp_path, originals="none")
        fill(collection, 200)
        assert len(files_of(tmp_path, "originals/*.vec")) == 4
        view = collection.view()
        collection.encode_pending(100)
        assert len(files_of(tmp_path, "originals/*.vec")) == 3
        assert sum(len(rows) for _, rows in view.pending) == 200  # an older view still reads what it had
        encode_all(collection)
        assert len(files_of(tmp_path, "originals/*.vec")) == 1
        before = collection.query(queries, THOROUGH)
    with store_at(tmp_path) as store:
        collection = store.collection("terms")
        assert collection.query(queries, THOROUGH) == before
        fill(collection, 100, first=200)
        encode_all(collection)
        assert collection.count() == 300


def test_stripes_of_dead_rows_alone_are_deleted_and_their_tombstones_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("index_store.originals.STRIPE_ROWS", 64)
    monkeypatch.setattr("index_store.vector_index.STRIPE_ROWS", 64)
    monkeypatch.setattr("index_store.upkeep.STRIPE_ROWS", 64)
    monkeypatch.setattr("index_store.merge.FAN_IN", 8)  # the four segments stay apart
    with store_at(tmp_path) as store:
        collection = make_collection(store, tmp_path)
        vectors = fill(collection, 200)
        encode_all(collection, 64)
        collection.delete(range(64, 130))
        while collection.merge():
            pass
        assert [path.name for path in files_of(tmp_path, "originals/*.vec")] == [
            "00000000.vec", "00000002.vec", "00000003.vec"
        ]  # fmt: skip
        assert collection.info().tombstones == 2
        assert [len(one) for one in collection.view().segments] == [64, 64, 8]
        left = [*range(64), *range(130, 200)]
        for plan in (THOROUGH, SearchPlan(1, exact=True)):
            assert [hits[0].id for hits in collection.query(vectors[left], plan)] == left
    with store_at(tmp_path) as store:
        collection = store.collection("terms")
        assert collection.info().tombstones == 2
        assert [hits[0].id for hits in collection.query(vectors[left], THOROUGH)] == left


def test_a_folder_serves_one_process_and_a_lock_left_by_a_kill_is_no_obstacle(tmp_path: Path) -> None:
    program = (
        "import sys, time; from index_store import Store; Store.open(sys.argv[1]); print('open', flush=True);"
        "sys.stdin.read()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "data")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"open\n"
    with pytest.raises(FolderInUse, match=f"process {child.pid}"), store_at(tmp_path):
        pass
    child.kill()
    child.communicate()
    with store_at(tmp_path) as store:
        assert store.collections() == []


def test_a_deleted_collection_leaves_nothing_behind(tmp_path: Path) -> None:
    with store_at(tmp_path) as store:
        collection = make_collection(store, tmp_path)
        fill(collection, 30)
        store.delete_collection("terms")
        assert list((tmp_path / "data" / "collections").iterdir()) == []
        with pytest.raises(CollectionNotFound, match="'terms'"):
            store.collection("terms")
        with pytest.raises(CollectionNotFound):
            use(collection)
        make_collection(store, tmp_path)
    (tmp_path / "data" / "collections" / "0000").mkdir()  # made, never named: the process ended in between
    with store_at(tmp_path) as store:
        assert store.collections() == ["terms"]
        assert store.collection("terms").count(Filter.parse({})) == 0
        folder_of(tmp_path)


def use(collection: Collection) -> None:
    collection.upsert([1], {"default": clustered(1, DIM)})


def test_collections_without_their_catalogue_are_not_deleted(tmp_path: Path) -> None:
    with store_at(tmp_path) as store:
        fill(make_collection(store, tmp_path, lists=None), 3)
    for file in (tmp_path / "data").glob("catalogue.sqlite3*"):
        file.rename(tmp_path / file.name)
    with pytest.raises(DamagedData, match="no catalogue"), store_at(tmp_path):
        pass
    (tmp_path / "catalogue.sqlite3").rename(tmp_path / "data" / "catalogue.sqlite3")
    with store_at(tmp_path) as store:
        assert store.collection("terms").count() == 3
