"""How the learning rate goes over a training, as a share of its highest."""

import math
from typing import Literal

Schedule = Literal["cosine", "paper"]

FLOOR = 1e-3
"""Of our cosine, at its end."""

PAPER_RAMP, PAPER_EPOCHS = 3, 60
PAPER_FLOOR = 8e-7
"""The authors' code multiplies a thousandth by the rate twice; what it does is what their tables come from."""


def share_of_rate(schedule: Schedule, progress: float, warmup: float) -> float:
    """The share of the highest rate when a share of the training is done; `warmup` is for ours alone."""
    if schedule == "paper":
        return papers(progress * (PAPER_RAMP + PAPER_EPOCHS))
    return cosine(progress, warmup)


def cosine(progress: float, warmup: float) -> float:
    """A ramp over a share of the training, then half a cosine down to a thousandth."""
    if progress < warmup:
        return (progress + FLOOR) / (warmup + FLOOR)
    return FLOOR + (1 - FLOOR) * 0.5 * (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup)))


def papers(epoch: float) -> float:
    """QINCo2 (Vallaeys et al., ICLR 2025) as its code has it: three epochs of ramp, a quarter of a cosine over 60."""
    if epoch < PAPER_RAMP:
        return max(epoch / PAPER_RAMP, PAPER_FLOOR)
    return max(math.cos(math.pi / 2 * min((epoch - PAPER_RAMP) / PAPER_EPOCHS, 1.0)), PAPER_FLOOR)
