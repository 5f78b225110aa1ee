"""Snapshots made by hand, whose checksums are right and whose contents lie: refused, and nothing of them stays."""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from index_store import Store
from index_store.archive import ArchiveWriter, unpack
from index_store.storage import Storage
from model.errors import QincoError
from tests.index_store.making import encode_all, fill, make_collection, store_at

DATABASE = "points.sqlite3"
AWAY = "../../../../../mine"
Manifest = dict[str, Any]
Lie = Callable[[Path, Manifest], None]


def forged(archive: Path, folder: Path, lie: Lie) -> Path:
    """An archive as the service writes it, of what `lie` makes of another one's files and manifest."""
    storage, unpacked = Storage(), folder / "unpacked"
    unpacked.mkdir()
    manifest = unpack(storage, archive, unpacked)
    files = [unpacked / member["path"] for member in manifest["members"]]
    lie(unpacked, manifest)
    writer = ArchiveWriter(storage, folder / "forged")
    for file, member in zip(files, manifest["members"], strict=True):
        writer.add(file, file.stat().st_size, member["path"])
    writer.finish({key: value for key, value in manifest.items() if key not in ("format", "members")})
    return folder / "forged"


def says(statement: str) -> Lie:
    """The database of points, changed by a statement."""

    def lie(folder: Path, manifest: Manifest) -> None:
        db = sqlite3.connect(folder / DATABASE)
        db.executescript(statement)
        db.close()

    return lie


def names_a_vector(folder: Path, manifest: Manifest) -> None:
    config = manifest["config"]
    config["vectors"] = {AWAY: config["vectors"]["default"]}
    config["codes"] = {AWAY: config["codes"]["default"]}


def tells_of_a_model(**told: Any) -> Lie:
    return lambda folder, manifest: manifest["models"][0].update(told)


def names_a_file(path: str) -> Lie:
    return lambda folder, manifest: manifest["members"][0].update(path=path)


def has_settings(**told: Any) -> Lie:
    return lambda folder, manifest: manifest["config"]["vectors"]["default"].update(told)


def is_no_database(folder: Path, manifest: Manifest) -> None:
    (folder / DATABASE).write_bytes(b"not a database" * 500)


PATHS = ["../../mine", "/tmp/mine", "a/../../b", "vectors/.hidden", "", "points.sqlite3/x", "vectors/default/segments"]
LIES: dict[str, Lie] = {f"a file '{path}'": names_a_file(path) for path in PATHS} | {
    "a vector outside of the folder": names_a_vector,
    "a model outside of the folder": tells_of_a_model(name=AWAY),
    "a model without a name": tells_of_a_model(name=None),
    "a model with a number for a checksum": tells_of_a_model(sha256=5),
    "a model with another's checksum": tells_of_a_model(sha256="0" * 64),
    "a size that is no whole number": has_settings(size=16.5),
    "another size": has_settings(size=7),
    "a segment outside of the folder": says(f"UPDATE segments SET file = '{AWAY}' WHERE first_row = 0"),
    "decoders outside of the folder": says(f"REPLACE INTO codings VALUES ('default', 4, '{AWAY}', NULL, NULL)"),
    "centroids outside of the folder": says(f"REPLACE INTO codings VALUES ('default', 4, NULL, NULL, '{AWAY}')"),
    "a segment of rows without end": says("UPDATE segments SET stop_row = 1 << 60 WHERE first_row = 0"),
    "a segment of words": says("UPDATE segments SET first_row = 'one', count = 'many'"),
    "rows without end": says("UPDATE meta SET value = 1 << 60 WHERE key = 'next_row'"),
    "more rows than are kept": says("UPDATE meta SET value = 1 << 31 WHERE key = 'next_row'"),
    "words for a counter": says("UPDATE meta SET value = 'many' WHERE key = 'next_row'"),
    "codes of rows to come": says("UPDATE watermarks SET encoded_upto = 1 << 40"),
    "steps without end": says("REPLACE INTO codings VALUES ('default', 1 << 40, NULL, NULL, NULL)"),
    "tombstones of rows that cannot be": says("INSERT INTO tombstones VALUES (-5), (1 << 40)"),
    "no table of segments": says("DROP TABLE segments"),
    "a payload of bytes": says("UPDATE points SET payload = x'00' WHERE row = 0"),
    "an id of letters": says("UPDATE points SET id = 'five' WHERE row = 0"),
    "a trigger": says("CREATE TRIGGER t AFTER INSERT ON points BEGIN DELETE FROM points; END"),
    "a view for a table": says("DROP TABLE segments; CREATE VIEW segments AS SELECT 1 AS file"),
    "no database": is_no_database,
}


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("honest")
    with store_at(folder) as store:
        collection = make_collection(store, folder)
        fill(collection, 60)
        encode_all(collection, 30)
        return store.snapshots.path("terms", store.create_snapshot("terms").name)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("served")
    with store_at(folder) as store:
        fill(make_collection(store, folder, lists=None), 5)
        yield folder, store


@pytest.mark.parametrize("what", LIES)
def test_a_snapshot_that_lies_is_refused_and_nothing_of_it_stays(
    served: tuple[Path, Store], archive: Path, tmp_path: Path, what: str
) -> None:
    folder, store = served
    mine = folder / "mine"
    mine.write_bytes(b"not of the service")
    with pytest.raises(QincoError):
        store.restore_snapshot("terms", forged(archive, tmp_path, LIES[what]))
    assert store.collection("terms").count() == 5
    assert len(list((folder / "data/collections").iterdir())) == 1
    assert store.models() == []
    assert [path.name for path in folder.iterdir() if "mine" in path.name] == ["mine"]


def test_what_is_forged_without_a_lie_is_put_back(tmp_path: Path, archive: Path) -> None:
    with store_at(tmp_path) as store:
        store.restore_snapshot("terms", forged(archive, tmp_path, lambda folder, manifest: None))
        assert store.collection("terms").count() == 60
