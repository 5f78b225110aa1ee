"""The four Triton kernels of one step of beam search; `fused_encoding` launches them.

preselect  ‖r − G_k‖² of all codewords by a matrix product, the A smallest; and what a hypothesis' candidates share:
           W_x x̂, U_1 W_x x̂, P_oᵀr
evaluate   z_L and ‖r − f‖² of each candidate; the first hidden layer is a sum of two table rows
choose     the B best of a vector's candidates, and their codes
extend     x̂ of those
"""

import triton
import triton.language as tl

from model.kernels.fused_decoding import residual_block


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
