"""Whoever is killed while codes are cut, or made for the first time, leaves the old or the new, wherever that is."""

import shutil
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

from index_store import Collection, SearchPlan
from index_store.storage import Storage
from tests.index_store.making import encode_all, fill, ids_of, store_at
from tests.index_store.test_coding import bare, make, tables
from tests.index_store.test_rewrite import BY_CODES, QUERIES, cut, segment_files


class Killed(BaseException):
    """The process is gone."""


class EndingStorage(Storage):
    """Does so many more changes, then none: as if the process had been killed."""

    def __init__(self) -> None:
        self.left: int | None = None

    def _spend(self) -> None:
        if self.left is not None:
            if self.left == 0:
                raise Killed
            self.left -= 1

    def write_at(self, path: Path, offset: int, data: memoryview) -> None:
        self._spend()
        super().write_at(path, offset, data)

    def sync(self, path: Path) -> None:
        self._spend()
        super().sync(path)

    def rename(self, source: Path, target: Path) -> None:
        self._spend()
        super().rename(source, target)

    def sync_folder(self, folder: Path) -> None:
        self._spend()
        super().sync_folder(folder)

    def remove(self, path: Path) -> None:
        self._spend()
        super().remove(path)


def killed_at_each_change(origin: Path, act: Callable[[Collection], object]) -> Iterator[Path]:
    """A copy of a folder for each change to a file that `act` makes there, killed before it; the last one is not."""
    was_killed = True
    for left in count():
        folder, disk = origin.with_name(str(left)), EndingStorage()
        shutil.copytree(origin, folder)
        with store_at(folder, disk) as store:
            disk.left = left
            try:
                act(store.collection("terms"))
                was_killed = False
            except Killed:
                pass
            disk.left = None
        yield folder
        shutil.rmtree(folder)
        if not was_killed:
            return


def test_killed_anywhere_in_a_cut_the_start_finds_all_old_codes_or_all_new_ones(tmp_path: Path) -> None:
    origin = tmp_path / "origin"
    origin.mkdir()
    with store_at(origin) as store:
        fill(collection := make(store, bare(origin)), 400)
        encode_all(collection)
        fill(collection, 200, first=400, seed=7)
        encode_all(collection)
        old = collection.query(QUERIES, BY_CODES)
    outcomes: list[int] = []
    new: list[list[Any]] = []
    for folder in killed_at_each_change(origin, lambda collection: cut(collection, 2)):
        with store_at(folder) as store:
            collection = store.collection("terms")
            answers = collection.query(QUERIES, BY_CODES)
            outcomes.append(collection.info().code_bytes)
            new = answers if outcomes[-1] == 2 and not new else new
            assert answers == (new if outcomes[-1] == 2 else old)
            assert segment_files(folder) == {one.file for one in collection.view().segments}
            assert len(tables(folder)) == 1
            assert collection.info().pending == 0
    assert outcomes == sorted(outcomes, reverse=True)
    assert {outcomes[0], outcomes[-1]} == {4, 2}
    assert outcomes.count(2) > 1  # also when the old files were still to be deleted
    assert outcomes.count(4) > 10


def test_killed_anywhere_in_the_first_encoding_the_start_finds_pending_vectors_or_their_codes(tmp_path: Path) -> None:
    origin = tmp_path / "origin"
    origin.mkdir()
    with store_at(origin) as store:
        vectors = fill(make(store, bare(origin, lists=0)), 200)
    outcomes = []
    for folder in killed_at_each_change(origin, lambda collection: collection.encode_pending(200)):
        with store_at(folder) as store:
            collection = store.collection("terms")
            outcomes.append(collection.info().pending)
            assert len(tables(folder)) == (0 if outcomes[-1] else 1)
            encode_all(collection)
            assert ids_of(collection.query(vectors, SearchPlan(1, nprobe=1000))) == [[i] for i in range(200)]
    assert outcomes == sorted(outcomes, reverse=True)
    assert (set(outcomes[:-1]), outcomes[-1]) == ({200}, 0)
    assert len(outcomes) > 10
