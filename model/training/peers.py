"""Several processes that train one network, each with a GPU of its own or a share of the CPU's threads.

They are started by what people start such trainings with, `torchrun` or `accelerate launch`, which tell each process
its place by environment variables (RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT). All hold the same weights
and take the same batches in the same order. Each searches for the codes of its share of a batch, and computes the
gradients of its share; then all know all codes and the mean of the gradients, and take the same step. So one process
or many, of whatever number, train alike up to rounding, and what they keep to be resumed from is the same.
"""

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed
from torch import Tensor, nn

PATIENCE = timedelta(days=1)
"""How long a process waits for the others: while the first makes lists and a residual quantiser, they have no work."""


CPU = torch.device("cpu")


@dataclass(frozen=True)
class Peers:
    """This process, `rank`, among `count` that train together; the first, of rank 0, reports and writes.

    `device` is where messages to the others have to lie: on the GPU for NCCL, in memory for Gloo.
    """

    rank: int = 0
    count: int = 1
    device: torch.device = CPU

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    @property
    def slice(self) -> slice:
        """Of a batch's rows those that are this process's; their number is a multiple of the processes'."""
        return slice(self.rank, None, self.count)

    def together(self, own: Tensor) -> Tensor:
        """The rows [n, …] that everybody's `slice` of them, [n / count, …], makes up."""
        if self.count == 1:
            return own
        mine = own.to(self.device).contiguous()
        parts = [torch.empty_like(mine) for _ in range(self.count)]
        torch.distributed.all_gather(parts, mine)
        return torch.stack(parts, dim=1).flatten(0, 1).to(own.device)

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Put everybody's mean in the place of each tensor, in one message."""
        if self.count == 1 or not tensors:
            return
        flat = torch.cat([tensor.flatten() for tensor in tensors]).to(self.device)
        torch.distributed.all_reduce(flat)
        flat /= self.count
        parts = torch.split(flat, [tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.copy_(part.view_as(tensor))

    def of_the_first(self, number: float) -> float:
        """The first process's number, where clocks and memory differ and all have to decide alike."""
        if self.count == 1:
            return number
        told = torch.tensor([number], dtype=torch.float64, device=self.device)
        torch.distributed.broadcast(told, src=0)
        return told.item()

    def take_the_firsts(self, network: nn.Module) -> None:
        """Give the network the first process's parameters and buffers."""
        if self.count == 1:
            return
        for tensor in network.state_dict().values():
            told = tensor.to(self.device)
            torch.distributed.broadcast(told, src=0)
            tensor.copy_(told)


ALONE = Peers()


def are_started() -> bool:
    """Whether a launcher started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


@contextmanager
def joined(device: str) -> Iterator[Peers]:
    """This process among those that the launcher started, until the block ends; alone where there are no others."""
    if not are_started():
        yield ALONE
        return
    on_gpus = device.startswith("cuda")
    torch.distributed.init_process_group("nccl" if on_gpus else "gloo", timeout=PATIENCE)
    rank, count = torch.distributed.get_rank(), torch.distributed.get_world_size()
    if rank:  # the first ends all of it, once it has kept what is to be resumed from
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield Peers(rank, count, torch.device(device if on_gpus else "cpu"))
    finally:
        torch.distributed.destroy_process_group()
