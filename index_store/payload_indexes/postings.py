"""From payloads to what an index keeps of them: terms and numbers, each with the rows that hold it."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyroaring import BitMap

from index_store.filters import Key, dates
from index_store.filters.fields import LARGEST_INTEGER, is_number
from index_store.filters.geo import places
from index_store.payload_indexes.schema import NUMBERS, STRINGS, IndexSchema

# Rows of which something is known whatever the kind. Terms of the users' own begin with another byte.
FILLED = b"\0filled"  # something else than null and empty arrays is at the key
SOME = b"\0some"  # some value is not null
NULL = b"\0null"  # some value is null
MANY = b"\0many"  # more than one value
OTHERS = b"\0others"  # some value is of a kind that this index does not keep
OWN = b"\1"

EXACT = 1 << 53  # integers up to here are floats too


@dataclass(frozen=True)
class Numbers:
    """Values [n] in ascending order with their rows [n]; of places, values are latitudes and `lons` is filled."""

    values: NDArray[Any]
    rows: NDArray[np.uint32]
    lons: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class Postings:
    """What one run holds: the rows that it covers, terms → rows, and numbers."""

    rows: BitMap
    terms: dict[bytes, BitMap]
    numbers: Numbers | None


@dataclass
class _Gathered:
    terms: defaultdict[bytes, list[int]] = field(default_factory=lambda: defaultdict(list))
    values: list[Any] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    lons: list[float] = field(default_factory=list)


def postings(schema: IndexSchema, key: Key, points: Iterable[tuple[int, dict[str, Any]]]) -> Postings:
    """What is at `key` of each (row, payload)."""
    gathered, covered = _Gathered(), []
    for row, payload in points:
        covered.append(row)
        selected = key.selected(payload)
        if selected:
            _gather(gathered, schema, row, selected)
    terms = {term: BitMap(rows) for term, rows in gathered.terms.items()}
    return Postings(BitMap(covered), terms, _numbers(schema, gathered) if schema.kind in NUMBERS else None)


def term(value: str | bool) -> bytes:
    """How a string or a boolean is looked up."""
    return OWN + (str(value).lower() if isinstance(value, bool) else value).encode("utf-8", "surrogatepass")


def kind_of_number(schema: IndexSchema) -> type[np.generic]:
    """What its numbers are kept as: dates as microseconds since 1970."""
    return np.int64 if schema.kind in ("integer", "datetime") else np.float64


def _gather(gathered: _Gathered, schema: IndexSchema, row: int, selected: list[Any]) -> None:
    values = [inner for value in selected for inner in (value if isinstance(value, list) else (value,))]
    present = [value for value in values if value is not None]
    terms = gathered.terms
    if any(value is not None and value != [] for value in selected):
        terms[FILLED].append(row)
    if len(present) < len(values):
        terms[NULL].append(row)
    if len(values) > 1:
        terms[MANY].append(row)
    if present:
        terms[SOME].append(row)
    kept = [_keep(gathered, schema, row, value) for value in present]
    if not all(kept):
        terms[OTHERS].append(row)


def _keep(gathered: _Gathered, schema: IndexSchema, row: int, value: Any) -> bool:
    """Note one value; False when it is not of the index's kind."""
    if schema.kind == "geo":
        found = [place for place in places([value]) if abs(place.lat) <= 90 and abs(place.lon) <= 180]
        for place in found:
            gathered.values.append(place.lat)
            gathered.lons.append(place.lon)
            gathered.rows.append(row)
        return bool(found)
    if schema.kind in NUMBERS:
        number = _number(schema.kind, value)
        if number is not None:
            gathered.values.append(number)
            gathered.rows.append(row)
        return number is not None
    is_kept = isinstance(value, bool) if schema.kind == "bool" else isinstance(value, str) and schema.kind in STRINGS
    if is_kept:
        gathered.terms[term(value)].append(row)
        return True
    if schema.kind == "text" and isinstance(value, str):
        for word in schema.tokenizer.stored(value):
            gathered.terms[term(word)].append(row)
        return True
    return False


def _number(kind: str, value: Any) -> float | None:
    if kind == "datetime":
        return dates.microseconds(value) if isinstance(value, str) else None
    if kind == "integer":
        is_kept = isinstance(value, int) and not isinstance(value, bool) and abs(value) <= LARGEST_INTEGER
    else:
        is_kept = is_number(value) and (isinstance(value, float) or abs(value) <= EXACT)
    return value if is_kept else None


def _numbers(schema: IndexSchema, gathered: _Gathered) -> Numbers:
    values = np.array(gathered.values, kind_of_number(schema))
    order = np.argsort(values, kind="stable")
    lons = np.array(gathered.lons, np.float64)[order] if schema.kind == "geo" else None
    return Numbers(values[order], np.array(gathered.rows, np.uint32)[order], lons)
