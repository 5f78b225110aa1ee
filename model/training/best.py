"""The weights of least error on vectors set apart, those that training began with among them.

So no training ends worse than the residual quantiser that it began from, and one that learns its vectors by heart
keeps what it knew before that.
"""

from typing import Any

from torch import nn


class Best:
    """Keeps a copy of a network's weights as long as none better is offered.

    mse    squared error a vector; None before the first offer
    at     batches that had been trained on then
    """

    def __init__(self) -> None:
        self.mse: float | None = None
        self.at = 0
        self._weights: dict[str, Any] = {}

    def offer(self, network: nn.Module, mse: float, at: int) -> None:
        """Keep a copy of the network as it is, if its error is less than that of the copy at hand."""
        if self.mse is None or mse < self.mse:
            self.mse, self.at = mse, at
            self._weights = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}

    def put_back(self, network: nn.Module) -> None:
        """Give the network the weights of the copy."""
        network.load_state_dict(self._weights)

    def state(self) -> dict[str, Any]:
        return {"mse": self.mse, "at": self.at, "weights": self._weights}

    def restore(self, state: dict[str, Any]) -> None:
        self.mse, self.at, self._weights = state["mse"], state["at"], state["weights"]
