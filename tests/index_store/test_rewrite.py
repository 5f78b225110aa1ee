"""Codes cut to their first steps: what is found after, and what a cut that is stopped or fails leaves."""

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any
from weakref import ref

import numpy as np
import pytest

from index_store import CodesConfig, Collection, CollectionConfig, SearchPlan, VectorConfig
from index_store.errors import (
    AlreadyFewerSteps,
    CollectionNotFound,
    InvalidConfig,
    JobCancelled,
    ReadOnly,
    StepsOutOfRange,
)
from model import load_codec, save_codec
from tests.builders import clustered
from tests.index_store.making import DIM, THOROUGH, encode_all, fill, ids_of, make_collection, store_at
from tests.index_store.test_coding import make, sliced, tables
from tests.index_store.test_faults import FailingStorage

BY_CODES = SearchPlan(10, nprobe=10_000, shortlist=2000, rerank=2000, rescore=False)
QUERIES = clustered(20, DIM, seed=9)


def cut(collection: Collection, steps: int) -> None:
    collection.codes.keep_steps(steps, "default", lambda share: None)


def segment_files(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("data/collections/*/vectors/default/segments/*")}


@pytest.mark.parametrize("lists", [8, 0])
@pytest.mark.parametrize("originals", ["float32", "none"])
def test_a_cut_collection_answers_as_one_made_with_the_prefix_of_the_codec(
    tmp_path: Path, lists: int, originals: str
) -> None:
    with store_at(tmp_path) as store:
        # With a beam of 1 each symbol depends on those before it alone.
        collection = make_collection(store, tmp_path, lists=lists, beam=1, originals=originals)
        prefix = load_codec(store.model_path(f"tiny{lists}")).prefix(2).with_shortlist_decoders(clustered(1000, DIM, 1))
        save_codec(prefix, tmp_path / "prefix.safetensors")
        store.put_model("prefix", tmp_path / "prefix.safetensors")
        codes = CodesConfig("prefix", originals, beam=1)
        fresh = store.create_collection(
            "fresh", CollectionConfig({"default": VectorConfig(DIM, "Euclid")}, {"default": codes})
        )
        for one in (collection, fresh):
            fill(one, 600)
            encode_all(one, 250)
            one.delete([1, 2, 3])
        before = collection.info()
        assert collection.query(QUERIES, BY_CODES) != fresh.query(QUERIES, BY_CODES)
        cut(collection, 2)
        for one in (collection, fresh):
            fill(one, 100, first=600, seed=5)
            encode_all(one)
        every = replace(BY_CODES, limit=697)
        _assert_the_same(collection.query(QUERIES, every), fresh.query(QUERIES, every))
        now = collection.info()
        assert (before.steps, before.code_bytes, now.steps, now.code_bytes) == (4, 4, 2, 2)
        assert sum(one.codes.nbytes for one in collection.view().segments) == 700 * 2  # dead ones are not merged away
        answers = collection.query(QUERIES, THOROUGH)
    with store_at(tmp_path) as store:
        collection = store.collection("terms")
        assert collection.query(QUERIES, THOROUGH) == answers
        assert collection.info().code_bytes == 2
        cut(collection, 1)
        assert collection.info().code_bytes == 1
        assert len(tables(tmp_path)) == 1
        assert segment_files(tmp_path) >= {one.file for one in collection.view().segments}


def _assert_the_same(some: list[list[Any]], others: list[list[Any]]) -> None:
    """The same points at the same distances; those of equal codes may come in any order."""
    for hits, expected in zip(some, others, strict=True):
        scores, expected_scores = ({hit.id: hit.score for hit in one} for one in (hits, expected))
        assert scores == pytest.approx(expected_scores, rel=1e-4)


def test_a_cut_collection_lets_the_codec_of_whole_codes_go(tmp_path: Path) -> None:
    with store_at(tmp_path) as store:
        fill(collection := make_collection(store, tmp_path), 300)
        encode_all(collection)
        before, ram_bytes, whole = (
            store.models_ram_bytes(),
            collection.info().ram_bytes,
            ref(collection.codes.codecs()[0]),
        )
        cut(collection, 2)
        assert whole() is None
        assert store.models_ram_bytes() < before
        assert collection.info().ram_bytes == ram_bytes - 300 * 2


def test_slices_keep_as_many_steps_each(tmp_path: Path) -> None:
    with store_at(tmp_path) as store:
        fill(collection := make(store, sliced(tmp_path)), 900)
        encode_all(collection)
        before = collection.view().segments[0].codes
        with pytest.raises(StepsOutOfRange, match="multiple of 2"):
            cut(collection, 3)
        cut(collection, 4)
        np.testing.assert_array_equal(collection.view().segments[0].codes, before[:, [0, 1, 4, 5]])
        every_one = replace(THOROUGH, oversampling=90)
        assert ids_of(collection.query(QUERIES, every_one)) == ids_of(
            collection.query(QUERIES, SearchPlan(10, exact=True))
        )


