"""How a codec is trained: every choice, once."""

import math
from dataclasses import dataclass, replace
from typing import Literal

from model.config import CodecConfig, preset_config
from model.training.schedule import Schedule

LEARNING_RATES = {"XS": 8e-3, "S": 2e-3, "M": 1e-3, "L": 1e-3}
"""XS and S measured (docs/accuracy.md); the others are as QINCo2's authors have it, within a quarter."""


@dataclass(frozen=True)
class Recipe:
    """family           QINCo2; or QINCo (ICML 2024): D_e = D, all codewords tried, no beam; or QINCo-LR, the same with
                     concatenation of low rank
    steps            M, bytes of a code at 256 codewords
    preset           XS, S, M or L
    lists            IVF lists; None for about 4 · √n, 0 for none
    candidates       A while training and, unless told otherwise, when encoding
    beam             B, likewise
    preselection_blocks  L_s: 0 for a codebook that pre-selects, else a network of so many blocks
    learning_rate    of AdamW at its highest; None for the preset's own
    schedule         how the rate goes: our cosine, or as QINCo2's authors have it
    epochs           passes over the data, unless time_budget_s chooses their number
    time_budget_s    seconds for everything, shortlist decoders included
    normalise        divide each vector by its length first: for cosine
    allow_constant   train although some dimensions hold one value in all vectors, as padding does
    """

    family: Literal["QINCo2", "QINCo", "QINCo-LR"] = "QINCo2"
    steps: int = 16
    codewords: int = 256
    preset: str = "S"
    lists: int | None = None
    candidates: int = 4
    beam: int = 4
    preselection_blocks: int = 0
    epochs: float = 20.0
    time_budget_s: float | None = None
    batch: int = 256
    learning_rate: float | None = None
    schedule: Schedule = "cosine"
    weight_decay: float = 0.1
    gradient_limit: float = 0.1
    warmup: float = 0.05
    held_out: int = 10_000
    normalise: bool = False
    allow_constant: bool = False
    seed: int = 0

    @property
    def highest_rate(self) -> float:
        """The learning rate that the schedule rises to."""
        return LEARNING_RATES[self.preset] if self.learning_rate is None else self.learning_rate

    def lists_for(self, n: int) -> int:
        """How many IVF lists n vectors get."""
        return list_count(n) if self.lists is None else self.lists

    def configuration(self, n: int, dim: int) -> CodecConfig:
        """The codec that this makes of n vectors of dim numbers."""
        config = replace(
            preset_config(self.preset, dim, self.steps, self.lists_for(n)),
            codewords=self.codewords,
            candidates=self.candidates,
            beam=self.beam,
            preselection_blocks=self.preselection_blocks,
        )
        if self.family == "QINCo2":
            return config
        return replace(config, embedding=dim, outer_skip=False, candidates=0, beam=1, preselection_blocks=0)


def list_count(n: int) -> int:
    """About 4 · √n IVF lists, a power of two."""
    return 1 << max(0, round(math.log2(4 * math.sqrt(n))))
