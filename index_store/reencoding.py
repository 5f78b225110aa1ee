"""Codes made anew by another model, or with another beam: a second watermark that runs from row 0 beside the first.

The codes that are being made are an index of their own over the same originals, `VECTOR/next` in the database. Nobody
queries it. Once it has all rows that there were, and no more than may be pending of those that came meanwhile, one
transaction gives its segments, watermark and coding the vector's name, and one assignment publishes its view. That
transaction decides which model the codes are of; killed before it, the next start finds how far the new codes had come.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from index_store.coding import check_codec, check_effort
from index_store.commit import refuse_if_read_only
from index_store.config import CodesConfig
from index_store.encoding import encode
from index_store.errors import InvalidConfig, ReadOnly
from index_store.holdings import NEXT, Holdings, in_force
from index_store.models import Models
from index_store.segment import Segment
from index_store.storage import SyncFailed
from index_store.upkeep import commit_segments, give_memory_back, merge_index
from index_store.vector_index import VectorIndex
from model.errors import QincoError

if TYPE_CHECKING:
    from model import Codec

logger = logging.getLogger(__name__)

FIRST_BATCH_ROWS = 256
MOST_BATCH_ROWS = 32_768
BATCH_S = 2.0
"""A batch takes about so long: encoding what comes meanwhile waits for it, and so does cancelling."""

Report = Callable[[float], None]


def check(index: VectorIndex, codec: Codec, codes: CodesConfig) -> None:
    """Raise InvalidConfig, DimensionMismatch or UnsupportedOption unless all rows can be encoded by this codec."""
    if index.config.distance == "Manhattan":
        raise InvalidConfig("Manhattan is served exactly: there are no codes for it.")
    if not index.keeps_originals:
        raise InvalidConfig("This collection keeps no originals, so there is nothing to encode again from.")
    check_codec(codec, index.config)
    check_effort(codec, codes)


def encode_anew(
    held: Holdings, index: VectorIndex, codec: Codec, codes: CodesConfig, most_pending: int, report: Report
) -> None:
    """Encode all rows with `codec`, then let these codes be the vector's; rows that come meanwhile stay pending.

    codes   what beam and candidates to encode with
    report  hears the share that is done. What it raises stops the work: what is done stays for a later call, or `drop`
    Raises what `check` does, DiskFull, ReadOnly.
    """
    name = index.name
    check(index, codec, codes)
    begin(held, name, codec, codes)
    first_goal, rows = held.next_row, FIRST_BATCH_ROWS
    while (todo := _todo(held, name, first_goal, most_pending)) > 0:
        started = time.perf_counter()
        done = advance(held, name, min(rows, todo))
        rows = max(1, min(MOST_BATCH_ROWS, int(done / max(1e-3, time.perf_counter() - started) * BATCH_S)))
        report(held.next[name].watermark / max(1, held.next_row))
    switch(held, name)


def begin(held: Holdings, name: str, codec: Codec, codes: CodesConfig) -> None:
    """Note that codes are being made by `codec`; those that it had begun before go on."""
    begun = held.next.get(name)
    if begun is not None and _makes(begun, codec, codes):
        return
    drop(held, name)
    with held.upkeep, held.lock:
        refuse_if_read_only(held)
        made = held.index_beside(name, codes, codec)
        assert made.coding is not None
        with held.transaction():
            held.points.codes.set_coding(made.name, made.entry_of(made.coding))
        held.next = {**held.next, name: made}


def advance(held: Holdings, name: str, max_rows: int) -> int:
    """Encode the next rows, at most so many; returns how many."""
    with held.upkeep:
        refuse_if_read_only(held)
        index = held.next[name]
        first = index.watermark
        stop = min(first + max_rows, held.next_row)
        needs_all = index.lists is None  # centroids are trained on a sample of all rows
        pieces = index.originals.map(0 if needs_all else first, held.next_row if needs_all else stop)
        try:
            made, coding = encode(index, pieces, first, stop, held.hidden(name))
        except SyncFailed as error:
            held.turn_read_only(f"Writing a segment failed ({error.strerror}).")
            raise ReadOnly(f"{held.read_only_because} Restart the server.") from error
        with held.lock:
            new: tuple[Segment, ...] = () if made is None else (made,)
            commit_segments(held, index, (), new, stop, coding)
        merge_index(held, index)
        give_memory_back()
        return stop - first


def switch(held: Holdings, name: str) -> None:
    """Let the codes made anew be the vector's: one transaction, one assignment."""
    with held.upkeep:
        refuse_if_read_only(held)
        made, old = held.next[name], held.indexes[name]
        with held.lock:
            with held.transaction():
                held.points.codes.rename_codes(made.name, name)
            made.name, made.is_catching_up = name, False
            made.codes = replace(old.codes, model=made.codes.model)
            held.indexes = {**held.indexes, name: made}
            held.next = {other: one for other, one in held.next.items() if other != name}
            held.publish()
        old.remove_codes()
    logger.info("The codes of '%s' are of the model '%s' now, %d rows", name, made.codes.model, made.watermark)


def drop(held: Holdings, name: str) -> None:
    """Forget the codes that are being made, if any are."""
    with held.upkeep:
        made = held.next.get(name)
        if made is None:
            return
        with held.lock:
            with held.transaction():
                held.points.codes.forget_codes(made.name)
            held.next = {other: one for other, one in held.next.items() if other != name}
        made.remove_codes()


def take_up(held: Holdings, name: str, models: Models) -> None:
    """Find the codes that were being made when the process ended; what does not load is forgotten."""
    key = name + NEXT
    entry = held.points.codes.coding(key)
    if entry is None:
        return
    try:
        codes = in_force(held.indexes[name].codes, entry, models)
        made = held.index_beside(name, codes, models.codec(codes.model))
        if not made.load(held.points.codes.watermark(key), held.points.codes.segments(key), entry):
            held.next = {**held.next, name: made}
            return
    except (QincoError, OSError) as error:
        logger.warning("Codes of '%s' that were being made do not load, and are made again: %s", name, error)
    with held.transaction():
        held.points.codes.forget_codes(key)


def _makes(index: VectorIndex, codec: Codec, codes: CodesConfig) -> bool:
    is_same_effort = (index.codes.beam, index.codes.candidates) == (codes.beam, codes.candidates)
    return index.codec is not None and index.codec.sha256 == codec.sha256 and is_same_effort


def _todo(held: Holdings, name: str, first_goal: int, most_pending: int) -> int:
    """How many rows to encode before the switch.

    Those that there were at the beginning; then those that came meanwhile, until no more are left than may be pending
    in any collection. From there on they count as pending, so that writes come no faster than rows are encoded.
    """
    index = held.next[name]
    if index.watermark < first_goal:
        return first_goal - index.watermark
    index.is_catching_up = True
    return max(0, held.next_row - index.watermark - most_pending)
