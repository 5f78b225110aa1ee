"""Conditions on the point itself: its id, its vectors, and the slice of all ids that its own falls into."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from index_store.errors import InvalidFilter, InvalidPoints
from index_store.filters.point import Point
from index_store.filters.refusals import a_string, an_integer, an_object, kind, only
from index_store.stored_forms import StoredId, stored_ids

MOST_SLICES = 1 << 32
_SIGN = 1 << 63


@dataclass(frozen=True)
class HasId:
    """The point is one of these."""

    ids: frozenset[StoredId]

    def matches(self, point: Point) -> bool:
        """Whether a point does."""
        return point.id in self.ids


@dataclass(frozen=True)
class HasVector:
    """The point has a vector of this name."""

    name: str

    def matches(self, point: Point) -> bool:
        """Whether a point does."""
        return self.name in point.vectors


@dataclass(frozen=True)
class Slice:
    """The SipHash-2-4 of the point's id, modulo `total`, is `index`: the same slices as Qdrant's."""

    total: int
    index: int

    def matches(self, point: Point) -> bool:
        """Whether a point does."""
        return point.id is not None and bool(self.chosen([point.id])[0])

    def chosen(self, ids: list[StoredId]) -> NDArray[np.bool_]:
        """Which of these ids [n] are in the slice."""
        kept = np.zeros(len(ids), np.bool_)
        for is_uuid in (False, True):
            places = [place for place, one in enumerate(ids) if isinstance(one, bytes) is is_uuid]
            words = _words([ids[place] for place in places])
            kept[places] = _siphash(words, 16 if is_uuid else 8) % np.uint64(self.total) == np.uint64(self.index)
        return kept


def parse_has_id(value: Any) -> HasId:
    """A list of ids."""
    if not isinstance(value, list):
        raise InvalidFilter(f"'has_id' takes a list of ids, not {kind(value)}.")
    try:
        return HasId(frozenset(stored_ids([UUID(one) if isinstance(one, str) else one for one in value])))
    except (InvalidPoints, ValueError) as error:
        raise InvalidFilter(f"'has_id' takes ids, integers or UUIDs: {error}") from error


def parse_has_vector(value: Any) -> HasVector:
    """A vector's name; the unnamed vector is ""."""
    return HasVector(a_string(value, "'has_vector'") or "default")


def parse_slice(value: Any) -> Slice:
    """`total` slices, the one numbered `index`."""
    given = an_object(value, "'slice'")
    only(given, "'slice'", ("total", "index"))
    total = an_integer(given.get("total"), "'slice.total'", low=1)
    index = an_integer(given.get("index"), "'slice.index'")
    if total > MOST_SLICES or index >= total:
        raise InvalidFilter(f"'slice.index' is below 'slice.total', which is at most 2^32; not {index} of {total}.")
    return Slice(total, index)


def _words(ids: list[StoredId]) -> NDArray[np.uint64]:
    """Ids of one kind as little-endian words, [words, n]: an integer is one, a UUID's bytes are two."""
    if ids and isinstance(ids[0], bytes):
        return np.frombuffer(b"".join(one for one in ids if isinstance(one, bytes)), "<u8").reshape(-1, 2).T
    return np.array([one + _SIGN for one in ids if isinstance(one, int)], np.uint64)[None]


def _siphash(words: NDArray[np.uint64], size_bytes: int) -> NDArray[np.uint64]:
    """SipHash-2-4 with a zero key (Aumasson and Bernstein, 2012) of messages of whole words, [words, n] → [n]."""
    constants = (0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573)
    v = [np.full(words.shape[1], constant, np.uint64) for constant in constants]
    last = np.full(words.shape[1], size_bytes << 56, np.uint64)
    for word in (*words, last):
        v[3] ^= word
        _rounds(v, 2)
        v[0] ^= word
    v[2] ^= np.uint64(0xFF)
    _rounds(v, 4)
    return np.asarray(v[0] ^ v[1] ^ v[2] ^ v[3], np.uint64)


def _rounds(v: list[NDArray[np.uint64]], count: int) -> None:
    """SipRound, so often (writes v)."""
    for _ in range(count):
        v[0] += v[1]
        v[1] = _rotated(v[1], 13) ^ v[0]
        v[0] = _rotated(v[0], 32)
        v[2] += v[3]
        v[3] = _rotated(v[3], 16) ^ v[2]
        v[0] += v[3]
        v[3] = _rotated(v[3], 21) ^ v[0]
        v[2] += v[1]
        v[1] = _rotated(v[1], 17) ^ v[2]
        v[2] = _rotated(v[2], 32)


def _rotated(words: NDArray[np.uint64], bits: int) -> NDArray[np.uint64]:
    return (words << np.uint64(bits)) | (words >> np.uint64(64 - bits))
