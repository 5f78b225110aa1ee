"""A snapshot's file: a tar of members named by number, 000000, 000001, …, and at its end the manifest that names them.

Numbers for names, so that no archive can reach out of the folder it is unpacked into; what a member is called there is
in the manifest, and checked. An archive that was cut short has no manifest.

    000000 …        files, whole
    manifest.json   format, what the snapshot is of, and for each member its path, size and SHA-256; its owner's name in
                    its header is the beginning of its own SHA-256 (empty in archives of older versions)
"""

import hashlib
import json
import re
import tarfile
from pathlib import Path
from typing import Any

from index_store.errors import InvalidSnapshot
from index_store.storage import Storage

FORMAT = 1
MANIFEST = "manifest.json"
MOST_MEMBERS = 1_000_000
# Of a manifest, which is read whole: what it says of a collection, with its metadata, and of each member.
LONGEST_ABOUT, LONGEST_MEMBER = 64 << 20, 2048
_BLOCK, _LONGEST_OWNER = 512, 31
_MEMBERS = ".members"  # no path begins with a dot
_PIECE_BYTES = 4 << 20
_PATH = re.compile(r"([A-Za-z0-9_-][A-Za-z0-9_.-]{0,254}/){0,5}[A-Za-z0-9_-][A-Za-z0-9_.-]{0,254}")


class ArchiveWriter:
    """Writes one archive from its first byte to its last; `finish` makes it last."""

    def __init__(self, storage: Storage, path: Path) -> None:
        self._storage, self._path = storage, path
        self._offset = 0
        self._digest = hashlib.sha256()
        self._members: list[dict[str, Any]] = []

    def add(self, source: Path, size: int, path: str) -> None:
        """Add the first `size` bytes of a file, to be unpacked as `path`."""
        digest = hashlib.sha256()
        self._write(_header(f"{len(self._members):06d}", size))
        for offset in range(0, size, _PIECE_BYTES):
            piece = self._storage.read(source, offset, min(_PIECE_BYTES, size - offset))
            if len(piece) < min(_PIECE_BYTES, size - offset):
                raise InvalidSnapshot(f"{path} became shorter while the snapshot was taken: try again.")
            digest.update(piece)
            self._write(piece)
        self._pad(size)
        self._members.append({"path": path, "size": size, "sha256": digest.hexdigest()})

    def finish(self, about: dict[str, Any]) -> str:
        """Add the manifest, sync, and return the SHA-256 of the whole archive."""
        text = json.dumps({"format": FORMAT, **about, "members": self._members}).encode()
        self._write(_header(MANIFEST, len(text), _short_sha256(text)) + text)
        self._pad(len(text))
        self._write(bytes(2 * _BLOCK))
        self._storage.sync(self._path)
        return self._digest.hexdigest()

    def _pad(self, size: int) -> None:
        self._write(bytes(-size % _BLOCK))

    def _write(self, data: bytes) -> None:
        if data:
            self._storage.write_at(self._path, self._offset, memoryview(data))
            self._digest.update(data)
            self._offset += len(data)


def unpack(storage: Storage, archive: Path, folder: Path) -> dict[str, Any]:
    """Unpack into an empty folder, synced; returns the manifest. Raises InvalidSnapshot unless every byte checks."""
    found: list[tuple[int, str]] = []
    members = folder / _MEMBERS
    storage.make_folder(members)
    offset = 0
    while True:
        name, size, offset, sha256 = _next_member(storage, archive, offset, len(found))
        if name == MANIFEST:
            break
        if name != f"{len(found):06d}" or len(found) >= MOST_MEMBERS:
            raise InvalidSnapshot(f"The archive's member {len(found)} is not one that this service wrote.")
        found.append((size, _copy(storage, archive, offset, size, members / name)))
        offset += size + -size % _BLOCK
    text = storage.read(archive, offset, size)
    if sha256 and sha256 != _short_sha256(text):
        raise InvalidSnapshot("The archive's manifest does not match its checksum.")
    manifest = _manifest(text, found)
    try:
        _name_members(storage, members, folder, [one["path"] for one in manifest["members"]])
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise InvalidSnapshot("The archive's manifest names a file where it needs a folder.") from error
    return manifest


