"""The checkpoints of QINCo (Huijben et al., ICML 2024): pickled modules, read as inert attributes.

PQ-QINCo becomes a `ProductCodec`; QINCo, QINCo-LR and IVF-QINCo become the network that `model.networks` has: D_e = D,
no outer skip, no pre-selection, x̃ = x / db_scale. QINCo-LR's two matrices in a row, which have nothing between them,
are multiplied out.
"""

import numpy as np
import torch
from torch import Tensor

from model.checkpoint.torch_archive import Module
from model.codec import NetworkCodec
from model.config import CodecConfig
from model.errors import InvalidCheckpoint
from model.networks import QINCo2
from model.product_codec import ProductCodec


def load(content: Module, device: str, sha256: str) -> NetworkCodec | ProductCodec:
    """A codec of what `torch_archive.read` gave; raises InvalidCheckpoint with what is wrong."""
    try:
        if content.kind == "PQ_QINCo":
            return _product(content, device, sha256)
        return NetworkCodec(_network(content), None, device, sha256)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise InvalidCheckpoint(f"The .pt file lacks or misshapes a part of a QINCo checkpoint: {error}") from error


def _product(content: Module, device: str, sha256: str) -> ProductCodec:
    own = content.attributes
    slices = [NetworkCodec(_network(one), None, device) for one in own["sub_quantizers"]]
    if not slices or len({(one.dim, one.steps, one.codewords) for one in slices}) != 1:
        raise InvalidCheckpoint("The slices of the PQ-QINCo checkpoint differ from each other.")
    rotation = own["_parameters"].get("opq_matrix", own.get("opq_matrix"))
    if rotation is None:
        return ProductCodec(slices, None, sha256)
    dim = len(slices) * slices[0].dim
    if rotation.shape != (dim, dim):
        raise InvalidCheckpoint(
            f"The rotation of the PQ-QINCo checkpoint is {list(rotation.shape)}, not {dim} × {dim}."
        )
    return ProductCodec(slices, np.ascontiguousarray(rotation, np.float32), sha256)


def _network(content: Module) -> QINCo2:
    own, modules = content.attributes, content.attributes["_modules"]
    has_lists = content.kind == "IVFQINCo"
    config = CodecConfig(
        dim=int(own["d"]),
        steps=int(own["M"]),
        codewords=int(own["K"]),
        blocks=int(own["L"]),
        embedding=int(own["d"]),
        hidden=int(own["h"]),
        ivf_lists=int(own["K_IVF"]) if has_lists else 0,
        candidates=0,
        beam=1,
        outer_skip=False,
    )
    first = _weight(modules["codebook0"])
    state = {"mean": torch.zeros(config.dim), "std": torch.tensor(float(own["db_scale"]))}
    state["centroids"] = first if has_lists else torch.zeros(0, config.dim)
    if not has_lists:
        state["steps.0.codebook"] = first
    for m in range(0 if has_lists else 1, config.steps):
        state |= {f"steps.{m}.{name}": tensor for name, tensor in _step(modules[f"step{m}"], config).items()}
    with torch.device("meta"):
        network = QINCo2(config)
    network.load_state_dict(state, assign=True)
    return network


def _step(step: Module, config: CodecConfig) -> dict[str, Tensor]:
    modules = step.attributes["_modules"]
    concat = modules["MLPconcat"]
    if concat.kind == "Sequential":
        parts = concat.attributes["_modules"]
        weight, bias = _weight(parts["1"]) @ _weight(parts["0"]), torch.zeros(config.dim)
    else:
        weight, bias = _weight(concat), _parameter(concat, "bias")
    tensors = {"codebook": _weight(modules["codebook"]), "concat_weight": weight, "concat_bias": bias}
    for block in range(config.blocks):
        linears = modules[f"residual_block{block}"].attributes["_modules"]
        tensors |= {f"up.{block}": _weight(linears["0"]), f"down.{block}": _weight(linears["2"])}
    return tensors


def _weight(module: Module) -> Tensor:
    return _parameter(module, "weight")


def _parameter(module: Module, name: str) -> Tensor:
    values = module.attributes["_parameters"][name]
    return torch.tensor(np.ascontiguousarray(values), dtype=torch.float32)
