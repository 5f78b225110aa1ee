"""Error and recall by blocks are those of plain NumPy over everything at once."""

import numpy as np
import pytest

from model import NetworkCodec, ProductCodec, load_codec
from model.errors import DimensionMismatch, InvalidVectors, UnsupportedOption
from model.evaluation import Effort, evaluate, prefix_lengths
from tests.builders import clustered, tiny_codec
from tests.model.builders import random_network

QUERIES = clustered(40, seed=8)


@pytest.fixture(params=[8, 0], ids=["lists", "no lists"])
def codec(request, tmp_path):
    return load_codec(tiny_codec(tmp_path, lists=request.param))


@pytest.fixture
def product():
    return ProductCodec([NetworkCodec(random_network(seed, dim=8)) for seed in (1, 2)])


def squared_distances(queries, vectors):
    return np.square(queries[:, None, :].astype(np.float64) - vectors[None]).sum(axis=2)


def recall_bounds(r, queries, base, decoded):
    """Recall where the nearest vector loses every tie, and where it wins: short prefixes decode many vectors alike."""
    nearest = squared_distances(queries, base).argmin(axis=1)
    distances = squared_distances(queries, decoded)
    own = distances[np.arange(len(queries)), nearest][:, None]
    margin = 1e-4 * distances.mean()
    return (((distances <= own + margin).sum(axis=1) <= r).mean(), ((distances < own - margin).sum(axis=1) < r).mean())


@pytest.mark.parametrize("block_numbers", [1, 16 * 170, 10**9])
def test_every_prefix_is_measured_like_brute_force(codec, monkeypatch, block_numbers):
    monkeypatch.setattr("model.evaluation.BLOCK_NUMBERS", block_numbers)
    base = clustered(120 if block_numbers == 1 else 500, seed=7)
    measured = evaluate(codec, base, QUERIES, effort=Effort(every_prefix=True))
    assert [one.steps for one in measured.prefixes] == [1, 2, 3, 4]
    codes = codec.encode(base)
    for one in measured.prefixes:
        decoded = codec.decode(codes, one.steps)
        assert one.mse == pytest.approx(np.square(base - decoded).sum(axis=1).mean(), rel=1e-4)
        for r, recall in one.recall.items():
            lowest, highest = recall_bounds(r, QUERIES, base, decoded)
            assert lowest <= recall <= highest
    assert highest - lowest < 0.1
    assert measured.prefixes[-1].recall[100] >= measured.prefixes[-1].recall[1]
    assert measured.encode_us > 0
    assert measured.decode_us > 0


def test_the_slices_of_a_product_codec_are_cut_together(product):
    base = clustered(90, seed=3)
    measured = evaluate(product, base, QUERIES, effort=Effort(every_prefix=True))
    assert [one.steps for one in measured.prefixes] == prefix_lengths(product) == [2, 4, 6]
    decoded = product.decode(product.encode(base))
    assert measured.prefixes[-1].mse == pytest.approx(np.square(base - decoded).sum(axis=1).mean(), rel=1e-4)


def test_a_given_ground_truth_is_what_recall_is_measured_against(codec):
    base = clustered(300, seed=7)
    exact = squared_distances(QUERIES, base).argsort(axis=1)[:, :5]
    given, found = (evaluate(codec, base, QUERIES, neighbours).prefixes for neighbours in (exact, None))
    assert given == found
    misleading = evaluate(codec, base, QUERIES, exact[:, ::-1]).prefixes
    assert misleading[0].recall[1] < given[0].recall[1]


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def test_for_cosine_vectors_and_what_they_decode_to_are_compared_at_length_one(codec):
    base = clustered(200, seed=7)
    by_hand, asked = (
        evaluate(codec, unit(base), unit(QUERIES)),
        evaluate(codec, base, QUERIES, effort=Effort(unit=True)),
    )
    assert [one.mse for one in asked.prefixes] == [one.mse for one in by_hand.prefixes]
    decoded = unit(codec.decode(codec.encode(unit(base))))
    for r, recall in asked.prefixes[-1].recall.items():
        lowest, highest = recall_bounds(r, unit(QUERIES), unit(base), decoded)
        assert lowest <= recall <= highest


def test_more_effort_finds_better_codes(codec):
    base = clustered(400, seed=7)
    low, high = (evaluate(codec, base, QUERIES, effort=Effort(a, b)).prefixes[0].mse for a, b in ((1, 1), (16, 16)))
    assert high < low


def test_integers_are_measured_as_their_numbers(codec):
    base = np.clip(clustered(100, seed=7) * 10, -128, 127).astype(np.int8)
    assert evaluate(codec, base, QUERIES).prefixes == evaluate(codec, base.astype(np.float32), QUERIES).prefixes


def test_progress_counts_to_the_end(codec, monkeypatch):
    monkeypatch.setattr("model.evaluation.BLOCK_NUMBERS", 16 * 40)
    done = []
    evaluate(codec, clustered(100), QUERIES, report=done.append)
    assert done == [40, 80, 100]


@pytest.mark.parametrize(
    ("base", "queries", "neighbours", "error", "sentence"),
    [
        (clustered(9, dim=12), QUERIES, None, DimensionMismatch, "those of the base have 12"),
        (clustered(9), clustered(9, dim=12), None, DimensionMismatch, "those of the queries have 12"),
        (clustered(0), QUERIES, None, InvalidVectors, "hold no vectors"),
        (clustered(9), QUERIES[0], None, InvalidVectors, "hold no vectors"),
        (clustered(9), QUERIES, np.zeros((39, 1), int), UnsupportedOption, "for each of 40 queries"),
        (clustered(9), QUERIES, np.zeros(40, int), UnsupportedOption, "for each of 40 queries"),
        (clustered(9), QUERIES, np.zeros((40, 0), int), UnsupportedOption, "for each of 40 queries"),
        (clustered(9), QUERIES, np.full((40, 1), 9), UnsupportedOption, "beyond the 9"),
        (clustered(9), QUERIES, np.full((40, 1), -1), UnsupportedOption, "beyond the 9"),
    ],
)
def test_what_does_not_fit_is_refused(codec, base, queries, neighbours, error, sentence):
    with pytest.raises(error, match=sentence):
        evaluate(codec, base, queries, neighbours)


def test_a_vector_that_cannot_be_measured_is_named_by_its_row(codec, monkeypatch):
    monkeypatch.setattr("model.evaluation.BLOCK_NUMBERS", 16 * 4)
    for value, unit, sentence in ((np.nan, False, "Vector 7 .* not finite"), (0, True, "Vector 7 is zero")):
        base = clustered(20)
        base[7] = value
        with pytest.raises(InvalidVectors, match=sentence):
            evaluate(codec, base, QUERIES, effort=Effort(unit=unit))
