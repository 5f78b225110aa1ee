"""A network's weights as arrays of the host: what a checkpoint holds, for whatever computes with it.

`networks.QINCo2` has the same parameters by the same names, as PyTorch's. What serves on CPUs reads these, so that a
process that neither trains nor has a GPU does without PyTorch: 190 MB, and two seconds of a core.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from model.config import CodecConfig

if TYPE_CHECKING:
    from model.networks import QINCo2

Array = NDArray[Any]
Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class StepWeights:
    """What `networks.Step` holds, by the same names; None for what a step has not."""

    has_network: bool
    outer_skip: bool
    codebook: Float32
    preselection: Float32 | None
    preselector: StepWeights | None
    in_projection: Float32 | None
    concat_weight: Float32 | None
    concat_bias: Float32 | None
    up: tuple[Float32, ...]
    down: tuple[Float32, ...]
    out_projection: Float32 | None


@dataclass(frozen=True)
class Weights:
    """arrays  by the names of `shapes`, in the numbers of the checkpoint: float32, or float16 but for mean and std

    All is computed in float32, from what is made of them once; so they may stay as small as they came.
    """

    config: CodecConfig
    arrays: dict[str, Array]

    @classmethod
    def of(cls, network: QINCo2) -> Weights:
        """Those of a network; they share its memory where it is on the CPU."""
        arrays = {name: tensor.detach().cpu().numpy() for name, tensor in network.state_dict().items()}
        return cls(network.config, arrays)

    @property
    def mean(self) -> Float32:
        return self.arrays["mean"]

    @property
    def std(self) -> np.float32:
        return np.float32(self.arrays["std"])

    @property
    def centroids(self) -> Array:
        return self.arrays["centroids"]

    @property
    def steps(self) -> tuple[StepWeights, ...]:
        """In float32, made anew at each look."""
        first = 0 if self.config.ivf_lists else 1
        return tuple(
            _step(f"steps.{m}.", self.arrays, self.config, has_network=m >= first) for m in range(self.config.steps)
        )

    def normalise(self, x: Float32) -> Float32:
        return np.asarray((x - self.mean) / self.std, np.float32)

    def restore(self, x: Float32) -> Float32:
        return np.asarray(x * self.std + self.mean, np.float32)

    def split(self, codes: Array) -> tuple[Array | None, Array]:
        """codes → the lists [n], None without IVF, and the symbols [n, M]."""
        return (codes[:, 0], codes[:, 1:]) if self.config.ivf_lists else (None, codes)

    def start(self, lists: Array | None, n: int) -> Float32:
        """x̂ before the first learned step: the lists' centroids, else nothing; [n, D]."""
        if lists is None:
            return np.zeros((n, self.config.dim), np.float32)
        return np.asarray(self.centroids[lists], np.float32)

    def with_centroids(self, centroids: Array) -> Weights:
        """The same, its centroids held elsewhere."""
        return replace(self, arrays={**self.arrays, "centroids": centroids})

    def prefix(self, steps: int) -> Weights:
        """Those of the first `steps` steps, sharing memory."""
        config = replace(self.config, steps=steps)
        return Weights(config, {name: self.arrays[name] for name in shapes(config)})


def shapes(config: CodecConfig) -> dict[str, tuple[int, ...]]:
    """The name and shape of each of a network's parameters, in the order of its `state_dict`."""
    found: dict[str, tuple[int, ...]] = {
        "mean": (config.dim,),
        "std": (),
        "centroids": (config.ivf_lists, config.dim),
    }
    for m in range(config.steps):
        found |= _shapes_of_step(f"steps.{m}.", config, bool(m or config.ivf_lists))
    return found


def _shapes_of_step(prefix: str, config: CodecConfig, has_network: bool) -> dict[str, tuple[int, ...]]:
    K, D, D_e, D_h = config.codewords, config.dim, config.embedding, config.hidden
    found: dict[str, tuple[int, ...]] = {"codebook": (K, D)}
    if has_network:
        if config.candidates and not config.preselection_blocks:
            found["preselection"] = (K, D)
        if config.has_projection:
            found["in_projection"] = (D_e, D)
        found |= {"concat_weight": (D_e, D_e + D), "concat_bias": (D_e,)}
        found |= {f"up.{block}": (D_h, D_e) for block in range(config.blocks)}
        found |= {f"down.{block}": (D_e, D_h) for block in range(config.blocks)}
        if config.has_projection:
            found["out_projection"] = (D, D_e)
        if config.candidates and config.preselection_blocks:
            found |= _shapes_of_step("preselector.", shallow(config), has_network=True)
    return {prefix + name: shape for name, shape in found.items()}


def shallow(config: CodecConfig) -> CodecConfig:
    """The configuration of a step's preselector."""
    return replace(config, blocks=config.preselection_blocks, candidates=0, outer_skip=True)


def _step(prefix: str, arrays: dict[str, Array], config: CodecConfig, has_network: bool) -> StepWeights:
    def found(name: str) -> Float32:
        return np.asarray(arrays[prefix + name], np.float32)

    def perhaps(name: str) -> Float32 | None:
        return found(name) if prefix + name in arrays else None

    blocks = range(config.blocks if has_network else 0)
    has_preselector = has_network and config.candidates > 0 and config.preselection_blocks > 0
    return StepWeights(
        has_network=has_network,
        outer_skip=config.outer_skip,
        codebook=found("codebook"),
        preselection=perhaps("preselection"),
        preselector=_step(prefix + "preselector.", arrays, shallow(config), True) if has_preselector else None,
        in_projection=perhaps("in_projection"),
        concat_weight=perhaps("concat_weight"),
        concat_bias=perhaps("concat_bias"),
        up=tuple(found(f"up.{block}") for block in blocks),
        down=tuple(found(f"down.{block}") for block in blocks),
        out_projection=perhaps("out_projection"),
    )
