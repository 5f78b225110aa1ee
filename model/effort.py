"""How many candidates a beam search looks at, step by step (QINCo2, section 3.2)."""

from model.config import CodecConfig


def worth_evaluating(candidates: int, beam: int) -> int:
    """C, how many of a vector's B · A candidates are worth a step's network: the error grows by about half a percent.

    Measured with `python -m benchmarks.pruning` (docs/performance.md). With one hypothesis, A alone decides.
    """
    return candidates if beam == 1 else min(3 * beam + 2 * candidates, -(-3 * beam * candidates // 4))


def most_evaluated(evaluated: int | None, beam: int) -> int | None:
    """C, raised to what fills the beam; None: all."""
    return None if evaluated is None else max(evaluated, beam)


def kept_candidates(config: CodecConfig, m: int, candidates: int, beam: int) -> int:
    """A at step m, or 0 where all codewords are tried; a single hypothesis after a list still has to fill the beam."""
    has_network = m > 0 or config.ivf_lists > 0
    if candidates == 0 or not has_network:
        return 0
    return max(candidates, beam) if m == 0 else candidates
