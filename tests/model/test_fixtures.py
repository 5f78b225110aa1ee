"""Equality with the authors' implementation, on checkpoints and results that it made.

Looked for in QINCO_FIXTURES (default ../shared/fixtures); where that is absent they are skipped and
say so, except where CI is set: there they fail.
"""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from model import NetworkCodec, ProductCodec, beam_search, load_codec, save_codec
from model.checkpoint import qinco2
from model.shortlist.pair_fitting import fit_pairs
from model.training.objective import losses
from model.training.schedule import papers

FIXTURES = Path(os.environ.get("QINCO_FIXTURES", "../shared/fixtures")) / "qinco"
NAMES = [
    "qinco2_d16_M4_K16",
    "qinco2_d24_proj40_M4_K32",
    "qinco2_d16_noA_B3",
    "qinco1mode_d16_M4_K16",
    "ivf_qinco2_d32_M4_K16",
    "sift_s_8x8",
    "v1_qinco_d16_M4_K16_L2",
    "v1_qincolr_d24_M4_K16_h12",
    "v1_ivfqinco_d16_512_M3",
    "v1_pqqinco_d32_2x3",
    "v1_opqqinco_d32_2x3",
]


@pytest.fixture(params=NAMES)
def fixture(request):
    return _loaded(request.param)


def _need_fixtures():
    if not FIXTURES.is_dir():
        message = f"the authors' fixtures are not at {FIXTURES}; set QINCO_FIXTURES"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)


def _loaded(name):
    _need_fixtures()
    with np.load(FIXTURES / f"{name}.npz") as arrays:
        # Equations are compared here, not bfloat16's rounding.
        return load_codec(FIXTURES / f"{name}.pt", precision="float32"), dict(arrays)


def test_the_authors_shortlist_decoders_give_their_reconstructions(tmp_path):
    bare, arrays = _loaded("ivf_qinco2_d32_M4_K16")
    additive = qinco2.read_additive(FIXTURES / "ivf_qinco2_d32_ivf.faissindex", bare)
    codec = NetworkCodec(
        bare.network, additive, fitted_pairs=qinco2.read_pairs(FIXTURES / "ivf_qinco2_d32_pairwise.pt", bare)
    )
    np.testing.assert_allclose(codec.decode_additive(arrays["codes"]), arrays["aq_recons"], rtol=1e-4, atol=1e-2)
    np.testing.assert_allclose(codec.decode_pairwise(arrays["codes"]), arrays["pairwise_recons"], rtol=1e-4, atol=1e-2)
    save_codec(codec, tmp_path / "converted.safetensors")
    converted = load_codec(tmp_path / "converted.safetensors").decode_pairwise(arrays["codes"])
    np.testing.assert_allclose(converted, arrays["pairwise_recons"], atol=0.3)


def test_the_authors_pairwise_decoder_is_fitted_again():
    codec, _ = _loaded("ivf_qinco2_d32_M4_K16")
    theirs = qinco2.read_pairs(FIXTURES / "ivf_qinco2_d32_pairwise.pt", codec)
    with np.load(FIXTURES / "ivf_qinco2_d32_enc_train.part_0.npz") as arrays:
        codes = torch.from_numpy(arrays["codes"][:22_000])  # what they trained on
    x = codec.network.normalise(torch.from_numpy(np.load(FIXTURES / "ivf_qinco2_d32_train_u8.npy")[:22_000]))
    ours = fit_pairs(codec.network, x, codes, torch.from_numpy(theirs.list_codes), len(theirs.columns))
    assert ours.columns.tolist() == theirs.columns.tolist()
    torch.testing.assert_close(ours.tables, torch.from_numpy(theirs.tables), rtol=1e-3, atol=1e-4)


def test_codes_decode_to_the_authors_reconstructions(fixture):
    codec, arrays = fixture
    np.testing.assert_allclose(
        codec.decode(arrays["codes"]), arrays["decoded"], rtol=1e-4, atol=1e-4 * np.abs(arrays["decoded"]).max()
    )


def test_rounding_to_bfloat16_costs_less_than_a_thousandth_of_the_error():
    exact, arrays = _loaded("sift_s_8x8")
    x = arrays["x"].astype(np.float32)
    rounded = load_codec(FIXTURES / "sift_s_8x8.pt")
    expected, mse = (np.square(codec.decode(arrays["codes"]) - x).sum(axis=1).mean() for codec in (exact, rounded))
    assert mse == pytest.approx(expected, rel=1e-3)


