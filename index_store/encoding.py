"""Rows → a segment: the live vectors of a run of rows, encoded and written, with lists trained on the first of them."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from index_store import lists, metric, segment
from index_store.answers import Float32
from index_store.coding import Coding, fitted
from index_store.lengths import Lengths
from index_store.lists import Lists
from index_store.originals import Piece
from index_store.row_set import RowSet
from index_store.segment import Segment
from index_store.vector_index import VectorIndex

MOST_TRAINING_VECTORS = 1 << 16
DRAFT_BEAM = 1
DRAFT_BACKLOG = 32_768
"""Pending rows from which on vectors are first encoded with a small beam."""


def encode(
    index: VectorIndex, pieces: tuple[Piece, ...], first: int, stop: int, dead: RowSet, as_draft: bool = False
) -> tuple[Segment | None, Coding]:
    """A segment, written, of the live rows first..stop−1 mapped in `pieces`, None when there are none; its coding.

    The first vectors of a model without shortlist decoders are what those are fitted to.
    """
    assert index.coding is not None
    rows, vectors = _live(index, pieces, first, stop, dead)
    if not len(rows):
        return None, index.coding
    if index.lists is None:
        index.lists = _trained_lists(index, pieces, dead)
    codec, coding = index.coding.codec, index.coding
    codes = codec.encode(vectors, index.codes.candidates, DRAFT_BEAM if as_draft else index.codes.beam)
    if not as_draft:
        index.drift.note(codec, vectors, codes)
    if not coding.is_fitted:
        coding = fitted(index.files.storage, index.files.tables_folder, codec, vectors, codes, model=codec)
    additive = coding.codec.decode_additive(codes)
    norms = np.einsum("nd,nd->n", additive, additive)
    assigned = index.lists.assign(vectors) if isinstance(index.lists, Lists) and not codec.ivf_lists else codes[:, 0]
    symbols: segment.Codes = codes[:, -codec.steps :].astype(np.uint8 if codec.codewords <= 256 else np.uint16)
    made = segment.group_by_list(
        segment.new_name(), codec.sha256, (first, stop), assigned, symbols, rows, norms, len(index.lists)
    )
    made = replace(made, is_draft=as_draft, lengths=Lengths.of(vectors))
    try:
        index.files.write_segment(made)
    except BaseException:
        index.files.remove_tables(coding.file if coding is not index.coding else None)
        raise
    return made, coding


def is_worth_a_draft(index: VectorIndex, backlog: int) -> bool:
    """Whether so many pending rows are first to be encoded with a small beam: they can be encoded again."""
    if index.coding is None or not index.keeps_originals or not index.coding.is_fitted:
        return False
    beam = index.codes.beam if index.codes.beam is not None else index.coding.codec.default_beam
    return backlog > DRAFT_BACKLOG and beam > DRAFT_BEAM


def _live(
    index: VectorIndex, pieces: tuple[Piece, ...], first: int, stop: int, dead: RowSet
) -> tuple[NDArray[np.uint32], Float32]:
    """Rows first..stop−1 that are not dead, and their vectors."""
    rows, vectors = [np.zeros(0, np.uint32)], [np.zeros((0, index.config.size), np.float32)]
    for start, stored in pieces:
        begin, end = max(first, start), min(stop, start + len(stored))
        if begin < end:
            alive = np.flatnonzero(~dead.between(begin, end))
            rows.append((begin + alive).astype(np.uint32))
            vectors.append(index.forms.as_searched(stored[begin - start + alive]))
    return np.concatenate(rows), np.concatenate(vectors)


def _trained_lists(index: VectorIndex, pieces: tuple[Piece, ...], dead: RowSet) -> Lists:
    """Centroids of all that is pending, not of one batch alone: their number follows from how much there is."""
    alive = [np.flatnonzero(~dead.between(first, first + len(stored))) for first, stored in pieces]
    pending = sum(map(len, alive))
    step = -(-pending // MOST_TRAINING_VECTORS)
    sample = np.concatenate(
        [index.forms.as_searched(stored[own[::step]]) for own, (_, stored) in zip(alive, pieces, strict=True)]
    )
    centroids = lists.train(sample, lists.lists_for(pending))
    index.files.save_lists(centroids)
    return Lists(centroids, metric.is_inner_product(index.config.distance))
