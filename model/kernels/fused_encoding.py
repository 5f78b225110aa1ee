"""Beam search in four Triton kernels a step: the same search as `folded.encode`, its plain form.

    preselect  ‖r − G_k‖² of all codewords by a matrix product, the A smallest; and what a hypothesis' candidates share:
               W_x x̂, U_1 W_x x̂, P_oᵀr
    evaluate   z_L and ‖r − f‖² of each candidate; the first hidden layer is a sum of two table rows
    choose     the B best of a vector's candidates, and their codes
    extend     x̂ of those

Nothing is copied back between them, so that all steps of a block wait on the device together. Distances and x̂ are
float32, the factors of matrix products half precision: now and then a candidate wins that is worse by a rounding error,
which does not add up.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from model.beam_search import kept_candidates
from model.kernels.fused_decoding import launch, residual_block, rows_a_program
from model.kernels.fused_packed import FusedNetwork
from model.networks import QINCo2

MOST_CHOSEN = 64
"""A and B up to which the smallest are taken out one by one; beyond, PyTorch's `topk` does better."""

MOST_COMPARED = 4096
"""Candidates of a vector among which a program chooses."""


def fits(fused: FusedNetwork, network: QINCo2, candidates: int, beam: int) -> bool:
    """Whether the kernels can do a search of these sizes."""
    K, steps = network.config.codewords, range(network.config.steps)
    tried = [kept_candidates(network, m, candidates, beam) for m in steps]
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
        decoded, codes = _step(fused, x, decoded, codes, m, F, kept_candidates(network, m, candidates, beam), width)
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


@triton.jit(do_not_specialize=["m", "s", "h", "F"])
def preselect_rows(
    tried,  # int32 [h, TRIED], written
    guessed,  # float32 [h, TRIED], written: their ‖r − G_k‖²
    mixed,  # float32 [h, E], written: W_x x̂
    mixed_up,  # float32 [h, H], written: U_1 W_x x̂
    across,  # float32 [h, E], written: P_oᵀr
    x,  # float32 [n, dim]
    decoded,  # float32 [h, D]
    guesses,
    norms,
    mixes,
    up_mixes,
    outs,
    m,
    s,
    h,
    F,
    dim,
    codewords,
    TRIED: tl.constexpr,
    HAS_NETWORK: tl.constexpr,
    PROJECTS: tl.constexpr,
    HAS_BLOCKS: tl.constexpr,
    D: tl.constexpr,
    E: tl.constexpr,
    H: tl.constexpr,
    K: tl.constexpr,
    D_BLOCK: tl.constexpr,
    H_BLOCK: tl.constexpr,
    ROWS: tl.constexpr,
):
    """ROWS hypotheses of a step; names as in `FusedNetwork`."""
    element = guesses.dtype.element_ty
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    alive = row < h
    vector = row // F
    d, e, k = tl.arange(0, D_BLOCK), tl.arange(0, E), tl.arange(0, K)
    if TRIED > 0:
        products = tl.zeros([ROWS, K], tl.float32)
        lengths = tl.zeros([ROWS], tl.float32)
        for begin in range(0, D, D_BLOCK):
            r = residual(x, decoded, vector, row, alive, begin + d, dim, D)
            lengths += tl.sum(r * r, axis=1)
            guess = tl.load(guesses + (m * K + k)[None, :] * D + (begin + d)[:, None])  # [D_BLOCK, K]
            products = tl.dot(r.to(element), guess, products, input_precision="ieee")
        distances = lengths[:, None] + tl.load(norms + m * K + k)[None, :] - 2 * products
        for a in range(TRIED):
            least = tl.min(distances, axis=1)
            nearest = tl.minimum(tl.argmin(distances, axis=1), codewords - 1)  # within bounds, whatever they are
            tl.store(tried + row * TRIED + a, nearest.to(tl.int32), mask=alive)
            tl.store(guessed + row * TRIED + a, least, mask=alive)
            distances = tl.where(k[None, :] == nearest[:, None], float("inf"), distances)
    if HAS_NETWORK:
        sums = tl.zeros([ROWS, E], tl.float32)
        for begin in range(0, D, D_BLOCK):
            part = tl.load(decoded + row[:, None] * D + (begin + d)[None, :], mask=alive[:, None], other=0.0)
            mix = tl.load(mixes + (s * E + e)[None, :] * D + (begin + d)[:, None])
            sums = tl.dot(part.to(element), mix, sums, input_precision="ieee")
        tl.store(mixed + row[:, None] * E + e[None, :], sums, mask=alive[:, None])
        if HAS_BLOCKS:
            hidden = tl.arange(0, H_BLOCK)
            for first in range(0, H, H_BLOCK):
                wide = tl.zeros([ROWS, H_BLOCK], tl.float32)
                for begin in range(0, D, D_BLOCK):
                    part = tl.load(decoded + row[:, None] * D + (begin + d)[None, :], mask=alive[:, None], other=0.0)
                    mix = tl.load(up_mixes + (s * H + first + hidden)[None, :] * D + (begin + d)[:, None])
                    wide = tl.dot(part.to(element), mix, wide, input_precision="ieee")
                tl.store(mixed_up + row[:, None] * H + (first + hidden)[None, :], wide, mask=alive[:, None])
        if PROJECTS:
            sums = tl.zeros([ROWS, E], tl.float32)
            for begin in range(0, D, D_BLOCK):
                r = residual(x, decoded, vector, row, alive, begin + d, dim, D)
                out = tl.load(outs + (s * D + begin + d)[:, None] * E + e[None, :])  # [D_BLOCK, E], P_o
                sums = tl.dot(r.to(element), out, sums, input_precision="ieee")
            tl.store(across + row[:, None] * E + e[None, :], sums, mask=alive[:, None])


