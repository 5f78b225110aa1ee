"""Every file access: write, append, sync, rename, sync the folder, map, read, gather, cut, remove.

One object goes down to all who touch files, so that a test can hand in one whose disk fills up or fails.
"""

import errno
import fcntl
import mmap
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from index_store import faults
from index_store.errors import DiskFull, DiskUnavailable, FolderInUse

_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.EXDEV, errno.EMLINK, errno.ENOSYS)
_COPIED_BYTES = 4 << 20


class SyncFailed(OSError):
    """What was written may or may not have reached the disk: it must not be tried again."""


@contextmanager
def of_this_request() -> Iterator[None]:
    """A disk that fails under what one request made, on which nothing else depends, is told as an error of ours."""
    try:
        yield
    except (SyncFailed, sqlite3.OperationalError) as error:
        known = faults.of_database(error) if isinstance(error, sqlite3.Error) else error
        if known is not error:
            raise known from error
        raise DiskUnavailable(
            f"The disk did not keep what was written ({error}): nothing of this request was kept. Look at the disk, "
            "and restart the server."
        ) from error


def as_bytes(array: NDArray[Any]) -> memoryview:
    """The bytes of an array, without a copy where it is contiguous."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


class OpenFile:
    """An open file's descriptor; it is closed with the last reference, so a reader never sees it closed, or reused."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def __del__(self) -> None:
        os.close(self.descriptor)


