"""`--device`: where a command computes."""

import os

from service.cli.failure import CommandFailed


def device_called(name: str) -> str:
    """The device, if this machine has it; `cuda` is a GPU of its own for each process that torchrun started."""
    if name == "cpu":
        return name
    import torch

    if name == "cuda" and (own := os.environ.get("LOCAL_RANK")):
        name = f"cuda:{own}"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise CommandFailed(f"--device {name}: {str(error).splitlines()[0]}") from error
    return name
