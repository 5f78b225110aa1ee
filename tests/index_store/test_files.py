"""Row sets, stripes of originals, segments and lists: what is written comes back, what is damaged is refused."""

import json
import struct
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from pyroaring import BitMap

from index_store import lists, row_bits, row_set, segment
from index_store.errors import DamagedData, InvalidPoints
from index_store.lengths import Lengths
from index_store.originals import STRIPE_ROWS, Originals, as_stored
from index_store.row_set import RowSet
from index_store.storage import Storage

ROWS = st.sets(st.integers(0, 300))


@given(a=ROWS, b=ROWS, asked=st.lists(st.integers(0, 400)), span=st.tuples(st.integers(0, 320), st.integers(0, 320)))
def test_a_row_set_is_a_set(a: set[int], b: set[int], asked: list[int], span: tuple[int, int]) -> None:
    first, stop = sorted(span)
    one = RowSet().with_rows(np.array(sorted(a), np.int64))
    other = RowSet().with_rows(np.array(sorted(b), np.int64))
    assert len(one) == len(a)
    assert one.contains(np.array(asked, np.int64)).tolist() == [row in a for row in asked]
    assert one.between(first, stop).tolist() == [row in a for row in range(first, stop)]
    both, left = one.union(other), one.without_rows(np.array(sorted(b), np.int64))
    assert both.between(0, 400).tolist() == [row in a | b for row in range(400)]
    assert left.between(0, 400).tolist() == [row in a - b for row in range(400)]
    rest = RowSet.all_but(BitMap(a), 200)
    assert rest.between(0, 200).tolist() == [row not in a for row in range(200)]


