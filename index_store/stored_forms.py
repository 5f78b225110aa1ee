"""Ids and payloads as SQLite keeps them."""

import json
from collections.abc import Sequence
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from index_store.answers import Payload, PointId
from index_store.errors import InvalidPoints

StoredId = int | bytes
LARGEST_INTEGER = (1 << 63) - 1
"""Of stored ids: UUIDs, being blobs, sort after all integers."""
SMALLEST_INTEGER = -(1 << 63)
SIGN = 1 << 63
"""What stored integers are less than the ids they stand for."""


def stored_ids(ids: Sequence[PointId] | NDArray[np.uint64]) -> list[StoredId]:
    """Ids as SQLite keeps them: integers less 2^63, in the same order; UUIDs as 16 bytes. Raises InvalidPoints."""
    if isinstance(ids, np.ndarray):
        if ids.ndim != 1 or ids.dtype.kind not in "ui" or (ids.dtype.kind == "i" and ids.size and int(ids.min()) < 0):
            raise InvalidPoints("Ids are unsigned 64-bit integers or UUIDs.")
        numbers: list[StoredId] = (ids.astype(np.uint64) ^ np.uint64(SIGN)).view(np.int64).tolist()
        return numbers
    if isinstance(ids, range) and ids:
        _stored_id(min(ids[0], ids[-1])), _stored_id(max(ids[0], ids[-1]))  # all others lie between
        return list(range(ids.start - SIGN, ids.stop - SIGN, ids.step))
    return [_stored_id(one) for one in ids]


def id_from_stored(key: StoredId) -> PointId:
    """The id as users know it."""
    return UUID(bytes=key) if isinstance(key, bytes) else key + SIGN


def payload_texts(payloads: Sequence[Payload | None]) -> list[str | None]:
    """Payloads as JSON texts, or InvalidPoints naming the first that is none."""
    texts: list[str | None] = []
    for place, payload in enumerate(payloads):
        if payload is not None and not isinstance(payload, dict):
            kind = type(payload).__name__
            raise InvalidPoints(f"Point {place} of the request: a payload is a JSON object, not {kind}.")
        try:
            text = json.dumps(payload, ensure_ascii=False, separators=(",", ":"), allow_nan=False) if payload else None
            texts.append(text if text is None else text.encode("utf-8").decode("utf-8"))
        except (TypeError, ValueError, RecursionError) as error:
            raise InvalidPoints(f"Point {place} of the request: its payload is not JSON ({error}).") from error
    return texts


def _stored_id(one: PointId) -> StoredId:
    if isinstance(one, UUID):
        return one.bytes
    if isinstance(one, bool) or not isinstance(one, (int, np.integer)) or not 0 <= one < 2 * SIGN:
        raise InvalidPoints(f"An id is an integer from 0 to 2^64 − 1 or a UUID, not {one!r}.")
    return int(one) - SIGN
