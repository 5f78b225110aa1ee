"""Beam search in four Triton kernels a step: the same search as `folded.encode`, its plain form.

Nothing is copied back between them, so that all steps of a block wait on the device together. Distances and x̂ are
float32, the factors of matrix products half precision: now and then a candidate wins that is worse by a rounding error,
which does not add up.
"""

import torch
import triton
from torch import Tensor

from model.effort import kept_candidates
from model.kernels.fused_decoding import launch, rows_a_program
from model.kernels.fused_encoding_kernels import choose_best, evaluate_rows, extend_rows, preselect_rows
from model.kernels.fused_packed import FusedNetwork
from model.networks import QINCo2

MOST_CHOSEN = 64
"""A and B up to which the smallest are taken out one by one; beyond, PyTorch's `topk` does better."""

MOST_COMPARED = 4096
"""Candidates of a vector among which a program chooses."""


def fits(fused: FusedNetwork, network: QINCo2, candidates: int, beam: int) -> bool:
    """Whether the kernels can do a search of these sizes."""
    K, steps = network.config.codewords, range(network.config.steps)
    tried = [kept_candidates(network.config, m, candidates, beam) for m in steps]
    if not fused.has_guesses or max(beam, *tried) > MOST_CHOSEN or fused.norms.shape[1] > 1024:
        return False
    return all(beam * (kept or K) <= MOST_COMPARED for kept, m in zip(tried, steps, strict=True) if m >= fused.first)


def encode(fused: FusedNetwork, network: QINCo2, x: Tensor, lists: Tensor | None, candidates: int, beam: int) -> Tensor:
    """Codes of normalised vectors x [n, dim], whose lists [n] are known, → int64 [n, M] ([n, 1 + M] with IVF)."""
    n, M = len(x), network.config.steps
    D, x = fused.base.shape[2], x.contiguous()
    decoded = torch.nn.functional.pad(network.start(lists, n), (0, D - x.shape[1])).contiguous()  # [n · F, D]
    codes = x.new_zeros((n, M), dtype=torch.int32)  # [n · F, M]
    for m in range(M):
        F = len(decoded) // max(n, 1)
        width = 1 if m == M - 1 else beam
        decoded, codes = _step(
            fused, x, decoded, codes, m, F, kept_candidates(network.config, m, candidates, beam), width
        )
    symbols = codes.long()
    return symbols if lists is None else torch.cat([lists[:, None], symbols], dim=1)


def _step(
    fused: FusedNetwork, x: Tensor, decoded: Tensor, codes: Tensor, m: int, F: int, kept: int, width: int
) -> tuple[Tensor, Tensor]:
    """From F hypotheses a vector, decoded [n · F, D] and codes [n · F, M], to at most `width`."""
    n, h, K = len(x), len(decoded), fused.base.shape[1]
    has_network = m >= fused.first
    A = (kept or K) if has_network else min(width, K)
    width = min(width, F * A)
    shared = _preselect(fused, x, decoded, m, F, 0 if has_network and not kept else A)
    if has_network:
        z, distances = _evaluate(fused, x, decoded, shared, m, F, A)
    else:
        z, distances = shared.mixed, shared.guessed
    M = codes.shape[1]
    places = torch.empty((n, width), dtype=torch.int32, device=x.device)
    following = torch.empty((n * width, M), dtype=torch.int32, device=x.device)
    if n:
        choose_best[(n,)](
            places, following, distances, shared.tried, codes, m, F, A, width, M,
            COMPARED=triton.next_power_of_2(F * A), COLUMNS=triton.next_power_of_2(M),
            TRIES_ALL=has_network and not kept, num_warps=4,
        )  # fmt: skip
    if m == M - 1:
        return decoded, following
    D, E = decoded.shape[1], fused.tables.shape[2]
    extended = torch.empty((n * width, D), dtype=torch.float32, device=x.device)
    if h:
        rows = rows_a_program(n * width, 64)
        extend_rows[(triton.cdiv(n * width, rows),)](
            extended, decoded, places, following, z, fused.base, fused.outs,
            m, m - fused.first, n * width, width, F, A, M, K,
            HAS_NETWORK=has_network, PROJECTS=fused.projects, D=D, E=E, D_BLOCK=fused.d_block, ROWS=rows,
        )  # fmt: skip
    return extended, following


class _Shared:
    """What the candidates of a hypothesis share, of h hypotheses: see the kernels."""

    def __init__(self, fused: FusedNetwork, h: int, tried: int) -> None:
        E, H, device = fused.tables.shape[2], fused.ups.shape[2], fused.base.device

        def room(*shape: int) -> Tensor:
            return torch.empty(shape, dtype=torch.float32, device=device)

        self.tried = torch.empty((h, tried), dtype=torch.int32, device=device)
        self.guessed = room(h, tried)
        self.mixed = room(h, E)
        self.mixed_up = room(h, H if fused.blocks else 0)
        self.across = room(h, E if fused.projects else 0)


def _preselect(fused: FusedNetwork, x: Tensor, decoded: Tensor, m: int, F: int, tried: int) -> _Shared:
    """`tried` codewords of each hypothesis, 0 where all go through the network."""
    h, K, has_network = len(decoded), fused.base.shape[1], m >= fused.first
    shared = _Shared(fused, h, tried)
    rows = rows_a_program(h, 32)
    if h:
        launch(
            preselect_rows, triton.cdiv(h, rows),
            shared.tried, shared.guessed, shared.mixed, shared.mixed_up, shared.across, x, decoded,
            fused.guesses, fused.norms, fused.mixes, fused.up_mixes, fused.outs,
            m, m - fused.first, h, F, x.shape[1], K,
            TRIED=tried, HAS_NETWORK=has_network, PROJECTS=fused.projects, HAS_BLOCKS=fused.blocks > 0,
            D=decoded.shape[1], E=fused.tables.shape[2], H=fused.ups.shape[2], K=fused.norms.shape[1],
            D_BLOCK=fused.d_block, H_BLOCK=fused.h_block, ROWS=rows,
        )  # fmt: skip
    return shared


def _evaluate(
    fused: FusedNetwork, x: Tensor, decoded: Tensor, shared: _Shared, m: int, F: int, A: int
) -> tuple[Tensor, Tensor]:
    """z_L [h · A, E] and ‖r − f‖² [h · A] of the candidates, all codewords where none were chosen."""
    count, E = len(decoded) * A, fused.tables.shape[2]
    z = torch.empty((count, E), dtype=torch.float32, device=x.device)
    distances = torch.empty(count, dtype=torch.float32, device=x.device)
    rows = rows_a_program(count, 128 if E <= 128 else 64)
    if count:
        launch(
            evaluate_rows, triton.cdiv(count, rows),
            z, distances, x, decoded, shared.tried, shared.mixed, shared.mixed_up, shared.across,
            fused.base, fused.tables, fused.up_tables, fused.ups, fused.downs, fused.grams, fused.base_across,
            m, m - fused.first, count, F, A, fused.base.shape[1], x.shape[1],
            TRIES_ALL=not shared.tried.shape[1], PROJECTS=fused.projects, D=decoded.shape[1], E=E, H=fused.ups.shape[2],
            L=fused.blocks, D_BLOCK=fused.d_block, H_BLOCK=fused.h_block, ROWS=rows,
            num_warps=8 if rows >= 64 else 4,
        )  # fmt: skip
    return z, distances