@given(
    spans=st.lists(st.tuples(st.integers(0, 300_000), st.integers(0, 70_000), st.floats(0, 1)), max_size=3),
    base=st.sampled_from([0, 1 << 16, (1 << 32) - 400_000]),
    cut=st.integers(0, 400_000),
    has_runs=st.booleans(),
    seed=st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_sets_of_rows_through_bits_are_the_plain_ones(
    spans: list[tuple[int, int, float]], base: int, cut: int, has_runs: bool, seed: int
) -> None:
    random = np.random.default_rng(seed)
    parts = [
        (random.permutation(length)[: int(share * length)] + first + base).astype(np.uint32)
        for first, length, share in spans
    ]
    parts += [part[:3] for part in parts]  # some twice
    plain, stop = row_set.bitmap_of_plain(parts), base + 370_000
    assert row_set.bitmap_of(parts, stop) == plain == BitMap(np.concatenate([np.zeros(0, np.uint32), *parts]))
    if base < 1 << 20:
        assert row_bits.bitmap_of(parts, stop) == plain
        assert row_bits.bitmap_of(parts, base + cut) == plain & BitMap(range(base + cut))
        if has_runs:
            plain.run_optimize()
        bits = np.unpackbits(row_bits.bits_of(plain, base + cut).view(np.uint8), bitorder="little")
        kept = plain & BitMap(range(base + cut))
        assert_array_equal(np.flatnonzero(bits), kept.to_array())
        rest = RowSet.all_but(plain, base + cut)
        assert_array_equal(np.flatnonzero(~rest.between(0, base + cut)), kept.to_array())


@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8", "int8"])
def test_originals_are_read_as_they_were_written(tmp_path: Path, dtype: str) -> None:
    originals = Originals(Storage(), tmp_path, 3, dtype)
    vectors = np.random.default_rng(0).integers(0, 100, (50, 3)).astype(np.float32)
    originals.append(STRIPE_ROWS - 20, as_stored(vectors, dtype))  # 20 rows in one stripe, 30 in the next
    asked = np.array([19, 3, 3, 49, 20, 21])
    assert_array_equal(originals.read(asked + STRIPE_ROWS - 20), vectors[asked])
    mapped = originals.map(STRIPE_ROWS - 20, STRIPE_ROWS + 30)
    assert [first for first, _ in mapped] == [STRIPE_ROWS - 20, STRIPE_ROWS]
    assert_array_equal(np.concatenate([rows for _, rows in mapped]), vectors)
    mapped[0][1][:] = 0
    assert_array_equal(originals.read(asked + STRIPE_ROWS - 20), vectors[asked])


def test_cutting_back_leaves_the_rows_below_and_removes_the_rest(tmp_path: Path) -> None:
    originals = Originals(Storage(), tmp_path, 2, "float32")
    vectors = np.arange(2 * (STRIPE_ROWS + 10), dtype=np.float32).reshape(-1, 2)
    originals.append(0, vectors)
    originals.cut_back(7)
    assert originals.stripes() == [(0, STRIPE_ROWS)]
    assert originals.disk_bytes() == 64 + 7 * 8
    originals.append(7, vectors[:2])
    assert_array_equal(originals.read(np.arange(9)), np.concatenate([vectors[:7], vectors[:2]]))


@pytest.mark.parametrize(
    ("dtype", "value"), [("float16", 1e6), ("uint8", 256), ("uint8", -1), ("uint8", 0.5), ("int8", 128)]
)
def test_a_number_that_the_originals_cannot_hold_is_refused_with_its_point(dtype: str, value: float) -> None:
    vectors = np.zeros((4, 3), np.float32)
    vectors[2, 1] = value
    with pytest.raises(InvalidPoints, match=r"Point 2 .* number 1 "):
        as_stored(vectors, dtype)


def test_a_stripe_with_another_header_or_too_few_rows_is_refused(tmp_path: Path) -> None:
    Originals(Storage(), tmp_path, 2, "float32").append(0, np.ones((5, 2), np.float32))
    Originals(Storage(), tmp_path, 2, "float32").check(5)
    with pytest.raises(DamagedData, match="ends before row 5"):
        Originals(Storage(), tmp_path, 2, "float32").check(6)
    with pytest.raises(DamagedData, match="header"):
        Originals(Storage(), tmp_path, 2, "float16").check(5)


def some_segment(seed: int = 0, n: int = 200) -> segment.Segment:
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 256, (n, 5)).astype(np.uint8)
    norms = rng.gamma(2, 3, n).astype(np.float32)
    rows = rng.permutation(n).astype(np.uint32)
    made = segment.group_by_list(segment_name(seed), "abc", (0, n), rng.integers(0, 7, n), codes, rows, norms, 7)
    return replace(made, lengths=Lengths(n, 0.5, 2.0, 1.0, 0.25) if seed % 2 else None)


def segment_name(seed: int) -> str:
    return f"{seed:032x}.seg"