def test_every_prefix_decodes_to_the_authors_reconstructions(fixture):
    codec, arrays = fixture
    if "prefix" not in arrays:
        pytest.skip("this fixture has no prefixes")
    prefixes = arrays["prefix"][1:] if codec.ivf_lists else arrays["prefix"]
    slices = len(codec.slices) if isinstance(codec, ProductCodec) else 1
    for steps, expected in enumerate(prefixes, start=1):
        decoded = codec.decode(arrays["codes"][: len(expected)], steps * slices)
        np.testing.assert_allclose(decoded, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def test_encoding_finds_the_authors_codes(fixture):
    codec, arrays = fixture
    x, expected = arrays["x"].astype(np.float32), arrays["codes"]
    codes = codec.encode(x, evaluated=1 << 16)
    assert (codes == expected).all(axis=1).mean() >= 0.999
    mse, expected_mse = (np.square(codec.decode(c) - x).sum(axis=1).mean() for c in (codes, expected))
    assert mse == pytest.approx(expected_mse, rel=1e-4)


@pytest.mark.parametrize("name", ["qinco2_d24_proj40", "ivf_qinco2_d32"])
def test_losses_and_gradients_are_the_authors(name):
    codec, _ = _loaded("qinco2_d24_proj40_M4_K32" if "proj" in name else "ivf_qinco2_d32_M4_K16")
    with np.load(FIXTURES / f"train_{name}.npz") as stored:
        arrays = dict(stored)
    network = codec.network.requires_grad_(True)
    x, codes = torch.from_numpy(arrays["x"]), torch.from_numpy(arrays["codes"]).long()
    found = losses(network, network.normalise(x), codes)
    found.total.backward()
    assert found.steps.sum().item() == pytest.approx(arrays["loss/mse_loss"].item(), rel=1e-5)
    assert found.preselection.item() == pytest.approx(arrays["loss/loss_substep"].item(), rel=1e-5)
    ours = {key: parameter.grad for key, parameter in network.named_parameters()}
    first = 1 if codec.ivf_lists else 0
    compared = 0
    for key, gradient in arrays.items():
        if key.startswith("grad/steps."):
            _, step, rest = key.split(".", 2)
            found = ours.pop(f"steps.{int(step) - first}.{qinco2.our_name(rest)}").numpy()
            np.testing.assert_allclose(found, gradient, rtol=1e-3, atol=1e-5 * np.abs(gradient).max())
            compared += 1
    assert compared > 20
    assert not ours


def test_the_hypotheses_of_a_beam_search_have_the_statistics_of_the_authors(monkeypatch):
    """Their running means and deviations, of momentum 0.1, of what all hypotheses leave of a batch before each step."""
    codec, _ = _loaded("qinco2_d24_proj40_M4_K32")
    with np.load(FIXTURES / "train_qinco2_d24_proj40.npz") as stored:
        arrays = dict(stored)
    left = []
    preselect = beam_search.preselect

    def watched(step, x, decoded, *others):
        left.append((x[:, None, :] - decoded).flatten(0, 1))
        return preselect(step, x, decoded, *others)

    monkeypatch.setattr(beam_search, "preselect", watched)
    with torch.no_grad():
        codes = beam_search.encode(codec.network, codec.network.normalise(torch.from_numpy(arrays["x"])), 8, 6)
    np.testing.assert_array_equal(codes, arrays["codes"])
    assert len(left) == 4
    for m, residuals in enumerate(left):
        for name, now in ("mean", residuals.mean(dim=0)), ("var", residuals.std(dim=0)):
            before, after = (arrays[f"{when}/steps.{m}.xtarget_{name}"] for when in ("before", "after"))
            np.testing.assert_allclose(0.9 * before + 0.1 * now.numpy(), after, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["qinco2_d24_proj40", "ivf_qinco2_d32"])
def test_learning_rates_are_the_authors(name):
    _need_fixtures()
    with np.load(FIXTURES / f"train_{name}.npz") as stored:
        expected = stored["lr_at_epoch_start_ramp3_epochs60_lr8e-4"]
    np.testing.assert_allclose([8e-4 * papers(epoch) for epoch in range(len(expected))], expected, rtol=1e-12)


def test_losses_and_gradients_of_the_first_paper_are_the_authors():
    codec, _ = _loaded("v1_qinco_d16_M4_K16_L2")
    with np.load(FIXTURES / "train_v1_qinco_d16.npz") as stored:
        arrays = dict(stored)
    network = codec.network.requires_grad_(True)
    x, codes = torch.from_numpy(arrays["x"]), torch.from_numpy(arrays["codes"]).long()
    found = losses(network, network.normalise(x), codes)
    found.total.backward()
    np.testing.assert_allclose(found.steps.detach() * x.numel(), arrays["losses_per_step_sum"], rtol=1e-5)
    assert found.total.item() == pytest.approx(arrays["loss/total"].item(), rel=1e-5)
    names = {"codebook.weight": "codebook", "MLPconcat.weight": "concat_weight", "MLPconcat.bias": "concat_bias"}
    ours = {key: parameter.grad for key, parameter in network.named_parameters()}
    for key, gradient in arrays.items():
        if not key.startswith("grad/"):
            continue
        step, rest = ("0", "codebook.weight") if "codebook0" in key else key.removeprefix("grad/step").split(".", 1)
        if rest.startswith("residual_block"):
            block, linear, _ = rest.removeprefix("residual_block").split(".")
            rest, name = "", f"{'up' if linear == '0' else 'down'}.{block}"
        found_gradient = ours.pop(f"steps.{step}.{names.get(rest) or name}").numpy()
        np.testing.assert_allclose(found_gradient, gradient, rtol=1e-3, atol=1e-5 * np.abs(gradient).max())
    assert not ours