class Storage:
    """The local file system; of its room `reserve_bytes` are kept for deletes and for what makes room."""

    def __init__(self, reserve_bytes: int = 0) -> None:
        self._reserve_bytes = reserve_bytes

    def check_room(self, folder: Path, needed: int = 0) -> None:
        """Raise DiskFull unless so many bytes leave the reserve as it is."""
        disk = os.statvfs(folder)
        if self._reserve_bytes and disk.f_bavail * disk.f_frsize < self._reserve_bytes + needed:
            raise DiskFull(
                f"Fewer than {self._reserve_bytes + needed} bytes are free on the disk: nothing of this request was "
                "kept. Free some space first; deleting goes on."
            )

    def write_at(self, path: Path, offset: int, data: memoryview) -> None:
        """Write bytes at an offset of a file, made when it is not there; durable only after `sync`."""
        descriptor = _open(path, os.O_WRONLY | os.O_CREAT)
        try:
            with _told():
                _write_all(descriptor, offset, data)
        finally:
            os.close(descriptor)

    def sync(self, path: Path) -> None:
        """Make a file's bytes survive a power cut."""
        _sync(path, os.O_RDONLY)

    def sync_folder(self, folder: Path) -> None:
        """Make the names in a folder survive a power cut; a new file or a rename lasts only then."""
        _sync(folder, os.O_RDONLY | os.O_DIRECTORY)

    def rename(self, source: Path, target: Path) -> None:
        """Put `source` where `target` is, in one step."""
        with _told():
            os.replace(source, target)

    def link(self, source: Path, target: Path) -> None:
        """Another name for the same file, which lasts when the first is removed; a copy where links are not known."""
        try:
            os.link(source, target)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise faults.of_file(error) from error
            self._copy(source, target)

    def read(self, path: Path, offset: int, count: int) -> bytes:
        """`count` bytes from an offset, fewer where the file ends."""
        descriptor = _open(path, os.O_RDONLY)
        try:
            return _read_all(descriptor, offset, count)
        finally:
            os.close(descriptor)

    def open(self, path: Path) -> "OpenFile":
        """A file to read from, until nobody holds it; raises FileNotFoundError."""
        return OpenFile(_open(path, os.O_RDONLY))

    def read_places(self, files: NDArray[np.int32], offsets: NDArray[np.int64], out: NDArray[np.uint8]) -> int:
        """Fill out[i] [n, count] from descriptor files[i] at offsets[i]; returns how many were whole, in order."""
        from index_store.gather import read_places  # compiled by Numba, which takes 55 MB

        return read_places(files, offsets, out)

    def read_into(self, path: Path, offset: int, target: memoryview) -> int:
        """Fill `target` from an offset; returns how many bytes there were."""
        descriptor = _open(path, os.O_RDONLY)
        try:
            done = 0
            while done < len(target):
                count = os.preadv(descriptor, [target[done:]], offset + done)
                if not count:
                    break
                done += count
            return done
        finally:
            os.close(descriptor)

    def map(self, path: Path, offset: int, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[np.generic]:
        """A private view of a file's array: it lives until nobody holds it; writes to it never reach the file.

        (PyTorch warns of arrays that are read-only.)
        """
        count = int(np.prod(shape))
        kind = np.dtype(dtype)
        file = self.open(path)
        mapped = mmap.mmap(file.descriptor, offset + count * kind.itemsize, access=mmap.ACCESS_COPY)
        return np.frombuffer(mapped, kind, count, offset).reshape(shape)

    def set_aside(self, folder: Path, arrays: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """The same arrays in a file of the folder that has no name, mapped: it is gone once nobody holds them, and with
        this process. Raises DiskFull, DiskUnavailable."""
        total = sum(array.nbytes for array in arrays)
        if not total:
            return list(arrays)
        self.check_room(folder, total)
        with _told(), tempfile.TemporaryFile(dir=folder, buffering=0) as file:
            offset = 0
            for array in arrays:
                _write_all(file.fileno(), offset, as_bytes(array))
                offset += array.nbytes
            mapped = mmap.mmap(file.fileno(), total, access=mmap.ACCESS_COPY)
        ends = np.cumsum([0, *(array.nbytes for array in arrays)]).tolist()
        return [np.frombuffer(mapped, array.dtype, len(array), at) for array, at in zip(arrays, ends, strict=False)]

    def size(self, path: Path) -> int:
        """The length of a file, 0 when it is not there."""
        try:
            return path.stat().st_size
        except FileNotFoundError:
            return 0

    def cut(self, path: Path, size: int) -> None:
        """Shorten a file, durably."""
        with _told():
            os.truncate(path, size)
        self.sync(path)

    def remove(self, path: Path) -> None:
        """Remove a file; one that is gone already is no error."""
        with _told():
            path.unlink(missing_ok=True)

    def remove_folder(self, folder: Path) -> None:
        """Remove a folder and all in it."""
        shutil.rmtree(folder, ignore_errors=True)

    def make_folder(self, folder: Path) -> None:
        """Make a folder and those above it, durably."""
        if not folder.is_dir():
            self.make_folder(folder.parent)
            with _told():
                folder.mkdir(exist_ok=True)
            self.sync_folder(folder.parent)

    def names(self, folder: Path) -> list[str]:
        """The names in a folder, sorted; none when it is not there."""
        return sorted(os.listdir(folder)) if folder.is_dir() else []

    def lock(self, path: Path) -> int:
        """Hold a lock file with our process id in it; returns its descriptor, for `unlock`.

        The kernel lets go of it when the process ends in whatever way, so a lock file left by a kill is no obstacle.
        """
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = _read_all(descriptor, 0, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(descriptor)
            raise FolderInUse(f"The data folder is in use by process {holder}: stop it, or use another.") from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        return descriptor

    def unlock(self, descriptor: int) -> None:
        """Let go of a lock file."""
        os.close(descriptor)

    def _copy(self, source: Path, target: Path) -> None:
        offset = 0
        while piece := self.read(source, offset, _COPIED_BYTES):
            self.write_at(target, offset, memoryview(piece))
            offset += len(piece)


@contextmanager
def _told() -> Iterator[None]:
    """Errors of the disk as `faults` tells them."""
    try:
        yield
    except OSError as error:
        raise faults.of_file(error) from error


def _open(path: Path, flags: int) -> int:
    with _told():
        return os.open(path, flags | os.O_CLOEXEC, 0o640)


def _write_all(descriptor: int, offset: int, data: memoryview) -> None:
    rest = data
    while rest:
        written = os.pwrite(descriptor, rest, offset)
        offset, rest = offset + written, rest[written:]


def _read_all(descriptor: int, offset: int, count: int) -> bytes:
    pieces = []
    while count:
        piece = os.pread(descriptor, count, offset)
        if not piece:
            break
        pieces.append(piece)
        offset, count = offset + len(piece), count - len(piece)
    return b"".join(pieces)


def _sync(path: Path, flags: int) -> None:
    descriptor = _open(path, flags)
    try:
        os.fsync(descriptor)
    except OSError as error:
        raise SyncFailed(error.errno, error.strerror) from error
    finally:
        os.close(descriptor)
