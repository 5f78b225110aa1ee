"""Which error becomes which HTTP status; and what can go wrong with a request itself.

QincoError
└── RequestError
    ├── MalformedRequest
    ├── OutOfRange
    ├── NotServed
    ├── PointNotFound
    ├── UploadNotFound · UploadConflict
    ├── Forbidden
    ├── BodyTooLarge · BodyTooSlow
    ├── UnsupportedMedia
    ├── Overloaded
    ├── NotReady
    └── TookTooLong
"""

from index_store import errors as store
from model import errors as model
from model.errors import QincoError


class RequestError(QincoError):
    """A request that cannot be answered as it is."""


class MalformedRequest(RequestError):
    """JSON, an array or a parameter that cannot be read."""


class OutOfRange(RequestError):
    """A number or length beyond what is allowed."""


class NotServed(RequestError):
    """Something that Qdrant knows and this service does not do; the sentence names it."""


class PointNotFound(RequestError):
    """No point has this id."""


class UploadNotFound(RequestError):
    """Nothing is known of an upload that was to be resumed."""


class UploadConflict(RequestError):
    """A body that does not go on with the upload of its name."""


class Forbidden(RequestError):
    """The key may read only."""


class BodyTooLarge(RequestError):
    """More bytes than a body may have."""


class BodyTooSlow(RequestError):
    """A body that stopped coming before its end."""


class UnsupportedMedia(RequestError):
    """A content type or encoding that is not read."""


class Overloaded(RequestError):
    """Too many queries wait already."""


class NotReady(RequestError):
    """The service is still starting, or about to stop."""


class TookTooLong(RequestError):
    """The time that a request may take is over."""


# A subclass takes its nearest ancestor's status. 5xx other than 503 and 507 means a bug.
STATUS: dict[type[QincoError], int] = {
    QincoError: 500,
    RequestError: 400,
    MalformedRequest: 400,
    NotServed: 400,
    PointNotFound: 404,
    UploadNotFound: 404,
    UploadConflict: 409,
    Forbidden: 403,
    BodyTooLarge: 413,
    BodyTooSlow: 408,
    UnsupportedMedia: 415,
    OutOfRange: 422,
    Overloaded: 429,
    NotReady: 503,
    TookTooLong: 503,
    model.InvalidVectors: 400,
    model.InvalidCodes: 400,
    model.InvalidCheckpoint: 400,
    model.InvalidTrainingData: 400,
    model.UnsupportedOption: 400,
    store.CollectionNotFound: 404,
    store.CollectionExists: 409,
    store.AliasNotFound: 404,
    store.ModelNotFound: 404,
    store.ModelExists: 409,
    store.ModelInUse: 409,
    store.InvalidPoints: 400,
    store.InvalidConfig: 400,
    store.InvalidFilter: 400,
    store.InvalidPath: 400,
    store.UnknownPoint: 404,
    store.SnapshotNotFound: 404,
    store.InvalidSnapshot: 400,
    store.StepsOutOfRange: 422,
    store.AlreadyFewerSteps: 409,
    store.JobNotFound: 404,
    store.JobRunning: 409,
    store.JobOver: 409,
    store.JobCancelled: 409,
    store.PendingFull: 429,
    store.DiskFull: 507,
    store.DiskUnavailable: 503,
    store.ReadOnly: 503,
    store.DamagedData: 503,
    store.FolderInUse: 503,
}

RETRY_AFTER_S = 1


def status_of(error: QincoError) -> int:
    """The HTTP status of an error: its own, or its nearest ancestor's."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)
