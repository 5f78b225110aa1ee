"""A database's seal: checksums of its blocks, written when it is closed in order, compared when it is opened next.

SQLite checks the shape of its pages, not what is in them. `NAME.seal` beside a database that was closed in order:

    0     8 bytes   magic "QINCOSEA"
    8     u32       format version
    12    u32       size of a block
    16    u64       size of the database
    24    u32 …     CRC-32 of each block
    …     u32       CRC-32 of everything before

A database in use has no seal: after a kill, SQLite's own recovery and a look at the shape of its pages must do.
"""

import logging
import re
import sqlite3
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

from index_store.errors import DamagedData, DiskFull, DiskUnavailable
from index_store.storage import Storage

logger = logging.getLogger(__name__)

BLOCK_BYTES = 1 << 16
MOST_LOOKED_AT = 256 << 20
_SUFFIX = ".seal"
_MAGIC = b"QINCOSEA"
_FORMAT = 1
_HEAD = struct.Struct("<8sIIQ")
_PAGE = re.compile(r"\bpage (\d+)")


def seal(storage: Storage, database: Path) -> None:
    """Write the seal of a database that nobody has open any more; where the disk fails, it has none."""
    try:
        _write_seal(storage, database)
    except (OSError, DiskFull, DiskUnavailable) as error:
        logger.warning("%s was closed without a seal: %s", database.name, error)


def open_seal(storage: Storage, database: Path) -> None:
    """Compare a database with its seal and break that; raises DamagedData, and leaves the seal, when they differ.

    One that has no seal is looked at for damaged pages, where that takes little time.
    """
    path = _seal_of(database)
    if storage.size(path) and not storage.size(_log_of(database)):
        check_seal(storage, database)
    elif 0 < storage.size(database) <= MOST_LOOKED_AT:
        check_pages(database, "quick_check")
    if storage.size(path):
        storage.remove(path)
        storage.sync_folder(path.parent)


def check_seal(storage: Storage, database: Path) -> bool:
    """Whether a database has a seal; raises DamagedData, with the offset, unless they agree."""
    path = _seal_of(database)
    data = storage.read(path, 0, storage.size(path)) if storage.size(path) else b""
    if not data:
        return False
    if len(data) < _HEAD.size + 4 or zlib.crc32(data[:-4]) != struct.unpack("<I", data[-4:])[0]:
        raise DamagedData(f"The seal of {database.name} is damaged: remove {path.name} if the database is sound.", path)
    _, version, block_bytes, size = _HEAD.unpack_from(data)
    if version != _FORMAT or block_bytes != BLOCK_BYTES:
        raise DamagedData(f"{path.name} is of format {version}; this version reads format {_FORMAT}.", path)
    if storage.size(database) != size:
        raise DamagedData(
            f"{database.name} has {storage.size(database)} bytes, {size} when it was closed.",
            database, min(size, storage.size(database)),
        )  # fmt: skip
    known = struct.unpack_from(f"<{-(-size // BLOCK_BYTES)}I", data, _HEAD.size)
    for place, (block, checksum) in enumerate(zip(_blocks(storage, database, size), known, strict=True)):
        if zlib.crc32(block) != checksum:
            raise DamagedData(
                f"{database.name} changed since it was closed, within {BLOCK_BYTES} bytes from byte "
                f"{place * BLOCK_BYTES} on: put a snapshot in its place (or remove {path.name}, if you changed it).",
                database, place * BLOCK_BYTES,
            )  # fmt: skip
    return True


def connect_to_read(database: Path) -> sqlite3.Connection:
    """A connection that changes nothing, and leaves nothing beside a database that was closed in order."""
    log = _log_of(database)
    is_whole = not log.exists() or not log.stat().st_size
    return sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro{'&immutable=1' if is_whole else ''}", uri=True)


def check_pages(database: Path, how: str) -> None:
    """Let SQLite look for damage, by its `quick_check` or `integrity_check`; raises DamagedData."""
    db = connect_to_read(database)
    try:
        page_bytes = int(db.execute("PRAGMA page_size").fetchone()[0])
        told = str(db.execute(f"PRAGMA {how}(1)").fetchone()[0])
    except sqlite3.DatabaseError as error:
        raise DamagedData(f"{database.name} cannot be read: {error}.", database) from error
    finally:
        db.close()
    if told != "ok":
        page = _PAGE.search(told)
        raise DamagedData(
            f"{database.name} is damaged: {told.splitlines()[-1]}.",
            database, None if page is None else (int(page[1]) - 1) * page_bytes,
        )  # fmt: skip


def _write_seal(storage: Storage, database: Path) -> None:
    if storage.size(_log_of(database)):
        return  # another connection kept the log: what the file holds is not all
    path, size = _seal_of(database), storage.size(database)
    body = _HEAD.pack(_MAGIC, _FORMAT, BLOCK_BYTES, size) + struct.pack(
        f"<{-(-size // BLOCK_BYTES)}I", *(zlib.crc32(block) for block in _blocks(storage, database, size))
    )
    unfinished = path.with_suffix(".tmp")
    storage.remove(unfinished)
    storage.write_at(unfinished, 0, memoryview(body + struct.pack("<I", zlib.crc32(body))))
    storage.sync(unfinished)
    storage.rename(unfinished, path)
    storage.sync_folder(path.parent)


def _blocks(storage: Storage, database: Path, size: int) -> Iterator[bytes]:
    return (storage.read(database, offset, BLOCK_BYTES) for offset in range(0, size, BLOCK_BYTES))


def _seal_of(database: Path) -> Path:
    return database.with_name(database.name + _SUFFIX)


def _log_of(database: Path) -> Path:
    return database.with_name(database.name + "-wal")