@triton.jit
def residual(x, decoded, vector, row, alive, d, dim, D: tl.constexpr):
    """Numbers d of r = x − x̂ for some hypotheses, zero beyond dim."""
    whole = tl.load(x + vector[:, None] * dim + d[None, :], mask=alive[:, None] & (d < dim)[None, :], other=0.0)
    return whole - tl.load(decoded + row[:, None] * D + d[None, :], mask=alive[:, None], other=0.0)


@triton.jit(do_not_specialize=["m", "s", "count", "F", "A"])
def evaluate_rows(
    z_out,  # float32 [count, E], written
    distances,  # float32 [count], written
    x,  # float32 [n, dim]
    decoded,  # float32 [h, D]
    tried,  # int32 [h, A]
    mixed,
    mixed_up,
    across,
    base,
    tables,
    up_tables,
    ups,
    downs,
    grams,
    base_across,
    m,
    s,
    count,
    F,
    A,
    K,
    dim,
    TRIES_ALL: tl.constexpr,
    PROJECTS: tl.constexpr,
    D: tl.constexpr,
    E: tl.constexpr,
    H: tl.constexpr,
    L: tl.constexpr,
    D_BLOCK: tl.constexpr,
    H_BLOCK: tl.constexpr,
    ROWS: tl.constexpr,
):
    """ROWS candidates of a step through its network; names as in `FusedNetwork`."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    alive = row < count
    one = tl.where(alive, row // A, 0)  # the hypothesis
    vector = one // F
    symbol = row % A if TRIES_ALL else tl.load(tried + row, mask=alive, other=0)
    d, e, h = tl.arange(0, D_BLOCK), tl.arange(0, E), tl.arange(0, H_BLOCK)
    z = tl.load(tables + (s * K + symbol)[:, None] * E + e[None, :])
    z += tl.load(mixed + one[:, None] * E + e[None, :])
    if L > 0:
        element = downs.dtype.element_ty
        layer = s * L * E * H
        for begin in range(0, H, H_BLOCK):
            hidden = tl.load(up_tables + (s * K + symbol)[:, None] * H + (begin + h)[None, :])
            hidden += tl.load(mixed_up + one[:, None] * H + (begin + h)[None, :])
            down = tl.load(downs + layer + e[None, :] * H + (begin + h)[:, None])  # [H_BLOCK, E], Vᵀ
            z = tl.dot(tl.maximum(hidden, 0.0).to(element), down, z, input_precision="ieee")
        for block in range(1, L):
            z = residual_block(z, ups + layer + block * E * H, downs + layer + block * E * H, E, H, H_BLOCK)
    tl.store(z_out + row[:, None] * E + e[None, :], z, mask=alive[:, None])
    total = tl.zeros([ROWS], tl.float32)
    for begin in range(0, D, D_BLOCK):
        left = residual(x, decoded, vector, one, alive, begin + d, dim, D)
        left -= tl.load(base + (m * K + symbol)[:, None] * D + (begin + d)[None, :])
        if not PROJECTS:
            left -= z
        total += tl.sum(left * left, axis=1)
    if PROJECTS:
        gram = tl.load(grams + (s * E + e)[:, None] * E + e[None, :])  # symmetric
        length = tl.dot(z.to(grams.dtype.element_ty), gram, input_precision="ieee")
        direction = tl.load(across + one[:, None] * E + e[None, :])
        direction -= tl.load(base_across + (s * K + symbol)[:, None] * E + e[None, :])
        total += tl.sum(z * (length - 2 * direction), axis=1)
    tl.store(distances + row, total, mask=alive)


@triton.jit(do_not_specialize=["m", "F", "A", "width"])
def choose_best(
    places,  # int32 [n, width], written: which of a vector's candidates
    following,  # int32 [n · width, M], written: their codes
    distances,  # float32 [n · F · A]
    tried,  # int32 [n · F · A]
    codes,  # int32 [n · F, M]
    m,
    F,
    A,
    width,
    M,
    COMPARED: tl.constexpr,
    COLUMNS: tl.constexpr,
    TRIES_ALL: tl.constexpr,
):
    """The `width` smallest distances of one vector, in order."""
    vector = tl.program_id(0)
    lanes, column = tl.arange(0, COMPARED), tl.arange(0, COLUMNS)
    first = vector * F * A
    left = tl.load(distances + first + lanes, mask=lanes < F * A, other=float("inf"))
    taken = lanes >= F * A
    for b in range(width):
        left = tl.where(taken, float("inf"), left)
        place = tl.argmin(left, axis=0)
        is_taken = tl.max(tl.where(lanes == place, taken.to(tl.int32), 0), axis=0)
        # What is left may be infinite, or no number: then the first that is not taken, so that a place is in bounds.
        place = tl.where(is_taken > 0, tl.argmin(taken.to(tl.int32), axis=0), place)
        symbol = place % A if TRIES_ALL else tl.load(tried + first + place)
        tl.store(places + vector * width + b, place.to(tl.int32))
        own = tl.load(codes + (vector * F + place // A) * M + column, mask=column < M, other=0)
        own = tl.where(column == m, symbol.to(tl.int32), own)
        tl.store(following + (vector * width + b) * M + column, own, mask=column < M)
        taken = taken | (lanes == place)


@triton.jit(do_not_specialize=["m", "s", "count", "width", "F", "A"])
def extend_rows(
    extended,  # float32 [count, D], written
    decoded,  # float32 [n · F, D]
    places,  # int32 [count]
    codes,  # int32 [count, M], whose column m says which codeword was chosen
    z,  # float32 [n · F · A, E]
    base,
    outs,
    m,
    s,
    count,
    width,
    F,
    A,
    M,
    K,
    HAS_NETWORK: tl.constexpr,
    PROJECTS: tl.constexpr,
    D: tl.constexpr,
    E: tl.constexpr,
    D_BLOCK: tl.constexpr,
    ROWS: tl.constexpr,
):
    """x̂ of ROWS chosen candidates; names as in `FusedNetwork`."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    alive = row < count
    d, e = tl.arange(0, D_BLOCK), tl.arange(0, E)
    vector = tl.where(alive, row // width, 0)
    place = tl.load(places + row, mask=alive, other=0)
    symbol = tl.load(codes + row * M + m, mask=alive, other=0)
    parent = vector * F + place // A
    if HAS_NETWORK:
        own = tl.load(z + (vector * F * A + place)[:, None] * E + e[None, :])  # [ROWS, E]
    for begin in range(0, D, D_BLOCK):
        sums = tl.load(decoded + parent[:, None] * D + (begin + d)[None, :])
        sums += tl.load(base + (m * K + symbol)[:, None] * D + (begin + d)[None, :])
        if HAS_NETWORK:
            if PROJECTS:
                across = tl.load(outs + (s * D + begin + d)[None, :] * E + e[:, None])  # [E, D_BLOCK], P_oᵀ
                sums = tl.dot(own.to(outs.dtype.element_ty), across, sums, input_precision="ieee")
            else:
                sums += own
        tl.store(extended + row[:, None] * D + (begin + d)[None, :], sums, mask=alive[:, None])
