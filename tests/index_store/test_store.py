"""Models and collections of a data folder: stored once they load, kept while they are used, refused by name."""

import hashlib
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import index_store
from index_store import CodesConfig, CollectionConfig, VectorConfig, upkeep
from index_store.errors import (
    CollectionExists,
    CollectionNotFound,
    DamagedData,
    InvalidConfig,
    ModelExists,
    ModelInUse,
    ModelNotFound,
)
from model.errors import DimensionMismatch, InvalidCheckpoint, UnsupportedOption
from tests.builders import clustered, tiny_codec
from tests.index_store.making import DIM, encode_all, fill, make_collection, store_at


def test_the_public_names_are_these() -> None:
    assert sorted(index_store.__all__) == [
        "CodesConfig", "Collection", "CollectionConfig", "CollectionInfo", "Filter", "Hit", "IndexSchema",
        "JobRecord", "Measured", "ModelRecord", "OperatingPoint", "PointId", "Recall", "Record", "SearchPlan",
        "SearchTrace", "SelfTraining", "SnapshotRecord", "Store", "UploadProgress", "VectorConfig",
    ]  # fmt: skip


def test_a_model_is_stored_with_what_it_is_and_survives_a_restart(tmp_path: Path) -> None:
    path = tiny_codec(tmp_path, dim=DIM)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    with store_at(tmp_path) as store:
        record = store.put_model("tiny", path, sha256=sha256.upper())
        assert (record.name, record.sha256, record.dim, record.steps) == ("tiny", sha256, DIM, 4)
        assert (record.codewords, record.ivf_lists, record.size_bytes) == (16, 8, path.stat().st_size)
        assert store.put_model("again", path.read_bytes()).sha256 == sha256
        assert store.model_path("tiny").read_bytes() == path.read_bytes()
    with store_at(tmp_path) as store:
        assert store.models() == sorted(store.models(), key=lambda one: one.name)
        assert store.model("tiny") == record
        store.delete_model("tiny")
        assert [one.name for one in store.models()] == ["again"]
        with pytest.raises(ModelNotFound, match="'tiny'"):
            store.model("tiny")


def test_a_model_that_is_no_checkpoint_or_another_file_leaves_nothing(tmp_path: Path) -> None:
    path = tiny_codec(tmp_path, dim=DIM)
    with store_at(tmp_path) as store:
        with pytest.raises(InvalidCheckpoint):
            store.put_model("tiny", b"no checkpoint at all")
        with pytest.raises(InvalidCheckpoint):
            store.put_model("tiny", path.read_bytes()[:-100])
        with pytest.raises(InvalidCheckpoint, match="SHA-256"):
            store.put_model("tiny", path, sha256="0" * 64)
        with pytest.raises(InvalidConfig, match="name of a model"):
            store.put_model("../tiny", path)
        assert store.models() == []
        assert list((tmp_path / "data" / "models").iterdir()) == []
        store.put_model("tiny", path)
        with pytest.raises(ModelExists, match="'tiny'"):
            store.put_model("tiny", path)


def test_a_model_cannot_be_deleted_while_a_collection_uses_it(tmp_path: Path) -> None:
    with store_at(tmp_path) as store:
        make_collection(store, tmp_path)
        with pytest.raises(ModelInUse, match="'terms'"):
            store.delete_model("tiny8")
        store.delete_collection("terms")
        store.delete_model("tiny8")
        assert store.models() == []


@pytest.mark.parametrize(
    ("name", "vector", "codes", "error", "told"),
    [
        ("a", VectorConfig(DIM, "Euclid"), CodesConfig("missing"), ModelNotFound, "'missing'"),
        ("a", VectorConfig(DIM + 1, "Euclid"), CodesConfig("tiny8"), DimensionMismatch, "16 numbers"),
        ("terms", VectorConfig(DIM, "Euclid"), CodesConfig(), CollectionExists, "'terms'"),
        (".a", VectorConfig(DIM, "Euclid"), CodesConfig(), InvalidConfig, "name of a collection"),
        ("a/b", VectorConfig(DIM, "Euclid"), CodesConfig(), InvalidConfig, "name of a collection"),
        ("a" * 256, VectorConfig(DIM, "Euclid"), CodesConfig(), InvalidConfig, "name of a collection"),
    ],
)
def test_a_collection_that_cannot_be_made_is_refused_by_name(
    tmp_path: Path, name: str, vector: VectorConfig, codes: CodesConfig, error: type[Exception], told: str
) -> None:
    with store_at(tmp_path) as store:
        make_collection(store, tmp_path)
        with pytest.raises(error, match=told):
            store.create_collection(name, CollectionConfig({"default": vector}, {"default": codes}))
        assert store.collections() == ["terms"]
        assert len(list((tmp_path / "data" / "collections").iterdir())) == 1
        with pytest.raises(CollectionNotFound):
            store.collection("b")


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: VectorConfig(0, "Dot"), "'size'"),
        (lambda: VectorConfig(3, "Hamming"), "'Hamming'"),
        (lambda: CodesConfig(originals="float64"), "'float64'"),
        (lambda: CodesConfig(originals="none"), "cannot be 'none'"),
        (lambda: CodesConfig(beam=0), "'beam'"),
        (lambda: CollectionConfig({}), "at least one vector"),
        (lambda: CollectionConfig({"a": VectorConfig(3, "Dot")}, {"b": CodesConfig()}), "'b'"),
        (lambda: CollectionConfig({"a": VectorConfig(3, "Manhattan")}, {"a": CodesConfig("m")}), "Manhattan"),
    ],
)
def test_a_config_that_makes_no_sense_is_refused(make: object, told: str) -> None:
    with pytest.raises(InvalidConfig, match=told):
        make()  # type: ignore[operator]


