"""What can go wrong with collections, points, models and files; the root is the lowest room's.

QincoError (model.errors)
├── CollectionNotFound · CollectionExists
├── ModelNotFound · ModelExists · ModelInUse
├── InvalidConfig · InvalidPoints · InvalidFilter
├── PendingFull                                (wait for the encoder, then try again)
├── DiskFull                                   (nothing was written)
├── ReadOnly                                   (a sync failed: restart)
├── DamagedData
└── FolderInUse
"""

from model.errors import QincoError


class CollectionNotFound(QincoError):
    """No collection has this name."""


class CollectionExists(QincoError):
    """A collection has this name already."""


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


class PendingFull(QincoError):
    """As many vectors as allowed wait to be encoded."""


class DiskFull(QincoError):
    """The disk has no room; the request changed nothing."""


class ReadOnly(QincoError):
    """A sync failed, so this collection takes no writes until the next start."""


class DamagedData(QincoError):
    """A file whose checksum, magic or header does not check."""


class FolderInUse(QincoError):
    """Another process serves this folder."""
