"""What is done to a collection behind its users' backs: encode, rebuild, merge, forget what is dead."""

import ctypes
import logging
import time

import numpy as np

from index_store import merge
from index_store.code_tables import SegmentEntry
from index_store.coding import Coding, most_fitted
from index_store.encoding import encode, is_worth_a_draft
from index_store.errors import DiskFull, DiskUnavailable, ReadOnly
from index_store.holdings import NEXT, Holdings
from index_store.originals import STRIPE_ROWS
from index_store.segment import Segment, new_name
from index_store.storage import SyncFailed
from index_store.vector_index import VectorIndex

logger = logging.getLogger(__name__)

REBUILD_ROWS = 1 << 15


def encode_pending(held: Holdings, max_rows: int) -> int:
    """Encode the oldest pending rows, at most `max_rows`; returns how many left that state."""
    if held.is_rewriting:
        return 0
    with held.upkeep:
        for name, index in held.indexes.items():
            view = held.views[name]
            if index.codec is None or view.watermark == view.stop or held.read_only_because:
                continue
            started = time.perf_counter()
            stop = min(view.watermark + _batch(index, max_rows), view.stop)
            made, coding = _written(held, index, view.watermark, stop)
            rows, seconds = stop - view.watermark, time.perf_counter() - started
            held.observed.note_encoded(rows, seconds, index.codec.device)
            with held.lock:
                commit_segments(held, index, (), () if made is None else (made,), stop, coding)
            drop_stripes(held)
            give_memory_back()
            logger.info("Published rows %d to %d of '%s' in %.1f s", view.watermark, stop - 1, name, seconds)
            return rows
    return 0


def rebuild(held: Holdings, index: VectorIndex, damaged: list[SegmentEntry]) -> None:
    """Encode again, from the originals, what damaged segments held."""
    for entry in damaged:
        started = time.perf_counter()
        made: list[Segment] = []
        for first in range(entry.first_row, entry.stop_row, REBUILD_ROWS):
            stop = min(first + REBUILD_ROWS, entry.stop_row)
            one, _ = encode(index, index.originals.map(first, stop), first, stop, held.hidden(index.name))
            made += [one] if one else []
        commit_segments(held, index, (entry.file,), tuple(made), index.watermark, index.coding)
        logger.warning(
            "Rebuilt damaged segment %s from originals: %d codes in %.1f s",
            entry.file, sum(map(len, made)), time.perf_counter() - started,
        )  # fmt: skip


def merge_segments(held: Holdings) -> int:
    """One merge where it is worth it; returns how many segments went into it."""
    if held.is_rewriting:
        return 0
    with held.upkeep:
        if held.read_only_because:
            return 0
        for index in held.indexes.values():
            if merged := merge_index(held, index):
                return merged
        drop_stripes(held)
        purge_tombstones(held)
    return 0


def merge_index(held: Holdings, index: VectorIndex) -> int:
    """One merge of an index where it is worth it; returns how many segments went into it. The caller holds `upkeep`."""
    dead = held.hidden(index.name.removesuffix(NEXT))
    chosen = merge.choose(index.segments, dead)
    if chosen is None or held.read_only_because:
        return 0
    old = index.segments[slice(*chosen)]
    made = merge.merged(new_name(), old, dead)
    try:
        if made is not None:
            index.files.write_segment(made)
    except SyncFailed as error:
        held.turn_read_only(f"Writing a segment failed ({error.strerror}).")
        return 0
    with held.lock:
        files = tuple(one.file for one in old)
        commit_segments(held, index, files, () if made is None else (made,), index.watermark, index.coding)
    index.files.remove_segments(list(files))
    give_memory_back()
    logger.info("Merged %d segments of '%s' into one of %d codes", len(old), index.name, len(made or ()))
    return len(old)


def drop_stripes(held: Holdings) -> None:
    """Delete stripes of originals that nobody needs: of dead rows alone, or encoded where originals are not kept."""
    for name, index in held.indexes.items():
        encoded_upto = held.next_row if index.codec is None else index.watermark
        for first, stop in index.originals.stripes():
            with held.lock:
                if stop > encoded_upto or (index.keeps_originals and held.points.has_rows_between(first, stop)):
                    continue
                index.originals.remove_stripe(first)
                held.publish()
                with held.transaction():
                    held.points.codes.forget_batches(name, first, stop)
            logger.info("Deleted the stripe of originals of '%s' from row %d on", name, first)


def purge_tombstones(held: Holdings) -> None:
    """Forget tombstones of rows that no stripe and no segment holds any more."""
    dead = held.dead
    rows = np.flatnonzero(dead.between(0, len(dead.bits) * 8))
    for index in [*held.indexes.values(), *held.next.values()]:
        stripes = np.array([first for first, _ in index.originals.stripes()], np.int64)
        rows = rows[~np.isin(rows // STRIPE_ROWS * STRIPE_ROWS, stripes)]
        for one in index.segments:
            if len(rows):
                rows = np.setdiff1d(rows, one.rows[dead.contains(one.rows)])
    if len(rows):
        with held.lock:
            with held.transaction():
                held.points.purge_tombstones(rows.tolist())
            held.dead = held.dead.without_rows(rows)
            held.absent = {name: absent.without_rows(rows) for name, absent in held.absent.items()}
            held.publish()


def _batch(index: VectorIndex, max_rows: int) -> int:
    """How many rows to encode together: shortlist decoders that are still to be fitted are to see many."""
    assert index.coding is not None
    return max_rows if index.coding.is_fitted else max(max_rows, most_fitted(index.config.size))


def _written(held: Holdings, index: VectorIndex, first: int, stop: int) -> tuple[Segment | None, Coding | None]:
    """A new segment of the live rows first..stop−1 and its coding, outside all locks but `upkeep`."""
    view = held.views[index.name]
    try:
        return encode(index, view.pending, first, stop, view.dead, is_worth_a_draft(index, view.stop - first))
    except SyncFailed as error:
        held.turn_read_only(f"Writing a segment failed ({error.strerror}).")
        raise ReadOnly(f"{held.read_only_because} Restart the server.") from error


def commit_segments(
    held: Holdings,
    index: VectorIndex,
    old: tuple[str, ...],
    new: tuple[Segment, ...],
    watermark: int,
    coding: Coding | None,
) -> None:
    """Name new segments instead of old ones and how they are read, move the watermark, and publish."""
    entries = [SegmentEntry(one.file, one.first_row, one.stop_row, len(one), one.is_draft) for one in new]
    try:
        with held.transaction():
            held.points.codes.replace_segments(index.name, old, entries)
            held.points.codes.set_watermark(index.name, watermark)
            if coding is not None and coding is not index.coding:
                held.points.codes.set_coding(index.name, index.entry_of(coding))
    except (DiskFull, DiskUnavailable):
        index.files.remove_segments([one.file for one in new])
        raise
    kept = [one for one in index.segments if one.file not in old]
    index.segments = tuple(sorted([*kept, *new], key=lambda one: one.first_row))
    index.watermark, index.coding = watermark, coding
    held.publish()


def give_memory_back() -> None:
    """Return what a large batch freed to the system: glibc keeps it otherwise, and it would count as our memory."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
