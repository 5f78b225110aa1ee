"""Originals compared with their checksums: the newest at the start, the others while there is nothing else to do."""

from collections.abc import Iterator

from index_store.errors import DamagedData
from index_store.holdings import Holdings
from index_store.vector_index import VectorIndex

AT_START_BYTES = 256 << 20
A_STEP_BYTES = 64 << 20


def check_newest(held: Holdings) -> None:
    """Check that all stripes are there, and the newest rows; raises DamagedData for what is searched as it lies there.

    Damage to a vector that is encoded is noted: its code still finds it.
    """
    for name, index in held.indexes.items():
        index.originals.check(held.next_row)
        _refuse_missing_stripes(held, index)
        first = max(0, held.next_row - AT_START_BYTES // index.originals.row_bytes)
        for stop, damage in _damages(held, index, first, held.next_row):
            if index.codec is None or stop > index.watermark:
                raise damage
            held.note_damage(str(damage))
        held.unchecked[name] = first


def check_all(held: Holdings) -> None:
    """Check every row; raises DamagedData."""
    for index in held.indexes.values():
        index.originals.check(held.next_row)
        _refuse_missing_stripes(held, index)
        for _, damage in _damages(held, index, 0, held.next_row):
            raise damage


def check_some(held: Holdings) -> None:
    """Check some rows that were not looked at since the start, and note what is damaged."""
    for name, stop in held.unchecked.items():
        if not stop:
            continue
        index = held.indexes[name]
        first = max(0, stop - A_STEP_BYTES // index.originals.row_bytes)
        held.unchecked[name] = first
        try:
            for _, damage in _damages(held, index, first, stop):
                held.note_damage(str(damage))
        except FileNotFoundError:  # the stripe was deleted meanwhile: all its rows were dead
            pass
        return


def _damages(held: Holdings, index: VectorIndex, first: int, stop: int) -> Iterator[tuple[int, DamagedData]]:
    """The batches that begin at the rows first..stop−1 and do not match their checksum: where each ends, and why."""
    with held.lock:
        batches = held.points.codes.batches(index.name, first)
    for batch, count, checksum in batches:
        if batch < stop and index.originals.holds(batch, count) and index.originals.checksum(batch, count) != checksum:
            rows = f"rows {batch} to {batch + count - 1}"
            sentence = f"The originals of '{index.name}', {rows}, do not match their checksum."
            yield batch + count, DamagedData(sentence, *index.originals.place(batch))


def _refuse_missing_stripes(held: Holdings, index: VectorIndex) -> None:
    """Stripes are deleted once nobody needs them; what has live rows that are still read from it is not there."""
    for first, stop in index.originals.missing(held.next_row):
        needed = first if index.keeps_originals else max(first, index.watermark)
        if held.points.has_rows_between(needed, stop):
            path, _ = index.originals.place(first)
            raise DamagedData(f"{path.name} of the originals is gone, with rows from {first} on.", path)
