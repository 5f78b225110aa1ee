"""Of a long backlog vectors get codes in haste, and better ones when there is nothing else to encode."""

from pathlib import Path

import numpy as np
import pytest

from index_store import Collection, encoding
from tests.builders import clustered
from tests.index_store.making import DIM, THOROUGH, encode_all, fill, ids_of, make_collection, store_at


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "DRAFT_BACKLOG", 300)


def mse(collection: Collection, vectors: np.ndarray) -> float:
    """Of all codes, against the vectors that the rows were given."""
    codec, total, count = collection.codes.codecs()[0], 0.0, 0
    for one in collection.view().segments:
        lists = one.lists_of(np.arange(len(one)))
        decoded = codec.decode(np.c_[lists, one.codes].astype(np.int32))
        total += float(np.square(decoded - vectors[one.rows]).sum())
        count += len(one)
    return total / count


def test_a_long_backlog_is_encoded_in_haste_and_ends_as_good_as_in_one_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = clustered(1000, DIM, seed=1)
    with store_at(tmp_path) as store:
        patient = make_collection(store, tmp_path, "patient", beam=8)
        fill(patient, 1000)
        encode_all(patient)
        monkeypatch.setattr(encoding, "DRAFT_BACKLOG", 300)
        hasty = make_collection(store, tmp_path, "hasty", beam=8)
        fill(hasty, 1000)
        encode_all(hasty, 200)
        assert hasty.info().pending == 0
        assert 600 <= hasty.info().drafts < 1000  # the end of it was no backlog any more
        assert mse(hasty, vectors) > 1.02 * mse(patient, vectors)
        while hasty.refine(70):
            pass
        assert hasty.info().drafts == 0
        assert mse(hasty, vectors) == pytest.approx(mse(patient, vectors), rel=1e-6)
        queries = clustered(20, DIM, seed=5)
        assert ids_of(hasty.query(queries, THOROUGH)) == ids_of(patient.query(queries, THOROUGH))


def test_drafts_are_remembered_over_a_restart_merged_as_drafts_and_lose_what_was_deleted(
    tmp_path: Path, hasty: None
) -> None:
    vectors = clustered(2000, DIM, seed=1)
    with store_at(tmp_path) as store:
        collection = make_collection(store, tmp_path, beam=8)
        fill(collection, 2000)
        encode_all(collection, 100)
        assert collection.merge()
        drafts = collection.info().drafts
        assert drafts >= 1600
    with store_at(tmp_path) as store:
        collection = store.collection("terms")
        assert collection.info().drafts == drafts
        assert collection.refine(500) == 500
        collection.delete(list(range(400, 700)))
        before = mse(collection, vectors)
        while collection.refine(500):
            pass
        assert collection.info().drafts == 0
        assert mse(collection, vectors) < before
        rows = np.sort(np.concatenate([one.rows for one in collection.view().segments]))
        assert set(range(500)) | set(range(700, 2000)) <= set(rows.tolist())
        assert len(np.unique(rows)) == len(rows)
        kept = set(range(400)) | set(range(700, 2000))
        found = ids_of(collection.query(clustered(20, DIM, seed=5), THOROUGH))
        assert all(set(ids) <= kept and len(ids) == 10 for ids in found)


def test_what_cannot_be_encoded_again_is_encoded_well_at_once(tmp_path: Path, hasty: None) -> None:
    with store_at(tmp_path) as store:
        for name, codes in (("lean", {"originals": "none"}), ("greedy", {"beam": 1})):
            collection = make_collection(store, tmp_path, name, **codes)
            fill(collection, 1000)
            encode_all(collection, 200)
            assert (collection.info().drafts, collection.refine(100)) == (0, 0)
