"""Encoding in its plain form: pre-selection and beam search (QINCo2, section 3.2).

Every step turns F hypotheses into F · A candidates, evaluates the network for the most promising, and keeps the best B.
The paper evaluates it for all. But pre-selection estimates every candidate's distance to the vector, so candidates of
different hypotheses can be compared before any is evaluated, and most of them are beyond hope. This is the
specification; `model.kernels.folded` does the same several times faster.
"""

import torch
from torch import Tensor

from model.effort import kept_candidates, most_evaluated
from model.networks import QINCo2, Step


def encode(network: QINCo2, x: Tensor, candidates: int, beam: int, evaluated: int | None = None) -> Tensor:
    """Codes of normalised vectors x [n, D] → int64 [n, M], with the list first [n, 1 + M] when there is IVF.

    candidates  A, 0 to try every codeword
    beam        B
    evaluated   C, candidates of a vector that go through a step's network where pre-selection compares them; None: all
    """
    lists = nearest_list(network, x) if network.config.ivf_lists else None
    decoded = network.start(lists, len(x))[:, None, :]  # [n, F, D], F = 1 hypothesis each
    codes = x.new_zeros((len(x), 1, 0), dtype=torch.int64)  # [n, F, steps so far]
    for m in range(network.config.steps):
        step, is_last = network.steps[m], m == network.config.steps - 1
        kept = kept_candidates(network.config, m, candidates, beam)
        parents, tried = preselect(step, x, decoded, kept, most_evaluated(evaluated, beam))  # [n, C] each
        reconstructions = extend(step, _rows(decoded, parents), tried)  # [n, C, D]
        distances = (x[:, None, :] - reconstructions).square().sum(dim=-1)  # [n, C]
        width = 1 if is_last else min(beam, distances.shape[1])
        best = distances.topk(width, largest=False, sorted=True).indices  # [n, B], of C
        decoded = _rows(reconstructions, best)
        codes = torch.cat([_rows(codes, parents.gather(1, best)), tried.gather(1, best)[:, :, None]], dim=2)
    codes = codes[:, 0]
    return codes if lists is None else torch.cat([lists[:, None], codes], dim=1)


def nearest_list(network: QINCo2, x: Tensor) -> Tensor:
    """The list whose centroid is nearest to each normalised vector [n, D] → int64 [n]."""
    return torch.cdist(x, network.centroids).argmin(dim=1)


def preselect(step: Step, x: Tensor, decoded: Tensor, candidates: int, evaluated: int | None) -> tuple[Tensor, Tensor]:
    """The candidates worth evaluating of hypotheses decoded [n, F, D]: which hypothesis, which codeword, int64 [n, C].

    The A codewords nearest to each residual by pre-selection, and of a vector's F · A the `evaluated` nearest; all
    F · K where A is 0. In the order of the hypotheses.
    """
    n, F, _ = decoded.shape
    hypotheses = torch.arange(F, device=x.device)
    if candidates == 0:
        K = len(step.codebook)
        tried = torch.arange(K, device=x.device).expand(n, F, K)
        return hypotheses.repeat_interleave(K).expand(n, -1), tried.flatten(1)
    residuals = x[:, None, :] - decoded  # [n, F, D]
    distances = (residuals[:, :, None, :] - step.guesses(decoded)).square().sum(dim=-1)  # [n, F, K]
    estimates, tried = distances.topk(candidates, largest=False)  # [n, F, A]
    parents = hypotheses.repeat_interleave(candidates).expand(n, -1)
    return most_promising(estimates.flatten(1), parents, tried.flatten(1), evaluated)


def most_promising(estimates: Tensor, parents: Tensor, tried: Tensor, evaluated: int | None) -> tuple[Tensor, Tensor]:
    """Of candidates [n, F · A] the C of the smallest estimates, in the order they have: [n, C] each."""
    if evaluated is None or evaluated >= estimates.shape[1]:
        return parents, tried
    chosen = estimates.topk(evaluated, largest=False, sorted=False).indices.sort(dim=1).values
    return parents.gather(1, chosen), tried.gather(1, chosen)


def extend(step: Step, decoded: Tensor, tried: Tensor) -> Tensor:
    """Hypotheses continued by a codeword each: decoded [n, C, D], tried [n, C] → x̂ [n, C, D]."""
    return decoded + step.forward(step.codebook[tried], decoded)


def _rows(values: Tensor, places: Tensor) -> Tensor:
    """values [n, F, D] at places [n, C] → [n, C, D]."""
    return values.gather(1, places[:, :, None].expand(-1, -1, values.shape[2]))
