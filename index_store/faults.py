"""How a disk that fails is told: as full, or as not to be used just now; other errors may have done harm."""

import errno
import sqlite3

from index_store.errors import DiskFull, DiskUnavailable

FULL = (errno.ENOSPC, errno.EDQUOT)
NOT_NOW = (errno.EMFILE, errno.ENFILE, errno.EROFS, errno.EACCES, errno.EPERM)
_UNUSABLE = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM)
# Failed before anything of a transaction could count: the next one overwrites what was written.
_UNWRITTEN = (
    sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_TRUNCATE, sqlite3.SQLITE_IOERR_SHMOPEN,
    sqlite3.SQLITE_IOERR_SHMSIZE, sqlite3.SQLITE_IOERR_SHMMAP,
)  # fmt: skip
_PRIMARY = 0xFF  # SQLite's extended codes hold the primary one in their lowest byte


def of_file(error: OSError) -> Exception:
    """A full disk and one that cannot be used as errors of ours; the error itself where it is neither."""
    if error.errno in FULL:
        return DiskFull("The disk is full: nothing of this request was kept. Free some space first.")
    if error.errno in NOT_NOW:
        return DiskUnavailable(
            f"The disk cannot be used just now ({error.strerror}): nothing of this request was kept. Try again once "
            "that is mended."
        )
    return error


def of_database(error: sqlite3.Error) -> Exception:
    """The same for SQLite's errors."""
    code = getattr(error, "sqlite_errorcode", 0)
    if code & _PRIMARY == sqlite3.SQLITE_FULL:
        return of_file(OSError(errno.ENOSPC, ""))
    if code & _PRIMARY in _UNUSABLE or code in _UNWRITTEN:
        return DiskUnavailable(
            f"The disk cannot be used just now ({error}): nothing of this request was kept. Try again once that is "
            "mended."
        )
    return error
