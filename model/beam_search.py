"""Encoding in its plain form: pre-selection and beam search (QINCo2, section 3.2).

Every step turns F hypotheses into F · A candidates, evaluates the network for each, and keeps the best B. This is the
specification; `model.kernels.folded` does the same several times faster.
"""

import torch
from torch import Tensor

from model.networks import QINCo2, Step


def encode(network: QINCo2, x: Tensor, candidates: int, beam: int) -> Tensor:
    """Codes of normalised vectors x [n, D] → int64 [n, M], with the list first [n, 1 + M] when there is IVF.

    candidates  A, 0 to try every codeword
    beam        B
    """
    lists = nearest_list(network, x) if network.config.ivf_lists else None
    decoded = network.start(lists, len(x))[:, None, :]  # [n, F, D], F = 1 hypothesis each
    codes = x.new_zeros((len(x), 1, 0), dtype=torch.int64)  # [n, F, steps so far]
    for m in range(network.config.steps):
        step, is_last = network.steps[m], m == network.config.steps - 1
        tried = preselect(step, x, decoded, kept_candidates(network, m, candidates, beam))  # [n, F, A]
        reconstructions = extend(step, decoded, tried)  # [n, F, A, D]
        distances = (x[:, None, None, :] - reconstructions).square().sum(dim=-1)  # [n, F, A]
        width = 1 if is_last else min(beam, distances.shape[1] * distances.shape[2])
        best = distances.flatten(1).topk(width, largest=False, sorted=True).indices  # [n, B], flat over F · A
        parents = best // tried.shape[2]
        symbols = tried.flatten(1).gather(1, best)
        decoded = reconstructions.flatten(1, 2).gather(1, best[:, :, None].expand(-1, -1, x.shape[1]))
        codes = torch.cat([codes.gather(1, parents[:, :, None].expand(-1, -1, m)), symbols[:, :, None]], dim=2)
    codes = codes[:, 0]
    return codes if lists is None else torch.cat([lists[:, None], codes], dim=1)


def kept_candidates(network: QINCo2, m: int, candidates: int, beam: int) -> int:
    """A at step m, or 0 where all codewords are tried; a single hypothesis after a list still has to fill the beam."""
    if candidates == 0 or not network.steps[m].has_network:
        return 0
    return max(candidates, beam) if m == 0 else candidates


def nearest_list(network: QINCo2, x: Tensor) -> Tensor:
    """The list whose centroid is nearest to each normalised vector [n, D] → int64 [n]."""
    return torch.cdist(x, network.centroids).argmin(dim=1)


def preselect(step: Step, x: Tensor, decoded: Tensor, candidates: int) -> Tensor:
    """The codewords worth evaluating for each hypothesis: decoded [n, F, D] → int64 [n, F, A], all K when A is 0."""
    n, hypotheses, _ = decoded.shape
    if candidates == 0:
        return torch.arange(len(step.codebook), device=x.device).expand(n, hypotheses, -1)
    residuals = x[:, None, :] - decoded  # [n, F, D]
    distances = (residuals[:, :, None, :] - step.guesses(decoded)).square().sum(dim=-1)  # [n, F, K]
    return distances.topk(candidates, largest=False).indices


def extend(step: Step, decoded: Tensor, tried: Tensor) -> Tensor:
    """Every hypothesis continued by every codeword tried: [n, F, D], [n, F, A] → x̂ [n, F, A, D]."""
    decoded = decoded[:, :, None, :].expand(-1, -1, tried.shape[2], -1)
    return decoded + step.forward(step.codebook[tried], decoded)
