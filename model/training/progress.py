"""What a training says while it runs, for a terminal, a job's answer or a log."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """Where the training of the network stands. Plain numbers only, so that it can be pickled and written as JSON.

    epoch, epochs     passes over the vectors done, and in all (under a time budget an estimate that settles)
    loss              mean of late of the sum over all steps' errors, normalised units
    training_mse      squared error a vector of late on the vectors trained on, in the vectors' own units
    validation_mse    the same on vectors set apart, as last measured; None before the first time
    vectors_per_s     of late
    eta_s             seconds left
    elapsed_s         seconds since this training began, those before an interruption included
    dead_codewords    of each step, how many of its codewords no vector chose in the last whole count
    codewords         K, of which those are dead
    """

    epoch: float
    epochs: float
    loss: float
    training_mse: float
    validation_mse: float | None
    vectors_per_s: float
    eta_s: float
    elapsed_s: float
    dead_codewords: tuple[int, ...]
    codewords: int

    @property
    def done(self) -> float:
        """The share of the training that is behind it, 0 to 1."""
        return self.epoch / self.epochs

    @property
    def warning(self) -> str | None:
        """A sentence for the user when more than a fifth of some step's codewords are dead."""
        bad = [m for m, dead in enumerate(self.dead_codewords) if dead > DEAD_SHARE * self.codewords]
        if not bad:
            return None
        worst = max(bad, key=lambda m: self.dead_codewords[m])
        others = "" if len(bad) == 1 else f", and more than a fifth in {len(bad)} steps,"
        return (
            f"{self.dead_codewords[worst]} of {self.codewords} codewords of step {worst + 1}{others} "
            "are chosen by no vector: more vectors, or fewer bytes, would use them better."
        )


DEAD_SHARE = 0.2
