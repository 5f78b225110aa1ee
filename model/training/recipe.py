"""How a codec is trained: every choice, once."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """steps            M, bytes of a code at 256 codewords
    preset           XS, S, M or L
    lists            IVF lists; None for about 4 · √n, 0 for none
    candidates       A while training and, unless told otherwise, when encoding
    beam             B, likewise
    preselection_blocks  L_s: 0 for a codebook that pre-selects, else a network of so many blocks
    epochs           passes over the data, unless time_budget_s chooses their number
    time_budget_s    seconds for everything, shortlist decoders included
    normalise        divide each vector by its length first: for cosine
    """

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
    learning_rate: float = 1e-3
    weight_decay: float = 0.1
    gradient_limit: float = 0.1
    warmup: float = 0.05
    held_out: int = 2048
    normalise: bool = False
    seed: int = 0
