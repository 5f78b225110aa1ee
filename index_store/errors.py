"""What can go wrong with collections, points, models and files; the root is the lowest room's.

QincoError (model.errors)
├── CollectionNotFound · CollectionExists · AliasNotFound
├── ModelNotFound · ModelExists · ModelInUse
├── InvalidConfig · InvalidPoints · InvalidFilter · InvalidPath
├── UnknownPoint
├── StepsOutOfRange · AlreadyFewerSteps
├── SnapshotNotFound · InvalidSnapshot
├── JobNotFound · JobRunning · JobOver · JobCancelled
├── PendingFull                                (wait for the encoder, then try again)
├── DiskFull · DiskUnavailable                 (nothing was written)
│   └── OutcomeUnknown                         (restart: the next start knows)
├── ReadOnly                                   (a sync failed: restart)
├── DamagedData
└── FolderInUse
"""

from pathlib import Path

from model.errors import QincoError


class CollectionNotFound(QincoError):
    """No collection has this name."""


class CollectionExists(QincoError):
    """A collection has this name already."""


class AliasNotFound(QincoError):
    """No alias has this name."""


class ModelNotFound(QincoError):
    """No stored model has this name."""


class ModelExists(QincoError):
    """A stored model has this name already."""


class ModelInUse(QincoError):
    """A collection's codes need this model."""


class InvalidConfig(QincoError):
    """A collection that cannot be made as described."""


class InvalidPoints(QincoError):
    """Ids, vectors or payloads that cannot be stored; nothing of the request was."""


class InvalidFilter(QincoError):
    """A filter that is not in the grammar; the text names the key."""


class InvalidPath(QincoError):
    """A payload key that is not a path."""


class UnknownPoint(QincoError):
    """A change names a point that is not there; nothing of the request was changed."""


class StepsOutOfRange(QincoError):
    """A rate that the model's codes cannot be cut to."""


class AlreadyFewerSteps(QincoError):
    """A collection's codes have so few steps, or fewer, already."""


class SnapshotNotFound(QincoError):
    """No snapshot has this name."""


class InvalidSnapshot(QincoError):
    """An archive that is damaged, or none that this service wrote; what it was to replace is as it was."""


class JobNotFound(QincoError):
    """No job has this id."""


class JobRunning(QincoError):
    """A collection has a job already."""


class JobOver(QincoError):
    """A job that has ended cannot be cancelled."""


class JobCancelled(QincoError):
    """A job was asked to end before it was done; it changed nothing."""


class PendingFull(QincoError):
    """As many vectors as allowed wait to be encoded."""


class DiskFull(QincoError):
    """The disk has no room; the request changed nothing."""


class DiskUnavailable(QincoError):
    """Files cannot be opened or written just now: too many are open, or the disk is read-only. Nothing was changed."""


class OutcomeUnknown(DiskUnavailable):
    """The disk failed while a change was made to count: the next start finds it made, or not."""


class ReadOnly(QincoError):
    """A sync failed, so this collection takes no writes until the next start."""


class DamagedData(QincoError):
    """A file whose checksum, magic or header does not check; which, and from which byte on, as far as is known."""

    def __init__(self, sentence: str, file: Path | None = None, offset: int | None = None) -> None:
        super().__init__(sentence)
        self.file, self.offset = file, offset


class FolderInUse(QincoError):
    """Another process serves this folder."""
