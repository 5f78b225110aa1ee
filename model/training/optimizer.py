"""AdamW as PyTorch has it, without the import of TorchDynamo, which takes longer than a small training.

PyTorch's optimizers import it at their first call, in order to tell it to leave them alone; nothing here is compiled by
it. That was 3.4 of the 7.3 s of CPU that a training of 800 vectors took (AMD EPYC, 2026-11-21, by hand). What a method
of theirs has to tell is noted beside the method, and looked for there first: so here the methods are noted as they are,
and `step` is called without its wrapper. Should a later PyTorch do otherwise, a test tells that the import is back.
"""

import inspect
from typing import Any

import torch
from torch.optim import Optimizer

NOTED = "__dynamo_disable"
_plain_step = inspect.unwrap(torch.optim.AdamW.step)


class AdamW(torch.optim.AdamW):
    """The same updates and the same state."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        for method in vars(Optimizer).values():
            plain = getattr(method, "__wrapped__", None)
            if plain is not None and not hasattr(plain, NOTED):
                setattr(plain, NOTED, plain)
        super().__init__(*arguments, **options)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One update of all parameters by their gradients."""
        _plain_step(self, closure)