def test_a_config_survives_json() -> None:
    config = CollectionConfig(
        {"a": VectorConfig(3, "Dot"), "b": VectorConfig(4, "Cosine")},
        {"a": CodesConfig("m", "float16", candidates=4, beam=2)},
        {"made by": ["a test"]},
    )
    assert CollectionConfig.from_json(config.to_json()) == config


def test_a_model_that_changed_on_disk_is_refused_at_the_start(tmp_path: Path) -> None:
    with store_at(tmp_path) as store:
        collection = make_collection(store, tmp_path)
        fill(collection, 20)
        encode_all(collection)
        path = store.model_path("tiny8")
    path.write_bytes(tiny_codec(tmp_path, dim=DIM, seed=5).read_bytes())
    with store_at(tmp_path) as store, pytest.raises(DamagedData, match="'tiny8'"):
        store.collection("terms")


def test_a_store_bounds_the_tables_of_its_models(tmp_path: Path) -> None:
    codes = clustered(1, DIM)
    sizes = []
    for most in (0, None):
        with closing(index_store.Store.open(tmp_path / str(most), threads=1, pair_table_bytes=most)) as store:
            make_collection(store, tmp_path)
            codec = store.collection("terms").codes.codecs()[0]
            codec.decode_pairwise(codec.encode(codes))
            sizes.append(codec.size_bytes)
    assert sizes[0] < sizes[1]


def test_who_sees_rows_encoded_also_sees_how_fast_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with store_at(tmp_path) as store:
        collection = make_collection(store, tmp_path)
        fill(collection, 20)
        rates: list[float | None] = []
        publish = upkeep.commit_segments

        def publish_and_ask(*what: Any) -> None:
            publish(*what)
            rates.append(collection.info().encoding_rate)

        monkeypatch.setattr(upkeep, "commit_segments", publish_and_ask)
        collection.encode_pending(20)
        assert len(rates) == 1 and rates[0] is not None and rates[0] > 0


def test_info_says_what_a_collection_holds_and_costs(tmp_path: Path) -> None:
    with store_at(tmp_path) as store:
        collection = make_collection(store, tmp_path, distance="Cosine")
        fill(collection, 300)
        assert (collection.info().state, collection.info().pending) == ("encoding", 300)
        assert collection.info().encoding_rate is None
        collection.encode_pending(200)
        info = collection.info()
        assert (info.points, info.pending, info.segments, info.state) == (300, 100, 1, "encoding")
        encode_all(collection)
        collection.delete([5])
        info = collection.info()
        assert (info.points, info.pending, info.tombstones, info.state) == (299, 0, 1, "ready")
        assert (info.code_bytes, info.ram_bytes_per_vector, info.float32_bytes) == (4, 10, 64)
        assert (info.model, info.sha256) == ("tiny8", store.model("tiny8").sha256)
        assert info.encoding_rate is not None and info.encoding_rate > 0
        assert info.disk_bytes > 300 * (64 + 10)
        assert 300 * 10 < info.ram_bytes < 300 * 10 + 5000
        assert store.models_ram_bytes() > 1000


@pytest.mark.parametrize("codes", [CodesConfig("greedy", candidates=3), CodesConfig("greedy", beam=17)])
def test_a_collection_that_could_never_encode_is_refused(tmp_path: Path, codes: CodesConfig) -> None:
    with store_at(tmp_path) as store:
        store.put_model("greedy", tiny_codec(tmp_path, candidates=0))
        config = CollectionConfig({"default": VectorConfig(16, "Euclid")}, {"default": codes})
        with pytest.raises(UnsupportedOption, match=r"without pre-selection|beam"):
            store.create_collection("terms", config)
        assert store.collections() == []
