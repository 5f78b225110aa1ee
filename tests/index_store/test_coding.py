"""Models without shortlist decoders: these are fitted to a collection's own vectors, stored beside it, and refitted."""

import sqlite3
from pathlib import Path

import numpy as np
import pytest

from index_store import CodesConfig, Collection, CollectionConfig, SearchPlan, Store, VectorConfig
from index_store.errors import DamagedData
from model import NetworkCodec, ProductCodec, load_codec, save_codec
from model.shortlist import fitting
from tests.builders import clustered, tiny_codec
from tests.index_store.making import DIM, THOROUGH, encode_all, fill, ids_of, make_collection, store_at
from tests.index_store.test_faults import FailingStorage, disk_full

FROM_CODES = SearchPlan(10, rescore=False)


def bare(folder: Path, lists: int = 8) -> Path:
    """A checkpoint without shortlist decoders."""
    path = folder / f"bare{lists}.safetensors"
    save_codec(NetworkCodec(loaded(folder, lists).network), path)
    return path


def sliced(folder: Path) -> Path:
    """A checkpoint of two slices, each with half of the dimensions, without shortlist decoders."""
    path = folder / "sliced.safetensors"
    halves = [loaded(folder, lists=0, dim=DIM // 2, seed=seed) for seed in (0, 1)]
    save_codec(ProductCodec([NetworkCodec(half.network) for half in halves]), path)
    return path


def loaded(folder: Path, lists: int, dim: int = DIM, seed: int = 0) -> NetworkCodec:
    codec = load_codec(tiny_codec(folder, dim=dim, lists=lists, seed=seed))
    assert isinstance(codec, NetworkCodec)
    return codec


def make(store: Store, path: Path, name: str = "terms", **codes: object) -> Collection:
    """An empty collection with this checkpoint."""
    if "bare" not in {record.name for record in store.models()}:
        store.put_model("bare", path)
    config = CollectionConfig({"default": VectorConfig(DIM, "Euclid")}, {"default": CodesConfig("bare", **codes)})  # type: ignore[arg-type]
    return store.create_collection(name, config)


def tables(folder: Path) -> list[Path]:
    return sorted(folder.glob("data/collections/*/vectors/default/shortlist/*"))


@pytest.mark.parametrize("lists", [8, 0, None])
def test_a_model_without_shortlist_decoders_is_served_and_a_restart_answers_the_same(
    tmp_path: Path, lists: int | None
) -> None:
    queries = clustered(20, DIM, seed=9)
    with store_at(tmp_path) as store:
        collection = make(store, sliced(tmp_path) if lists is None else bare(tmp_path, lists))
        vectors = fill(collection, 900)
        assert collection.encode_pending(10) == 900  # all there is, for the fit
        fill(collection, 60, first=900, seed=4)
        encode_all(collection)
        before = collection.query(queries, FROM_CODES)
        found = ids_of(collection.query(vectors, SearchPlan(1)))
        assert np.mean([hits == [place] for place, hits in enumerate(found)]) > 0.99
        assert len(tables(tmp_path)) == 1
    with store_at(tmp_path) as store:
        assert store.collection("terms").query(queries, FROM_CODES) == before


def test_collections_of_a_model_share_its_network(tmp_path: Path) -> None:
    with store_at(tmp_path) as store:
        for name in ("terms", "other"):
            collection = make(store, bare(tmp_path), name)
            fill(collection, 3)
            encode_all(collection)
            fill(collection, 100, first=3)
            encode_all(collection)
        store.collection("other").merge()  # fits anew
        _assert_shared(store)
    with store_at(tmp_path) as store:
        _assert_shared(store)


def _assert_shared(store: Store) -> None:
    networks = {codec.network for name in ("terms", "other") for codec in store.collection(name).codes.codecs()}  # type: ignore[union-attr]
    assert len(networks) == 1


def test_fitted_decoders_shortlist_as_well_as_those_of_the_training(tmp_path: Path) -> None:
    queries = clustered(50, DIM, seed=9)
    with store_at(tmp_path) as store:
        trained = make_collection(store, tmp_path, name="trained")
        fitted = make(store, bare(tmp_path))
        found = []
        for collection in (trained, fitted):
            fill(collection, 2000)
            encode_all(collection)
            plans = (SearchPlan(10, shortlist=10, rescore=False, nprobe=8), SearchPlan(10, exact=True))
            quick, true = (ids_of(collection.query(queries, plan)) for plan in plans)
            found.append(np.mean([len(set(a) & set(b)) / 10 for a, b in zip(quick, true, strict=True)]))
        assert found[1] > found[0] - 0.05


def test_decoders_fitted_to_few_vectors_are_fitted_again_when_there_are_many(tmp_path: Path) -> None:
    queries = clustered(20, DIM, seed=9)
    with store_at(tmp_path) as store:
        collection = make(store, bare(tmp_path))
        fill(collection, 3)
        encode_all(collection)
        (few,) = tables(tmp_path)
        fill(collection, 1000, first=3)
        encode_all(collection)
        assert collection.merge() == 3
        assert collection.merge() == 0
        (many,) = tables(tmp_path)
        assert many != few
        own = collection.view().coding
        assert own is not None and own.fitted_on == 1003
        before = collection.query(queries, THOROUGH)
        assert before == collection.query(queries, SearchPlan(10, exact=True))
    with store_at(tmp_path) as store:
        assert store.collection("terms").query(queries, THOROUGH) == before


def test_no_table_is_left_where_the_first_segment_could_not_be_written(tmp_path: Path) -> None:
    disk = FailingStorage()
    with store_at(tmp_path, disk) as store:
        collection = make(store, bare(tmp_path))
        vectors = fill(collection, 50)
        for suffix in (".tmp", ".seg"):
            disk.suffix, disk.fail_write = suffix, disk_full
            if suffix == ".tmp":
                with pytest.raises(Exception, match="full"):
                    collection.encode_pending(50)
        assert [path for path in tables(tmp_path) if path.suffix == ".tables"] == []
        disk.fail_write = None
        encode_all(collection)
        assert ids_of(collection.query(vectors, SearchPlan(1, nprobe=8))) == [[i] for i in range(50)]


def test_damaged_decoders_are_refused_by_name_and_files_nobody_named_are_deleted(tmp_path: Path) -> None:
    with store_at(tmp_path) as store:
        fill(collection := make(store, bare(tmp_path)), 50)
        encode_all(collection)
    (path,) = tables(tmp_path)
    path.with_name("0.tables").write_bytes(b"begun")
    with store_at(tmp_path):
        assert tables(tmp_path) == [path]
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)
    with store_at(tmp_path) as store, pytest.raises(DamagedData, match="checksum"):
        store.collection("terms")


def test_decoders_of_very_many_codewords_are_fitted_without_their_equations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitting, "MOST_DIRECT", 63)
    with store_at(tmp_path) as store:
        vectors = fill(collection := make(store, bare(tmp_path)), 300)
        encode_all(collection)
        assert ids_of(collection.query(vectors, SearchPlan(1))) == [[i] for i in range(300)]


def test_a_collection_of_the_first_format_is_upgraded(tmp_path: Path) -> None:
    with store_at(tmp_path) as store:
        vectors = fill(collection := make_collection(store, tmp_path), 100)
        encode_all(collection)
    (path,) = tmp_path.glob("data/collections/*/points.sqlite3")
    with sqlite3.connect(path) as db:
        db.executescript("DROP TABLE codings; DROP TABLE absent; ALTER TABLE segments DROP COLUMN draft")
        db.execute("UPDATE meta SET value = 1 WHERE key = 'format'")
    db.close()
    path.with_name("points.sqlite3.seal").unlink()  # as a version without seals left it
    for _ in range(2):
        with store_at(tmp_path) as store:
            assert ids_of(store.collection("terms").query(vectors, SearchPlan(1))) == [[i] for i in range(100)]
