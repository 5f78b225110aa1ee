"""Our checkpoint: one safetensors file, its metadata JSON.

    mean [D] · std []                         float32
    centroids [lists, D]                      normalised, with IVF
    steps.M.codebook [K, D]                   M = 0 … steps − 1
    steps.M.preselection [K, D]               where pre-selection was trained; of depth L_s ≥ 1:
    steps.M.preselector.…                     a step of its own with L_s blocks
    steps.M.in_projection [D_e, D] · out_projection [D, D_e]      where D_e ≠ D
    steps.M.concat_weight [D_e, D_e + D] · concat_bias [D_e]
    steps.M.up.L [D_h, D_e] · down.L [D_e, D_h]
    additive [M, K, D]                        tables of the shortlist decoders, normalised
    pairs.columns [T, 2] · pairs.tables [T, K², D] · pairs.list_codes [lists, M̃]     the paper's pairs, if any

A PQ-QINCo codec has these for each slice, named `slices.S.…`, and `rotation` [D, D] where there is one.

`__metadata__` holds `format` = "qinco-server", `version`, `config` (CodecConfig, or {"slices": [CodecConfig, …]})
and `training` (recipe, data, measured quality), the last two as JSON. Weights may be float16 or float32; they are
computed with in float32. Of very many lists the centroids stay what they are in the file.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_bytes

from model import coarse
from model.codec import NetworkCodec
from model.config import CodecConfig
from model.errors import InvalidCheckpoint
from model.product_codec import ProductCodec
from model.shortlist import AdditiveDecoder, FittedPairs
from model.weights import Array, Weights, shapes

FORMAT = "qinco-server"
VERSION = 1
IN_VECTORS_UNITS = ("mean", "std")
LARGEST = 1e9
"""Of numbers in normalised units: their squares, summed, stay far from what float32 ends at."""


def save(codec: NetworkCodec | ProductCodec, path: Path, training: dict[str, Any]) -> None:
    """Write a codec and how it came to be; weights are rounded to float16."""
    if isinstance(codec, ProductCodec):
        tensors = {
            f"slices.{number}.{name}": tensor
            for number, one in enumerate(codec.slices)
            for name, tensor in _tensors(one).items()
        }
        if codec.rotation is not None:
            tensors["rotation"] = np.ascontiguousarray(codec.rotation)
        config: Any = {"slices": [asdict(one.config) for one in codec.slices]}
    else:
        tensors, config = _tensors(codec), asdict(codec.config)
    metadata = {
        "format": FORMAT,
        "version": str(VERSION),
        "config": json.dumps(config),
        "training": json.dumps(training),
    }
    unfinished = path.with_name(f".{path.name}.unfinished")
    unfinished.write_bytes(to_bytes(tensors, metadata))
    unfinished.replace(path)


def load(path: Path, device: str, sha256: str) -> NetworkCodec | ProductCodec:
    """Read a codec; raises InvalidCheckpoint with what is wrong."""
    try:
        with safe_open(path, framework="np") as file:
            configs = _configs(file.metadata() or {})
            has_many = isinstance(configs, CodecConfig) and configs.ivf_lists >= coarse.MANY_LISTS
            tensors = {name: _checked(name, file.get_tensor(name), has_many) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, TypeError, ValueError) as error:  # the last two: numbers that NumPy has not
        raise InvalidCheckpoint(f"The checkpoint cannot be read: {error}.") from error
    if isinstance(configs, CodecConfig):
        return _codec(configs, tensors, device, sha256)
    rotation = tensors.pop("rotation", None)
    dim = sum(config.dim for config in configs)
    if rotation is not None and rotation.shape != (dim, dim):
        raise InvalidCheckpoint(f"The rotation has shape {list(rotation.shape)}, not [{dim}, {dim}].")
    slices = [_codec(config, _below(f"slices.{s}.", tensors), device, "") for s, config in enumerate(configs)]
    if tensors:
        raise InvalidCheckpoint(f"The checkpoint holds a tensor '{min(tensors)}' that belongs to no slice.")
    return ProductCodec(slices, rotation, sha256)


def _codec(config: CodecConfig, tensors: dict[str, Array], device: str, sha256: str) -> NetworkCodec:
    pairs = _fitted_pairs(tensors, config)
    additive = tensors.pop("additive", None)
    if additive is not None and additive.shape != (config.steps, config.codewords, config.dim):
        raise InvalidCheckpoint(f"The additive tables have shape {list(additive.shape)}, which does not fit the codec.")
    return NetworkCodec(
        _weights(config, tensors), None if additive is None else AdditiveDecoder(additive), device, sha256, pairs
    )


def read_training(path: Path) -> dict[str, Any]:
    """How a checkpoint was trained: recipe, data, quality."""
    with safe_open(path, framework="np") as file:
        training: dict[str, Any] = json.loads((file.metadata() or {}).get("training", "{}"))
    return training


def _tensors(codec: NetworkCodec) -> dict[str, Array]:
    tensors = {
        name: np.ascontiguousarray(array, np.float32 if name in IN_VECTORS_UNITS else np.float16).reshape(array.shape)
        for name, array in codec.weights.arrays.items()
        if array.size
    }
    if codec.has_additive:
        tensors["additive"] = np.ascontiguousarray(codec.normalised_tables, np.float16)
    if codec.fitted_pairs is not None:
        tensors |= {f"pairs.{name}": np.ascontiguousarray(array) for name, array in vars(codec.fitted_pairs).items()}
        tensors["pairs.tables"] = tensors["pairs.tables"].astype(np.float16)
    return tensors


def _below(prefix: str, tensors: dict[str, Array]) -> dict[str, Array]:
    """The tensors whose names begin so, taken out, by the rest of their names."""
    names = [name for name in tensors if name.startswith(prefix)]
    return {name.removeprefix(prefix): tensors.pop(name) for name in names}


def _configs(metadata: dict[str, str]) -> CodecConfig | list[CodecConfig]:
    """The codec's configuration, or those of its slices."""
    if metadata.get("format") != FORMAT:
        raise InvalidCheckpoint(
            "This safetensors file is not a checkpoint of this project: its metadata names no codec."
        )
    if metadata.get("version") != str(VERSION):
        raise InvalidCheckpoint(
            f"The checkpoint's format version is {metadata.get('version')}; this release reads version {VERSION}."
        )
    try:
        config = json.loads(metadata["config"])
        if slices := config.get("slices"):
            return _alike([CodecConfig(**one) for one in slices])
        return CodecConfig(**config)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise InvalidCheckpoint(f"The checkpoint's configuration cannot be understood: {error}.") from error


