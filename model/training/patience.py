"""When a training has stopped learning: error on vectors set apart has not fallen for long.

What training began with does not count. Its first steps, at rates that climb, lose some of what the residual quantiser
knew, and training that wins it back is worth going on with. Nor does a pause count that is short beside the training:
at a high learning rate error hardly falls, and does so once the rate does.
"""

from typing import Any

VALIDATIONS, SHARE = 6, 0.2
"""Validations in a row without a new least error that end a training, and the share of it that they have to be."""


class Patience:
    """Hears the error at each validation.

    has_run_out  whether training should end here
    """

    def __init__(self) -> None:
        self.has_run_out = False
        self._least: float | None = None
        self._waited = 0

    def hear(self, mse: float, share: float) -> None:
        """Remember one validation, by the squared error of a vector; they are `share` of the training apart."""
        if self._least is None or mse < self._least:
            self._least, self._waited = mse, 0
        else:
            self._waited += 1
        self.has_run_out = self._waited >= VALIDATIONS and self._waited * share >= SHARE

    def state(self) -> dict[str, Any]:
        return {"has_run_out": self.has_run_out, "least": self._least, "waited": self._waited}

    def restore(self, state: dict[str, Any]) -> None:
        self.has_run_out, self._least, self._waited = state["has_run_out"], state["least"], state["waited"]
