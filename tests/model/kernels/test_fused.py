"""The Triton kernels against the plain forms: in Triton's interpreter where there is no GPU, on the GPU where there is.

The interpreter multiplies float32 and float16 (it has no bfloat16 products). Blocks are made small, so that small
networks have several of each.
"""

from types import SimpleNamespace

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from model import NetworkCodec, beam_search
from model.kernels import folded, folding, fused, fused_packed
from model.kernels.fused import FusedKernels
from tests.devices import DEVICE, examples, needs_triton
from tests.model.builders import random_network, random_vectors

pytestmark = needs_triton

SIZES = st.fixed_dictionaries(
    {
        "dim": st.integers(1, 40),
        "steps": st.integers(1, 4),
        "codewords": st.sampled_from([5, 16, 256]),
        "blocks": st.integers(0, 3),
        "embedding": st.integers(1, 40),
        "hidden": st.integers(1, 40),
        "ivf_lists": st.sampled_from([0, 6]),
        "outer_skip": st.booleans(),
    }
)
LONG = {"dim": 9, "steps": 16, "codewords": 16, "blocks": 1, "embedding": 5, "hidden": 17, "ivf_lists": 6}
DEEP = {"dim": 33, "steps": 2, "codewords": 256, "blocks": 16, "embedding": 17, "hidden": 16, "ivf_lists": 0}
TOLERANCE = {torch.float32: 1e-4, torch.float16: 1e-2}


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(fused_packed, "D_BLOCK", 16)
    monkeypatch.setattr(fused_packed, "H_BLOCK", 16)


def made(seed, element=torch.float32, **sizes):
    """A network with small weights, so that many blocks do not make its values explode, its steps, and the kernels."""
    network = random_network(seed, **sizes)
    for step in network.steps:
        if step.has_network:
            for matrix in (*step.up, *step.down, step.concat_weight):
                matrix.mul_(0.5)
    network = network.to(DEVICE)
    steps = [folding.fold(step) for step in network.steps]
    packed = fused_packed.fuse(network, steps, element)
    return network, steps, None if packed is None else FusedKernels(packed)


@pytest.mark.parametrize("element", [torch.float32, torch.float16])
@example(sizes=LONG, projects=True, n=3, seed=1)
@example(sizes=DEEP, projects=False, n=3, seed=1)
@given(sizes=SIZES, projects=st.booleans(), n=st.sampled_from([0, 1, 7, 33]), seed=st.integers(0, 2**31))
@settings(max_examples=examples(4))
@torch.no_grad()
def test_the_kernel_decodes_a_prefix_of_any_length_like_the_plain_form(element, sizes, projects, n, seed):
    if not projects:
        sizes = {**sizes, "embedding": sizes["dim"]}
    network, _, kernels = made(seed, element, candidates=0, **sizes)
    if kernels is None:  # a single step without a list has no network
        assert sizes["steps"] == 1
        return
    codes = torch.randint(0, sizes["codewords"], (n, sizes["steps"]))
    if sizes["ivf_lists"]:
        codes = torch.cat([torch.randint(0, sizes["ivf_lists"], (n, 1)), codes], dim=1)
    codes = codes.to(DEVICE)
    for count in {1, sizes["steps"]}:
        expected = network.restore(network.decode(codes, count))
        difference = (kernels.decode(codes, count) - expected).abs().max() if n else 0
        assert not n or difference <= TOLERANCE[element] * expected.abs().max()


SEARCHED = st.fixed_dictionaries(
    {
        "dim": st.integers(1, 34),
        "steps": st.integers(1, 3),
        "codewords": st.sampled_from([5, 16]),
        "blocks": st.integers(0, 2),
        "embedding": st.integers(1, 34),
        "hidden": st.integers(1, 34),
        "ivf_lists": st.sampled_from([0, 6]),
        "outer_skip": st.booleans(),
        "candidates": st.sampled_from([0, 1, 3]),
        "beam": st.integers(1, 3),
    }
)


