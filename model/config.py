"""What a codec is made of: its sizes, and the presets XS, S, M and L."""

from dataclasses import dataclass

from model.errors import InvalidCheckpoint

MOST = {
    "dim": 1 << 16,
    "steps": 1024,
    "codewords": 1 << 16,
    "blocks": 64,
    "beam": 1 << 16,
    "embedding": 1 << 14,
    "hidden": 1 << 14,
    "ivf_lists": 1 << 26,
    "preselection_blocks": 64,
}
"""Bounds that no codec comes near: a file that declares more is refused before anything is made of it."""


@dataclass(frozen=True)
class CodecConfig:
    """The sizes of a QINCo2 codec (Vallaeys et al., ICLR 2025, section 3).

    dim           D, numbers in a vector
    steps         M, learned quantisation steps: the code of a vector has M symbols
    codewords     K, codewords a step: 256 makes a symbol a byte
    blocks        L, residual blocks of a step network
    embedding     D_e, width inside a step network
    hidden        D_h, width inside a residual block
    ivf_lists     K_ivf, 0 without IVF; with it the list's centroid acts as a step before the first
    candidates    A, codewords that pre-selection keeps for each hypothesis; 0: no pre-selection, all are tried
    beam          B, hypotheses kept while encoding
    preselection_blocks  L_s, residual blocks of the network that pre-selects; 0: a codebook alone does
    outer_skip    whether a step adds its codeword besides what its network gives; QINCo (ICML 2024) does not
    """

    dim: int
    steps: int
    codewords: int = 256
    blocks: int = 1
    embedding: int = 64
    hidden: int = 128
    ivf_lists: int = 0
    candidates: int = 8
    beam: int = 8
    preselection_blocks: int = 0
    outer_skip: bool = True

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if type(value) is not (bool if name == "outer_skip" else int):
                raise InvalidCheckpoint(f"A codec's '{name}' cannot be {value!r}.")
        for name in ("dim", "steps", "codewords", "embedding", "hidden", "beam"):
            if getattr(self, name) < 1:
                raise InvalidCheckpoint(f"A codec's '{name}' must be at least 1, not {getattr(self, name)}.")
        for name in ("blocks", "ivf_lists", "candidates", "preselection_blocks"):
            if getattr(self, name) < 0:
                raise InvalidCheckpoint(f"A codec's '{name}' must not be negative, as {getattr(self, name)} is.")
        for name, most in MOST.items():
            if getattr(self, name) > most:
                raise InvalidCheckpoint(f"A codec's '{name}' may be at most {most}, not {getattr(self, name)}.")
        if self.candidates > self.codewords:
            raise InvalidCheckpoint(f"Pre-selection cannot keep {self.candidates} of {self.codewords} codewords.")

    @property
    def has_projection(self) -> bool:
        """Whether step networks project from D to D_e and back; they do unless D_e = D."""
        return self.embedding != self.dim

    @property
    def networks(self) -> int:
        """How many steps have a network: all after an IVF list, all but the first without."""
        return self.steps if self.ivf_lists else self.steps - 1


PRESETS: dict[str, dict[str, int]] = {
    "XS": {"blocks": 1, "embedding": 64, "hidden": 128},
    "S": {"blocks": 2, "embedding": 128, "hidden": 256},
    "M": {"blocks": 4, "embedding": 384, "hidden": 384},
    "L": {"blocks": 16, "embedding": 384, "hidden": 384},
}


def preset_config(preset: str, dim: int, steps: int, ivf_lists: int = 0) -> CodecConfig:
    """The configuration of preset XS, S, M or L for vectors of `dim` numbers and codes of `steps` bytes."""
    return CodecConfig(dim=dim, steps=steps, ivf_lists=ivf_lists, outer_skip=True, **PRESETS[preset])
