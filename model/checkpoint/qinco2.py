"""The authors' QINCo2 checkpoint: a torch zip archive of tensors and plain values.

Its keys, with m over all steps (0 being the IVF list where there is one):

    data_mean [D] · data_std []
    steps.0.ivf_centroids.weight [lists, D], normalised
    steps.m.codebook.weight [K, D] · steps.m.substep.codebook.weight [K, D], the pre-selection
    steps.m.in_proj.weight · concat.mlp.weight, .bias · residual_blocks.l.{up,down}_proj.weight · out_proj.weight

Beside it may lie the pairwise decoder, a `.pt` of three tensors, and a Faiss index whose residual quantiser holds the
additive tables. Pickles are read by `model.checkpoint.torch_archive`, which can run no code.
"""

from pathlib import Path
from typing import Any, cast

import faiss
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.checkpoint import torch_archive
from model.codec import NetworkCodec
from model.config import CodecConfig
from model.errors import InvalidCheckpoint
from model.networks import QINCo2
from model.shortlist import AdditiveDecoder, FittedPairs

_NAMES = {
    "codebook.weight": "codebook",
    "substep.codebook.weight": "preselection",
    "in_proj.weight": "in_projection",
    "out_proj.weight": "out_projection",
    "concat.mlp.weight": "concat_weight",
    "concat.mlp.bias": "concat_bias",
}


def load(content: Any, device: str, sha256: str) -> NetworkCodec:
    """A codec of what `torch_archive.read` gave; raises InvalidCheckpoint with what is wrong."""
    try:
        config = _config(content["parameters"], content["data_dim"])
        tensors = {key.replace("module.", ""): _tensor(values) for key, values in content["model"].items()}
        network = _network(config, tensors)
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise InvalidCheckpoint(f"The .pt file lacks or misshapes a part of a QINCo2 checkpoint: {error}") from error
    return NetworkCodec(network, None, device, sha256)


def read_additive(path: Path, codec: NetworkCodec) -> AdditiveDecoder:
    """The additive tables of the authors' `.faissindex`: a Faiss IVF index whose residual quantiser holds them."""
    try:
        index = faiss.read_index(str(path))  # owns the memory that the cast index looks into
        quantiser = cast(Any, faiss.downcast_index(index)).rq
        tables = faiss.vector_to_array(quantiser.codebooks).reshape(codec.steps, codec.codewords, codec.dim)
    except (RuntimeError, AttributeError, ValueError) as error:
        raise InvalidCheckpoint(f"'{path.name}' is no Faiss index with additive tables for this codec.") from error
    return AdditiveDecoder(np.asarray(tables / codec.weights.std, np.float32))


def read_pairs(path: Path, codec: NetworkCodec) -> FittedPairs:
    """The authors' pairwise decoder: `codebook_MKD` [T, K², D] in raw units, its columns and each list's codes."""
    content = torch_archive.read(path)
    try:
        pairs = FittedPairs(
            np.array(content["combine_mvals_m"].T, np.int64, order="C"),
            np.ascontiguousarray(content["codebook_MKD"], np.float32) / codec.weights.std,
            np.array(content["ivf_code_map"], np.int64, order="C"),
        )
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise InvalidCheckpoint(f"'{path.name}' is no pairwise decoder: {error}") from error
    try:
        pairs.check(codec.config)
    except InvalidCheckpoint as error:
        raise InvalidCheckpoint(f"'{path.name}' is a pairwise decoder for another codec: {error}") from error
    return pairs


def _config(parameters: dict[str, Any], dim: int) -> CodecConfig:
    return CodecConfig(
        dim=dim,
        steps=parameters["M"],
        codewords=parameters["K"],
        blocks=parameters["L"],
        embedding=parameters.get("de", dim),
        hidden=parameters["dh"],
        ivf_lists=parameters["ivf_K"] if parameters.get("ivf_in_use") else 0,
        candidates=parameters.get("A", 0),
        beam=parameters.get("B", 1),
        outer_skip=not parameters.get("qinco1_mode", False),
    )


def _network(config: CodecConfig, tensors: dict[str, Tensor]) -> QINCo2:
    state = {
        "mean": tensors["data_mean"],
        "std": tensors["data_std"],
        "centroids": tensors.get("steps.0.ivf_centroids.weight", torch.zeros(0, config.dim)),
    }
    first = 1 if config.ivf_lists else 0
    for key, tensor in tensors.items():
        if key.startswith("steps."):
            _, number, name = key.split(".", 2)
            if (ours := our_name(name)) is not None:
                state[f"steps.{int(number) - first}.{ours}"] = tensor
    with torch.device("meta"):
        network = QINCo2(config)
    network.load_state_dict(state, assign=True)
    return network


def _tensor(values: NDArray[np.generic]) -> Tensor:
    return torch.tensor(np.ascontiguousarray(values), dtype=torch.float32)


def our_name(name: str) -> str | None:
    """The authors' name of a step's tensor in ours; None for what decoding and encoding do not need."""
    if name.startswith("residual_blocks."):
        _, block, projection, _ = name.split(".")
        return f"{projection.removesuffix('_proj')}.{block}"
    return _NAMES.get(name)