def test_a_rate_that_cannot_be_is_refused(tmp_path: Path) -> None:
    with store_at(tmp_path) as store:
        collection = make_collection(store, tmp_path)
        for steps in (0, 5):
            with pytest.raises(StepsOutOfRange, match=f"from 1 to 4.*{steps}"):
                collection.codes.check_steps(steps)
        with pytest.raises(AlreadyFewerSteps, match="4 steps already"):
            collection.codes.check_steps(4)
        cut(collection, 2)
        with pytest.raises(AlreadyFewerSteps, match="2 steps already"):
            cut(collection, 3)
        with pytest.raises(InvalidConfig, match="without codes"):
            make_collection(store, tmp_path, name="exact", lists=None).codes.check_steps(1)


@pytest.mark.parametrize("points", [0, 40])
def test_a_collection_without_a_live_code_is_cut_too(tmp_path: Path, points: int) -> None:
    with store_at(tmp_path) as store:
        collection = make_collection(store, tmp_path)
        if points:
            fill(collection, points)
            encode_all(collection)
            collection.delete(range(points))
        cut(collection, 2)
    with store_at(tmp_path) as store:
        collection = store.collection("terms")
        assert collection.info().code_bytes == 2
        vectors = fill(collection, 100)
        encode_all(collection)
        assert ids_of(collection.query(vectors, SearchPlan(1, nprobe=8))) == [[i] for i in range(100)]


def test_encoding_does_not_wait_for_a_cut_and_queries_go_on_with_the_old_codes(tmp_path: Path) -> None:
    with store_at(tmp_path) as store:
        fill(collection := make_collection(store, tmp_path), 600)
        encode_all(collection, 300)
        before, shares = collection.query(QUERIES, BY_CODES), []

        def look(share: float) -> None:
            shares.append(share)
            assert collection.query(QUERIES, BY_CODES) == before
            assert collection.encode_pending(10) == 0
            assert collection.merge() == 0

        collection.codes.keep_steps(2, "default", look)
        assert shares == [0.0, 0.5, 1.0] or sorted(shares) == shares
        assert collection.query(QUERIES, BY_CODES) != before


def test_a_cut_that_is_stopped_changes_nothing(tmp_path: Path) -> None:
    def stop(share: float) -> None:
        if share >= 0.5:
            raise JobCancelled("Stopped.")

    with store_at(tmp_path) as store:
        fill(collection := make_collection(store, tmp_path), 600)
        encode_all(collection, 300)
        before, files = collection.query(QUERIES, BY_CODES), segment_files(tmp_path)
        with pytest.raises(JobCancelled):
            collection.codes.keep_steps(2, "default", stop)
        assert collection.query(QUERIES, BY_CODES) == before
        assert (segment_files(tmp_path), tables(tmp_path)) == (files, [])
        assert collection.info().code_bytes == 4


def test_a_failed_sync_during_a_cut_leaves_the_old_codes_and_ends_writing(tmp_path: Path) -> None:
    disk = FailingStorage()
    with store_at(tmp_path, disk) as store:
        fill(collection := make_collection(store, tmp_path), 300)
        encode_all(collection)
        before = collection.query(QUERIES, BY_CODES)
        disk.suffix, disk.fails_sync = ".tmp", True
        with pytest.raises(ReadOnly):
            cut(collection, 2)
        assert collection.query(QUERIES, BY_CODES) == before
        assert collection.info().read_only_because
    with store_at(tmp_path) as store:
        assert store.collection("terms").query(QUERIES, BY_CODES) == before


def test_recall_of_own_points_is_what_it_says(tmp_path: Path) -> None:
    with store_at(tmp_path) as store:
        vectors = fill(collection := make_collection(store, tmp_path), 500)
        encode_all(collection)
        collection.delete([0])
        recall = collection.codes.own_recall()
        assert recall is not None
        assert (recall.limit, recall.sample) == (10, 200)
        assert 0.95 < recall.with_defaults <= 1
        live = np.arange(1, 500)
        chosen = live[np.unique(np.linspace(0, 498, 200, dtype=np.int64))]
        share = []
        for place in chosen:
            true, found = (
                [i for [*ids] in ids_of(collection.query(vectors[[place]], plan)) for i in ids if i != place][:10]
                for plan in (SearchPlan(11, exact=True), SearchPlan(11, rescore=False))
            )
            share.append(len(set(true) & set(found)) / 10)
        assert recall.from_codes == pytest.approx(np.mean(share))
        assert make_collection(store, tmp_path, name="bare", originals="none").codes.own_recall() is None


def test_a_collection_that_is_deleted_meanwhile_ends_its_cut(tmp_path: Path) -> None:
    with store_at(tmp_path) as store:
        fill(collection := make_collection(store, tmp_path), 100)
        encode_all(collection)
        deleting = threading.Thread(target=store.delete_collection, args=("terms",))

        def delete(share: float) -> None:
            deleting.start()
            while not collection._is_closed:
                deleting.join(0.01)

        with pytest.raises(CollectionNotFound):
            collection.codes.keep_steps(2, "default", delete)
        deleting.join()
        assert list((tmp_path / "data/collections").iterdir()) == []
