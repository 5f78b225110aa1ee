"""Fast first, better later: of a long backlog vectors get codes found with a beam of one, and better ones when idle.

A segment of such codes is a draft. It is searched as any other; when there is nothing to encode, its rows are encoded
again from their originals with the collection's beam, some at a time, and the rest of it stays a draft.
"""

import logging
from dataclasses import replace

import numpy as np

from index_store import merge
from index_store.encoding import encode
from index_store.errors import ReadOnly
from index_store.holdings import Holdings
from index_store.segment import Segment, new_name
from index_store.storage import SyncFailed
from index_store.upkeep import commit_segments, give_memory_back
from index_store.vector_index import VectorIndex

logger = logging.getLogger(__name__)


def refine(held: Holdings, max_rows: int) -> int:
    """Encode rows of the oldest draft again, at most so many; returns how many."""
    if held.is_rewriting:
        return 0
    with held.upkeep:
        if held.read_only_because:
            return 0
        for index in held.indexes.values():
            draft = next((one for one in index.segments if one.is_draft), None)
            if draft is not None:
                return _refine(held, index, draft, max_rows)
    return 0


def rows_in(segments: tuple[Segment, ...]) -> int:
    """How many codes are drafts."""
    return sum(len(one) for one in segments if one.is_draft)


def _refine(held: Holdings, index: VectorIndex, draft: Segment, max_rows: int) -> int:
    rows = np.sort(draft.rows)
    stop = draft.stop_row if len(rows) <= max_rows else int(rows[max_rows])
    try:
        made = _written(held, index, draft, stop)
    except SyncFailed as error:
        held.turn_read_only(f"Writing a segment failed ({error.strerror}).")
        raise ReadOnly(f"{held.read_only_because} Restart the server.") from error
    with held.lock:
        commit_segments(held, index, (draft.file,), made, index.watermark, index.coding)
    index.files.remove_segments([draft.file])
    give_memory_back()
    done = min(len(rows), max_rows)
    logger.info("Found better codes for %d vectors of '%s'", done, index.name)
    return done


def _written(held: Holdings, index: VectorIndex, draft: Segment, stop: int) -> tuple[Segment, ...]:
    """On disk: the rows of a draft below `stop` encoded anew, and the others as they are."""
    dead = held.hidden(index.name)
    first = draft.first_row
    made = [encode(index, index.originals.map(first, stop), first, stop, dead)[0]]
    if stop < draft.stop_row:
        below = draft.rows[draft.rows < stop]
        rest = merge.merged(new_name(), (draft,), dead.with_rows(below))
        if rest is not None:
            rest = replace(rest, first_row=stop)
            index.files.write_segment(rest)
            made.append(rest)
    return tuple(one for one in made if one is not None)