def sha256_of(storage: Storage, path: Path) -> str:
    """The SHA-256 of a file."""
    digest, offset = hashlib.sha256(), 0
    while piece := storage.read(path, offset, _PIECE_BYTES):
        digest.update(piece)
        offset += len(piece)
    return digest.hexdigest()


def _short_sha256(manifest: bytes) -> str:
    """As much of it as an owner's name may be long."""
    return hashlib.sha256(manifest).hexdigest()[:_LONGEST_OWNER]


def _header(name: str, size: int, owner: str = "") -> bytes:
    member = tarfile.TarInfo(name)
    member.size, member.mode, member.uname = size, 0o640, owner
    return member.tobuf(tarfile.GNU_FORMAT)


def _next_member(storage: Storage, archive: Path, offset: int, members: int) -> tuple[str, int, int, str]:
    """Name and size of the member whose header is at `offset`, behind `members` others, where it begins, its owner."""
    try:
        member = tarfile.TarInfo.frombuf(storage.read(archive, offset, _BLOCK), "utf-8", "strict")
    except (tarfile.HeaderError, UnicodeDecodeError) as error:
        raise InvalidSnapshot(f"The archive is damaged, cut short or none of ours, at byte {offset}.") from error
    if member.type != tarfile.REGTYPE:
        raise InvalidSnapshot("The archive holds something other than plain files: it is none of ours.")
    start = offset + _BLOCK
    if not 0 <= member.size <= storage.size(archive) - start:
        raise InvalidSnapshot(f"The archive is cut short: a member of {member.size} bytes begins at byte {start}.")
    if member.name == MANIFEST and member.size > LONGEST_ABOUT + members * LONGEST_MEMBER:
        raise InvalidSnapshot(f"The archive's manifest has {member.size} bytes, more than any this service writes.")
    return member.name, member.size, start, member.uname


def _copy(storage: Storage, archive: Path, start: int, size: int, target: Path) -> str:
    digest = hashlib.sha256()
    storage.write_at(target, 0, memoryview(b""))
    for offset in range(0, size, _PIECE_BYTES):
        piece = storage.read(archive, start + offset, min(_PIECE_BYTES, size - offset))
        digest.update(piece)
        storage.write_at(target, offset, memoryview(piece))
    storage.sync(target)
    return digest.hexdigest()


def _manifest(text: bytes, found: list[tuple[int, str]]) -> dict[str, Any]:
    """The manifest, compared with the members that there are."""
    try:
        manifest: dict[str, Any] = json.loads(text)
        version, members = manifest["format"], manifest["members"]
        told = [(one["size"], one["sha256"]) for one in members]
        paths = [one["path"] for one in members]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InvalidSnapshot("The archive's manifest cannot be read: it is damaged or none of ours.") from error
    if version != FORMAT:
        raise InvalidSnapshot(f"The snapshot is of format {version}; this version reads format {FORMAT}.")
    if len(told) != len(found):
        raise InvalidSnapshot(f"The archive holds {len(found)} files, its manifest names {len(told)}.")
    for path, one, other in zip(paths, told, found, strict=True):
        if not isinstance(path, str) or not _PATH.fullmatch(path):
            raise InvalidSnapshot("The archive's manifest names a file that would lie outside of its folder.")
        if one != other:
            raise InvalidSnapshot(f"{path} in the archive does not match its checksum.")
    if len(set(paths)) < len(paths):
        raise InvalidSnapshot("The archive's manifest names a file twice.")
    return manifest


def _name_members(storage: Storage, members: Path, folder: Path, paths: list[str]) -> None:
    for place, path in enumerate(paths):
        storage.make_folder((folder / path).parent)
        storage.rename(members / f"{place:06d}", folder / path)
    storage.remove_folder(members)
    for one in {(folder / path).parent for path in paths} | {folder}:
        storage.sync_folder(one)