@settings(max_examples=20, deadline=None)
@given(n=st.integers(0, 70), seed=st.integers(0, 1000))
def test_a_segment_is_loaded_as_it_was_written(n: int, seed: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("segments")
    made = some_segment(seed, n)
    segment.write(Storage(), folder, made)
    loaded = segment.load(Storage(), folder, made.file, 0, n)
    for name in ("offsets", "codes", "rows", "norms"):
        assert_array_equal(getattr(loaded, name), getattr(made, name))
    assert (loaded.model, loaded.norm_low, loaded.norm_step) == ("abc", made.norm_low, made.norm_step)
    assert loaded.lengths == made.lengths
    for one in range(7):
        assert (np.diff(loaded.rows[loaded.offsets[one] : loaded.offsets[one + 1]].astype(int)) > 0).all()


def test_a_stored_norm_is_off_by_half_a_step_at_most() -> None:
    norms = np.random.default_rng(0).gamma(2, 3, 1000).astype(np.float32)
    low, step = segment.norm_range(float(norms.min()), float(norms.max()))
    restored = low + step * segment.norms_to_values(norms, low, step)
    assert np.abs(restored - norms).max() <= step / 2 * 1.001


def test_every_flipped_byte_of_a_segment_is_noticed(tmp_path: Path) -> None:
    made = some_segment()
    segment.write(Storage(), tmp_path, made)
    path = tmp_path / made.file
    sound = path.read_bytes()
    padding = _padding(sound, made)
    noticed = 0
    for place in range(0, len(sound), 7):
        damaged = bytearray(sound)
        damaged[place] ^= 0x40
        path.write_bytes(damaged)
        if place in padding:
            continue
        with pytest.raises(DamagedData, match=r"\.seg"):
            segment.load(Storage(), tmp_path, made.file, 0, len(made))
        noticed += 1
    assert noticed > 200
    path.write_bytes(sound[:-1])
    with pytest.raises(DamagedData, match="'norms'"):
        segment.load(Storage(), tmp_path, made.file, 0, len(made))


@pytest.mark.parametrize(
    ("what", "spoilt"),
    [
        ("lie one after another", {"offsets": np.array([0, 900, 3])}),
        ("lie one after another", {"offsets": np.array([0, 2, 1, 3])}),
        ("of one length", {"norms": np.zeros(2, np.uint16)}),
        ("not between 0 and 3", {"rows": np.array([0, 1, 3], np.uint32)}),
        ("does not say", {"codes": np.zeros((3, 2), np.float32)}),
        ("does not say", {"norm_step": float("nan")}),
        ("does not say", {"lengths": Lengths(3, 1.0, 1.0, float("inf"), 0.0)}),
    ],
)
def test_a_segment_that_would_lead_a_scan_astray_is_refused(tmp_path: Path, what: str, spoilt: dict[str, Any]) -> None:
    """Its checksums fit: a snapshot may bring it."""
    made = some_segment(n=3)
    segment.write(Storage(), tmp_path, replace(made, **spoilt))
    with pytest.raises(DamagedData, match=what):
        segment.load(Storage(), tmp_path, made.file, 0, 3)


def _padding(data: bytes, made: segment.Segment) -> set[int]:
    """The places between blocks, which hold nothing."""
    free = set(range(len(data)))
    length = int.from_bytes(data[12:16], "little")
    free -= set(range(16 + length + 4))
    for block in (made.offsets, made.codes, made.rows, made.norms):
        at = data.index(block.tobytes())
        free -= set(range(at, at + block.nbytes))
    return free


@pytest.mark.parametrize(("field", "lie"), [("shape", [1 << 44]), ("shape", [-1, 4]), ("dtype", "|O")])
def test_a_header_that_lies_about_a_block_is_refused_before_memory_is_taken(
    tmp_path: Path, field: str, lie: object
) -> None:
    made = some_segment()
    segment.write(Storage(), tmp_path, made)
    path = tmp_path / made.file
    data = path.read_bytes()
    _, _, length = segment._HEAD.unpack(data[: segment._HEAD.size])
    told = json.loads(data[segment._HEAD.size : segment._HEAD.size + length])
    told["blocks"]["codes"][field] = lie
    text = json.dumps(told).encode()
    head = segment._HEAD.pack(segment._MAGIC, segment._FORMAT, len(text)) + text
    path.write_bytes(head + struct.pack("<I", zlib.crc32(head)) + data[len(head) + 4 :])
    with pytest.raises(DamagedData, match=r"'codes' is not within the file|header does not say"):
        segment.load(Storage(), tmp_path, made.file, 0, len(made))


def test_centroids_are_loaded_as_they_were_saved_and_damage_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "lists.bin"
    centroids = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    lists.save(Storage(), path, centroids)
    assert_array_equal(lists.load(Storage(), path), centroids)
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    with pytest.raises(DamagedData, match="checksum"):
        lists.load(Storage(), path)


def test_lists_are_probed_by_the_distance_of_the_collection() -> None:
    centroids = np.array([[1, 0], [0, 1], [5, 5]], np.float32)
    query = np.array([[0.9, 0.1]], np.float32)
    assert lists.Lists(centroids, by_inner_product=False).probe(query, 1).tolist() == [[0]]
    assert lists.Lists(centroids, by_inner_product=True).probe(query, 1).tolist() == [[2]]
    assert lists.Lists(centroids, by_inner_product=True).assign(query).tolist() == [0]
