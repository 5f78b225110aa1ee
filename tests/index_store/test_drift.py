"""Vectors unlike those that a model was trained on are noticed when they are encoded."""

from pathlib import Path

import numpy as np

from tests.builders import clustered
from tests.index_store.making import DIM, encode_all, fill, make_collection, store_at


def test_vectors_of_the_kind_trained_on_have_the_error_of_the_training(tmp_path: Path) -> None:
    with store_at(tmp_path) as store:
        collection = make_collection(store, tmp_path)
        assert (collection.info().recent_mse, collection.info().training_mse) == (None, store.training_mse("tiny8")[4])
        fill(collection, 1000)
        encode_all(collection)
        info = collection.info()
        assert info.recent_mse is not None and info.training_mse is not None
        assert 0.7 < info.recent_mse / info.training_mse < 1.3


def test_vectors_of_another_kind_have_a_larger_error_that_counts_more_and_more(tmp_path: Path) -> None:
    with store_at(tmp_path) as store:
        collection = make_collection(store, tmp_path)
        fill(collection, 1000)
        encode_all(collection)
        errors = [collection.info().recent_mse or 0.0]
        others = np.roll(clustered(2000, DIM, seed=3), 5, axis=1)
        for first in range(0, 2000, 500):
            ids = np.arange(5000 + first, 5500 + first, dtype=np.uint64)
            collection.upsert(ids, {"default": others[first : first + 500]})
            encode_all(collection)
            errors.append(collection.info().recent_mse or 0.0)
        assert errors == sorted(errors)
        assert errors[-1] > 2 * errors[0]


def test_codes_that_were_cut_are_compared_with_what_is_known_of_their_length(tmp_path: Path) -> None:
    with store_at(tmp_path) as store:
        collection = make_collection(store, tmp_path)
        fill(collection, 500)
        encode_all(collection)
        collection.codes.keep_steps(2, "default", lambda share: None)
        assert collection.info().training_mse == store.training_mse("tiny8")[2]
