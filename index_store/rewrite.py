"""Segments written again for another coding: shorter codes, or shortlist decoders fitted anew.

Queries go on with the old segments until all new ones are on disk; then one transaction names these and the coding, and
one assignment publishes the view. Killed in between, the start finds the old ones, and deletes what is not named.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from index_store.answers import Float32
from index_store.coding import GROWTH, Codes, Coding, fitted, most_fitted, prefix_of
from index_store.errors import AlreadyFewerSteps, InvalidConfig, ReadOnly, StepsOutOfRange
from index_store.holdings import Holdings
from index_store.search import codes_of
from index_store.segment import Segment, new_name, norm_range, norms_to_values
from index_store.storage import SyncFailed
from index_store.upkeep import commit_segments
from index_store.vector_index import VectorIndex
from index_store.view import View

logger = logging.getLogger(__name__)

BLOCK_ROWS = 1 << 16

Report = Callable[[float], None]


def check_steps(index: VectorIndex, steps: int) -> None:
    """Raise InvalidConfig, StepsOutOfRange or AlreadyFewerSteps unless codes can be cut to `steps`."""
    if index.coding is None:
        raise InvalidConfig(f"The vector '{index.name}' is served exactly, without codes: there is no rate to lower.")
    codec = index.coding.codec
    if not 1 <= steps <= index.model_steps:
        raise StepsOutOfRange(f"'steps' must be from 1 to {index.model_steps}, the steps of the model, not {steps}.")
    if steps >= codec.steps:
        raise AlreadyFewerSteps(f"The codes have {codec.steps} steps already, not more than {steps}: ask for fewer.")
    prefix_of(codec, steps)


def keep_steps(held: Holdings, index: VectorIndex, steps: int, report: Report) -> None:
    """Keep the first steps of every code; `report` hears which share is done, and stops it by raising."""
    held.is_rewriting = True
    try:
        with held.upkeep:
            check_steps(index, steps)
            _rewrite(held, index, steps, report)
    finally:
        held.is_rewriting = False


def refit_where_grown(held: Holdings) -> int:
    """Fit shortlist decoders anew where they saw few vectors and there are many more by now.

    Returns how many segments were written again.
    """
    if held.is_rewriting:
        return 0
    with held.upkeep:
        for index in held.indexes.values():
            if not held.read_only_because and _has_outgrown(index):
                assert index.coding is not None
                return _rewrite(held, index, index.coding.codec.steps, lambda share: None)
    return 0


def _has_outgrown(index: VectorIndex) -> bool:
    coding = index.coding
    if coding is None or coding.file is None or coding.fitted_on >= most_fitted(index.config.size):
        return False
    return sum(map(len, index.segments)) >= GROWTH * coding.fitted_on


def _rewrite(held: Holdings, index: VectorIndex, steps: int, report: Report) -> int:
    """All segments with codes of so many steps, and shortlist decoders fitted for these; returns how many there are."""
    if held.read_only_because:
        raise ReadOnly(f"This collection takes no writes until the server is restarted: {held.read_only_because}")
    old, view, before = index.segments, held.views[index.name], index.coding
    assert before is not None
    started = time.perf_counter()
    try:
        coding, made = _written(index, view, steps, report)
    except SyncFailed as error:
        held.turn_read_only(f"Writing a segment failed ({error.strerror}).")
        raise ReadOnly(f"{held.read_only_because} Restart the server.") from error
    with held.lock:
        commit_segments(held, index, tuple(one.file for one in old), tuple(made), index.watermark, coding)
    index.files.remove_segments([one.file for one in old])
    index.files.remove_tables(before.file)
    logger.info(
        "Rewrote %d segments of '%s' for codes of %d steps in %.1f s",
        len(old), index.name, steps, time.perf_counter() - started,
    )  # fmt: skip
    return len(old)


def _written(index: VectorIndex, view: View, steps: int, report: Report) -> tuple[Coding, list[Segment]]:
    """The new coding and segments, on disk; none of them when anything fails."""
    coding, columns = _cut(index, view, steps)
    made: list[Segment] = []
    try:
        for one in view.segments if coding.is_fitted else ():  # no live code: nothing to fit to, and nothing to keep
            made.append(_rewritten(one, coding, columns, lambda rows: report(_share(made, rows, view))))
            index.files.write_segment(made[-1])
        report(1.0)
    except BaseException:
        index.files.remove_segments([one.file for one in made])
        index.files.remove_tables(coding.file)
        raise
    return coding, made


def _cut(index: VectorIndex, view: View, steps: int) -> tuple[Coding, NDArray[np.int64]]:
    """How codes of so many steps are read, and which columns of today's codes these are."""
    assert index.coding is not None
    codec, model, columns = index.coding.codec, index.coding.model, np.arange(steps)
    vectors, codes = _sample(index, view)
    if steps < codec.steps:
        codec, columns = prefix_of(codec, steps)
        model = None
    if not len(vectors):
        return Coding(codec), columns
    has_lists = int(codec.ivf_lists > 0)
    kept = np.ascontiguousarray(codes[:, np.concatenate([np.zeros(has_lists, np.int64), columns + has_lists])])
    return fitted(index.files.storage, index.files.tables_folder, codec, vectors, kept, model), columns


def _sample(index: VectorIndex, view: View) -> tuple[Float32, Codes]:
    """Live vectors from all segments, as many as decoders are fitted to, and their codes; decoded without originals."""
    assert view.coding is not None
    alive = [np.flatnonzero(~view.dead.contains(one.rows)) for one in view.segments]
    numbers = np.repeat(np.arange(len(alive), dtype=np.int32), [len(slots) for slots in alive])
    slots = np.concatenate([np.zeros(0, np.int64), *alive])
    chosen = np.unique(np.linspace(0, len(slots) - 1, min(len(slots), most_fitted(index.config.size)), dtype=np.int64))
    codes = codes_of(view, view.coding.codec, numbers[chosen], slots[chosen])
    if not index.keeps_originals:
        return view.coding.codec.decode(codes), codes
    rows = np.array([view.segments[n].rows[slot] for n, slot in zip(numbers[chosen], slots[chosen], strict=True)])
    return index.forms.as_searched(index.originals.read(rows)), codes


def _rewritten(one: Segment, coding: Coding, columns: NDArray[np.int64], report: Callable[[int], None]) -> Segment:
    """A segment of these columns of the codes, with the norms that go with the coding; rows keep their slots."""
    codes = np.ascontiguousarray(one.codes[:, columns])
    norms = np.empty(len(one), np.float32)
    for begin in range(0, len(one), BLOCK_ROWS):
        report(begin)
        symbols = codes[begin : begin + BLOCK_ROWS].astype(np.int32)
        if coding.codec.ivf_lists:
            lists = one.lists_of(np.arange(begin, begin + len(symbols)))
            symbols = np.concatenate([lists[:, None].astype(np.int32), symbols], axis=1)
        additive = coding.codec.decode_additive(symbols)
        norms[begin : begin + BLOCK_ROWS] = np.einsum("nd,nd->n", additive, additive)
    low, step = norm_range(float(norms.min()), float(norms.max())) if len(norms) else (0.0, 0.0)
    values = norms_to_values(norms, low, step)
    return replace(one, file=new_name(), codes=codes, norms=values, norm_low=low, norm_step=step)


def _share(made: list[Segment], rows: int, view: View) -> float:
    return (sum(map(len, made)) + rows) / max(1, view.encoded())
