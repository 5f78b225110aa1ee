"""A collection's vectors are encoded anew by another model while it serves, and one transaction switches."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from index_store import CodesConfig, Collection, SearchPlan, Store, reencoding
from index_store.errors import InvalidConfig, ModelInUse, ModelNotFound, PendingFull
from model.errors import DimensionMismatch, UnsupportedOption
from tests.builders import clustered, tiny_codec
from tests.index_store.making import DIM, THOROUGH, encode_all, fill, ids_of, make_collection, nearest_ids, store_at

LATER = "later"


def put_later(store: Store, folder: Path, lists: int = 4, dim: int = DIM, **recipe: int) -> None:
    """A second model, of another seed and length of code."""
    store.put_model(LATER, tiny_codec(folder, dim=dim, steps=6, lists=lists, seed=5, **recipe))


def reencode(store: Store, report: Callable[[float], None] = lambda share: None, name: str = "terms") -> None:
    store.reencode(name, "default", CodesConfig(model=LATER), report)


def assert_answers(collection: Collection, kept: dict[int, np.ndarray], limit: int = 5) -> None:
    """Rescored answers are those of brute force over what is kept, and no other point is there."""
    ids = np.array(sorted(kept))
    vectors = np.stack([kept[id] for id in ids])
    queries = clustered(20, DIM, seed=9)
    plan = SearchPlan(limit, nprobe=10_000, shortlist=2000, rerank=2000, rescore=True, oversampling=400)
    assert ids_of(collection.query(queries, plan)) == ids[nearest_ids(vectors, queries, limit)].tolist()
    assert collection.count() == len(ids)


def stop_after(share: float) -> Callable[[float], None]:
    def report(done: float) -> None:
        if done >= share:
            raise KeyboardInterrupt

    return report


def killed(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reencoding, "FIRST_BATCH_ROWS", 100)
    monkeypatch.setattr(reencoding, "MOST_BATCH_ROWS", 100)


@pytest.mark.parametrize("lists", [None, 0, 8])
@pytest.mark.parametrize("later_lists", [0, 4])
def test_a_collection_is_encoded_anew_while_points_come_and_go(
    tmp_path: Path, lists: int | None, later_lists: int
) -> None:
    with store_at(tmp_path) as store:
        put_later(store, tmp_path, later_lists)
        collection = make_collection(store, tmp_path, lists=lists)
        kept = dict(enumerate(fill(collection, 900)))
        encode_all(collection)
        sizes: list[int] = []

        def write(share: float) -> None:
            """Deletes, replaces and adds points, encoded already or not, and looks at what is served."""
            place = len(sizes)
            sizes.append(collection.info().steps)
            collection.delete([place, 899 - place])
            collection.upsert([400 + place, 2000 + place], {"default": np.full((2, DIM), place, np.float32)})
            for id in (place, 899 - place):
                kept.pop(id, None)
            kept.update({400 + place: np.full(DIM, place, np.float32), 2000 + place: np.full(DIM, place, np.float32)})
            assert collection.info().state == "encoding"
            assert_answers(collection, kept)

        reencode(store, write)
        assert set(sizes) == {0 if lists is None else 4} and len(sizes) >= 9
        assert (collection.info().steps, collection.info().model) == (6, LATER)
        assert collection.info().pending < 30
        assert_answers(collection, kept)
        encode_all(collection)
        while collection.merge():
            pass
        assert_answers(collection, kept)
        assert collection.info().state == "ready"
    with store_at(tmp_path) as store:
        collection = store.collection("terms")
        assert collection.config.codes_of("default").model == LATER
        assert_answers(collection, kept)
        found = ids_of(collection.query(clustered(20, DIM, seed=9), THOROUGH))
        assert all(set(ids) <= kept.keys() for ids in found)


def test_what_was_stopped_goes_on_where_it_was_also_after_a_restart(tmp_path: Path) -> None:
    with store_at(tmp_path) as store:
        put_later(store, tmp_path, lists=0)
        collection = make_collection(store, tmp_path)
        kept = dict(enumerate(fill(collection, 900)))
        encode_all(collection)
        with pytest.raises(KeyboardInterrupt):
            reencode(store, stop_after(0.4))
        assert (collection.info().state, collection.info().model, collection.info().pending) == (
            "encoding",
            "tiny8",
            500,
        )
        collection.delete([5, 800])
        kept = {id: vector for id, vector in kept.items() if id not in (5, 800)}
    with store_at(tmp_path) as store:
        collection = store.collection("terms")
        assert (collection.info().state, collection.info().model, collection.info().pending) == (
            "encoding",
            "tiny8",
            500,
        )
        assert_answers(collection, kept)
        with pytest.raises(ModelInUse, match="'terms'"):
            store.delete_model(LATER)
        shares: list[float] = []
        reencode(store, shares.append)
        assert shares[0] > 0.5
        assert collection.info().model == LATER
        assert_answers(collection, kept)


def test_what_was_given_up_leaves_nothing_behind(tmp_path: Path) -> None:
    with store_at(tmp_path) as store:
        put_later(store, tmp_path, lists=0)
        collection = make_collection(store, tmp_path)
        fill(collection, 500)
        encode_all(collection)
        folder = next((tmp_path / "data" / "collections").iterdir())
        before = {path for path in folder.rglob("*") if path.is_file()}
        with pytest.raises(KeyboardInterrupt):
            reencode(store, stop_after(0.4))
        assert {path for path in folder.rglob("*") if path.is_file()} > before
        collection.codes.forget_encoding_anew()
        assert {path for path in folder.rglob("*") if path.is_file()} == before
        assert collection.info().state == "ready"
        store.delete_model(LATER)
        assert not store.collection("terms").codes.models_needed() - {store.model("tiny8").sha256}


def test_a_new_codec_that_is_damaged_on_disk_is_made_again(tmp_path: Path) -> None:
    with store_at(tmp_path) as store:
        put_later(store, tmp_path)
        collection = make_collection(store, tmp_path)
        kept = dict(enumerate(fill(collection, 400)))
        encode_all(collection)
        old = set((tmp_path / "data").rglob("*.seg"))
        with pytest.raises(KeyboardInterrupt):
            reencode(store, stop_after(0.4))
        damaged = (set((tmp_path / "data").rglob("*.seg")) - old).pop()
    damaged.write_bytes(damaged.read_bytes()[:-1])
    with store_at(tmp_path) as store:
        assert store.collection("terms").info().state == "ready"
        reencode(store)
        assert store.collection("terms").info().model == LATER
        assert_answers(store.collection("terms"), kept)


@pytest.mark.parametrize("moment", ["before the transaction", "after it"])
def test_a_kill_around_the_switch_leaves_either_model_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    with store_at(tmp_path) as store:
        put_later(store, tmp_path)
        collection = make_collection(store, tmp_path)
        kept = dict(enumerate(fill(collection, 300)))
        encode_all(collection)
        with monkeypatch.context() as patched:
            if moment == "before the transaction":
                patched.setattr(reencoding, "switch", killed)
            else:
                patched.setattr(Store, "_note_models", killed)
            with pytest.raises(KeyboardInterrupt):
                reencode(store)
    with store_at(tmp_path) as store:
        collection = store.collection("terms")
        assert collection.info().model == ("tiny8" if moment == "before the transaction" else LATER)
        assert_answers(collection, kept)
        if moment == "after it":
            store.delete_model("tiny8")
            with pytest.raises(ModelInUse):
                store.delete_model(LATER)
    with store_at(tmp_path) as store:
        assert_answers(store.collection("terms"), kept)


def test_what_cannot_be_encoded_anew_is_refused(tmp_path: Path) -> None:
    with store_at(tmp_path) as store:
        put_later(store, tmp_path, dim=8)
        store.put_model("greedy", tiny_codec(tmp_path, dim=DIM, candidates=0))
        collection = make_collection(store, tmp_path)
        for wrong, error in [
            (CodesConfig(model="missing"), ModelNotFound),
            (CodesConfig(model=LATER), DimensionMismatch),
            (CodesConfig(model="greedy", candidates=3), UnsupportedOption),
        ]:
            with pytest.raises(error):
                store.check_reencode("terms", "default", wrong)
        with pytest.raises(InvalidConfig, match="'title'"):
            store.check_reencode("terms", "title", CodesConfig(model="greedy"))
        make_collection(store, tmp_path, "lean", originals="none")
        with pytest.raises(InvalidConfig, match="no originals"):
            store.check_reencode("lean", "default", CodesConfig(model="greedy"))
        make_collection(store, tmp_path, "taxi", distance="Manhattan", lists=None)
        with pytest.raises(InvalidConfig, match="Manhattan"):
            store.check_reencode("taxi", "default", CodesConfig(model="greedy"))
        assert collection.info().state == "ready"


def test_uploads_that_outrun_the_encoder_are_slowed_down_near_the_end(tmp_path: Path) -> None:
    with store_at(tmp_path, max_pending=300) as store:
        put_later(store, tmp_path)
        collection = make_collection(store, tmp_path, lists=None)
        fill(collection, 600)
        refused: list[float] = []

        def upload(share: float) -> None:
            """Faster than encoding."""
            try:
                fill(collection, 250, first=collection.count())
            except PendingFull:
                refused.append(share)

        reencode(store, upload)
        assert refused
        assert collection.info().pending <= 300
        assert collection.count() > 600


def test_the_same_model_may_encode_with_a_larger_beam(tmp_path: Path) -> None:
    with store_at(tmp_path) as store:
        collection = make_collection(store, tmp_path)
        vectors = fill(collection, 600)
        encode_all(collection)
        codec = collection.codes.codecs()[0]

        def error(collection: Collection) -> float:
            one = collection.view().segments
            rows = np.concatenate([segment.rows for segment in one])
            codes = np.concatenate([
                np.c_[segment.lists_of(np.arange(len(segment))), segment.codes].astype(np.int32) for segment in one
            ])  # fmt: skip
            return float(np.square(codec.decode(codes) - vectors[rows]).sum(axis=1).mean())

        before = error(collection)
        store.reencode("terms", "default", CodesConfig(model="tiny8", beam=16, candidates=8), lambda share: None)
        assert error(collection) < before
