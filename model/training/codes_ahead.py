"""Codes of the batches to come, found several batches at a time, and by a narrow search while training is young.

Searching for codes takes most of a training's time. Four batches at once take two thirds of the time of one by one at
A = B = 2, since the network is folded and packed once; the last of them are by weights three updates old. A narrow
search sees more vectors in the same time, a wide one at the end finds the codes that encoding will.
"""

from typing import Any

import torch
from torch import Tensor

from model.networks import QINCo2
from model.training.batches import Batch, Batches
from model.training.objective import encode
from model.training.peers import ALONE, Peers

BATCHES = 4
NARROW = 2
"""A and B at most, until NARROW_UNTIL, a share of the training, is done."""

NARROW_UNTIL = 0.6


class CodesAhead:
    """Batches in their order with their codes; what `state` gives is all that the next one depends on."""

    def __init__(self, network: QINCo2, batches: Batches, peers: Peers = ALONE) -> None:
        self._network, self._batches, self._peers = network, batches, peers
        self._found: list[tuple[Batch, Tensor]] = []

    def next(self, number: int, share: float) -> tuple[Batch, Tensor]:
        """The batch of this number, one more than the last time, at this share of the training; codes int64 [n, M]."""
        if not self._found:
            coming = [self._batches.at(number + i) for i in range(BATCHES)]
            own = _together(coming).rows(self._peers.slice)
            codes = self._peers.together(encode(self._network, own.x, own.lists, *_effort(self._network, share)))
            self._found = list(zip(coming, torch.split(codes, [len(batch.x) for batch in coming]), strict=True))
        return self._found.pop(0)

    def state(self) -> dict[str, Any]:
        return {"codes": [codes.clone() for _, codes in self._found]}

    def restore(self, state: dict[str, Any], number: int) -> None:
        """Continue before the batch of this number."""
        device = self._network.mean.device
        self._found = [(self._batches.at(number + i), codes.to(device)) for i, codes in enumerate(state["codes"])]


def _together(batches: list[Batch]) -> Batch:
    lists = [batch.lists for batch in batches if batch.lists is not None]
    return Batch(torch.cat([batch.x for batch in batches]), torch.cat(lists) if lists else None)


def _effort(network: QINCo2, share: float) -> tuple[int, int]:
    """A and B to search with."""
    config = network.config
    if share >= NARROW_UNTIL:
        return config.candidates, config.beam
    return min(config.candidates, NARROW), min(config.beam, NARROW)
