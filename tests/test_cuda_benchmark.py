"""What `python -m benchmarks.cuda` does where there is no card, and the parts of it that need none."""

import json

import pytest
import torch
from torch.testing import assert_close

from benchmarks import cuda
from benchmarks.codec import authors_search
from model.networks import QINCo2
from tests.devices import HAS_CUDA
from tests.model.builders import random_network, random_vectors


@pytest.mark.skipif(HAS_CUDA, reason="there is a card")
def test_without_a_card_it_says_so_in_one_line():
    with pytest.raises(SystemExit, match=r"^[^\n]*PyTorch finds none[^\n]*$"):
        cuda.main()


def test_a_run_goes_on_after_what_was_measured_on_the_same_card(tmp_path, monkeypatch):
    monkeypatch.setattr(cuda, "RESULT", tmp_path / "cuda.json")
    card = {"card": "A", "codec": "S"}
    figures = cuda.resumed(card)
    assert cuda.part(figures, "limits", lambda: {"copy GB/s": 7}) == {"copy GB/s": 7}
    again = cuda.resumed(card)
    assert again == json.loads(cuda.RESULT.read_text()) == {**card, "limits": {"copy GB/s": 7}}
    assert cuda.part(again, "limits", lambda: {"copy GB/s": 8}) == {"copy GB/s": 7}
    assert cuda.resumed({**card, "card": "B"}) == {"card": "B", "codec": "S"}


def test_rates_are_of_medians_and_the_ratio_is_of_theirs():
    taken = {"float16 TorchScript": [9.0, 6.0, 7.0], "ours": [2.0, 1.0, 9.0]}
    assert cuda.compared(taken, 1000) == {
        "float16 TorchScript, vectors/s": 142_857,
        "ours, vectors/s": 500_000,
        "times faster": 3.5,
    }


def test_the_multiplications_of_preset_s_are_those_of_its_matrices():
    assert cuda.multiplications(cuda.untrained("cpu")) == 7 * (128 * 128 + 4 * 128 * 256)


@torch.no_grad()
def test_the_plain_form_in_float16_evaluates_the_same_network():
    network = random_network(2, dim=8, embedding=8)
    half: QINCo2 = cuda.half_of(network)
    x = random_vectors(network, 6)
    codes = authors_search(half, x.half(), 4, 3)
    assert codes.dtype == torch.int64
    assert_close(half.decode(codes).float(), network.decode(codes), rtol=0.02, atol=0.1)