def _alike(slices: list[CodecConfig]) -> list[CodecConfig]:
    """The slices, if codes of all of them can stand side by side."""
    if len({(one.dim, one.steps, one.codewords, one.ivf_lists) for one in slices}) != 1 or slices[0].ivf_lists:
        raise InvalidCheckpoint("The slices of the codec differ from each other, or have lists of their own.")
    return slices


def _fitted_pairs(tensors: dict[str, Array], config: CodecConfig) -> FittedPairs | None:
    """The paper's pairwise decoder, taken out of the tensors."""
    if "pairs.tables" not in tensors:
        return None
    parts = [tensors.pop(f"pairs.{name}", None) for name in ("columns", "tables", "list_codes")]
    columns, tables, list_codes = parts
    if columns is None or tables is None or list_codes is None:
        raise InvalidCheckpoint("The checkpoint has tables for pairs without their columns or the codes of the lists.")
    pairs = FittedPairs(columns.astype(np.int64), tables, list_codes.astype(np.int64))
    pairs.check(config)
    return pairs


def _checked(name: str, tensor: Array, has_many_lists: bool) -> Array:
    """A tensor as it is held: steps stay in float16, since what they compute with is made of them once."""
    stays = "steps." in name or (name == "centroids" and has_many_lists)
    tensor = tensor if stays and tensor.dtype == np.float16 else tensor.astype(np.float32)
    if not np.isfinite(tensor).all():
        raise InvalidCheckpoint(f"Tensor '{name}' of the checkpoint holds values that are not finite.")
    if name not in IN_VECTORS_UNITS and tensor.size and float(np.abs(tensor).max()) > LARGEST:
        raise InvalidCheckpoint(f"Tensor '{name}' of the checkpoint holds numbers beyond {LARGEST:g}.")
    return tensor


def _weights(config: CodecConfig, tensors: dict[str, Array]) -> Weights:
    expected = shapes(config)
    if not config.ivf_lists:
        tensors["centroids"] = np.zeros((0, config.dim), np.float32)
    if missing := sorted(expected.keys() - tensors.keys()):
        raise InvalidCheckpoint(f"The checkpoint lacks tensor '{missing[0]}'.")
    if unknown := sorted(tensors.keys() - expected.keys()):
        raise InvalidCheckpoint(f"The checkpoint holds a tensor '{unknown[0]}' that its configuration does not name.")
    for name, shape in expected.items():
        if tensors[name].shape != shape:
            raise InvalidCheckpoint(f"Tensor '{name}' has shape {list(tensors[name].shape)}, not {list(shape)}.")
    return Weights(config, {name: tensors[name] for name in expected})
