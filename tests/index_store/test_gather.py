"""Many short reads in one call: the compiled form reads what the plain one reads, and stops where a file ends."""

import tempfile
from contextlib import ExitStack

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from index_store.gather import read_places, read_places_plain


@settings(deadline=None)
@given(
    sizes=st.lists(st.integers(0, 90), min_size=1, max_size=3), count=st.integers(1, 40), seed=st.integers(0, 2**32 - 1)
)
def test_compiled_reads_give_what_plain_reads_give(sizes: list[int], count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(0, 20))
    with ExitStack() as closed:
        files = [closed.enter_context(tempfile.TemporaryFile()) for _ in sizes]
        for file, size in zip(files, sizes, strict=True):
            file.write(rng.integers(0, 256, size, np.uint8).tobytes())
            file.flush()
        which = rng.integers(0, len(files), n)
        descriptors = np.array([files[one].fileno() for one in which], np.int32)
        offsets = rng.integers(0, 60, n)
        out, expected = np.zeros((2, n, count), np.uint8)
        whole = read_places(descriptors, offsets, out)
        assert whole == read_places_plain(descriptors, offsets, expected)
    assert_array_equal(out[:whole], expected[:whole])
    if whole < n:
        assert offsets[whole] + count > sizes[which[whole]]