@pytest.mark.parametrize("element", [torch.float32, torch.float16])
@given(sizes=SEARCHED, projects=st.booleans(), n=st.sampled_from([0, 1, 5]), seed=st.integers(0, 2**31))
@settings(max_examples=examples(5))
@torch.no_grad()
def test_the_kernels_find_codes_as_good_as_the_plain_form(element, sizes, projects, n, seed):
    if not projects:
        sizes = {**sizes, "embedding": sizes["dim"]}
    network, steps, kernels = made(seed, element, **sizes)
    if kernels is None:
        return
    x = random_vectors(network, n, seed).to(DEVICE)
    lists = beam_search.nearest_list(network, x) if sizes["ivf_lists"] else None
    A, B = sizes["candidates"], sizes["beam"]
    assert kernels.fits(network, A, B)
    tables = [folded.encoding_tables(step) for step in network.steps]
    plain = folded.encode(network, steps, tables, x, lists, A, B)
    found = kernels.encode(network, x, lists, A, B)
    assert found.shape == plain.shape
    assert n == 0 or (found.min() >= 0 and found.max() < max(sizes["codewords"], 6))
    errors = [(network.decode(codes) - x).square().sum(dim=1) for codes in (plain, found)]
    if element == torch.float32:
        assert ((errors[0] - errors[1]).abs() > 1e-3 * (1 + errors[0])).sum() <= 1  # a near-tie may part two searches
    elif n:
        assert errors[1].mean() <= 1.1 * errors[0].mean() + 0.1


@pytest.mark.filterwarnings("ignore:overflow|invalid value:RuntimeWarning")
@torch.no_grad()
def test_a_search_of_more_codewords_than_a_power_of_two_never_takes_one_that_is_not_there():
    network, _, kernels = made(3, codewords=5, dim=20, embedding=20)
    vectors = torch.full((3, 20), 3e38, device=DEVICE)  # distances overflow, so that none is the least
    found = kernels.encode(network, vectors, None, 4, 3)
    assert found.min() >= 0
    assert found.max() < 5


@pytest.mark.parametrize(
    "sizes",
    [
        {"preselection_blocks": 1},  # the pre-selection is a network
        {"candidates": 100, "codewords": 128, "beam": 2},  # too many to take out one by one
        {"candidates": 0, "codewords": 1024, "beam": 8},  # too many for a program
    ],
)
@torch.no_grad()
def test_what_the_kernels_cannot_search_is_left_to_operators(sizes):
    network, _, kernels = made(1, **sizes)
    assert not kernels.fits(network, network.config.candidates, network.config.beam)


@torch.no_grad()
def test_networks_that_a_program_cannot_hold_or_float16_cannot_tell_have_no_kernels():
    network = random_network(1, embedding=300)
    steps = [folding.fold(step) for step in network.steps]
    assert fused_packed.fuse(network, steps) is None
    network = random_network(1)
    network.steps[1].codebook[0, 0] = 1000
    assert fused_packed.fuse(network, [folding.fold(step) for step in network.steps]) is None


def test_without_a_c_compiler_operators_take_the_kernels_place_and_the_log_says_so(monkeypatch, caplog):
    def fail():
        raise RuntimeError("Failed to find C compiler.")

    monkeypatch.setattr("triton.runtime.driver", SimpleNamespace(active=SimpleNamespace(get_current_device=fail)))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    fused._reaches_driver.cache_clear()
    try:
        assert not fused.are_available(torch.device("cuda"))
    finally:
        fused._reaches_driver.cache_clear()
    assert "Failed to find C compiler" in caplog.text


@torch.no_grad()
def test_a_codec_with_kernels_encodes_and_decodes_as_one_without(monkeypatch):
    plain = NetworkCodec(random_network(5), device=str(DEVICE))
    monkeypatch.setattr(fused, "are_available", lambda device: True)
    codec = NetworkCodec(random_network(5), device=str(DEVICE))
    for one in (plain, codec):
        one.prepared.packed = one.prepared.search = None  # the kernels for CPUs go before
    assert codec.operators.fused is not None
    x = random_vectors(plain.network.cpu(), 9).numpy()
    plain.network.to(DEVICE)
    codes = plain.encode(x, evaluated=plain.default_candidates * plain.default_beam)  # as the kernels for GPUs do
    assert (codec.encode(x) == codes).mean() > 0.9
    for one, other in ((codec, plain), (codec.prefix(2), plain.prefix(2))):
        own = codes[:, : one.steps]
        assert abs(one.decode(own) - other.decode(own)).max() < 1e-2 * abs(other.decode(own)).max()
    assert one.operators.fused is codec.operators.fused
    codec.compute_in_float32()
    assert codec.operators.fused is None
