"""The fast form of decoding and beam search: what depends on a codeword alone is folded into tables.

Three identities (verified against the plain form by a property test), with e = P_i c and W = [W_e | W_x]:

1. z_0 = T[k] + W_x x̂ with the table T[k] = e_k + W_e e_k + b: the input projection and half of the concatenation are
   read from K rows, and W_x x̂ is computed once a hypothesis instead of once a candidate.
2. Where the network projects, candidates are compared inside its D_e dimensions and never leave them:
   ‖r − c_k − P_o z‖² = ‖r − c_k‖² − 2⟨P_oᵀr − P_oᵀc_k, z⟩ + zᵀ(P_oᵀP_o)z, for r = x − x̂. Only the B that
   survive a step are projected back to D. For D = 384, D_e = 64 a candidate costs 12 k multiply-adds instead of 94 k.
3. ‖r − c_k‖² and the pre-selection's ‖r − G_k‖² for all k come from one matrix product with [G; C].

`folding.py` makes the tables of the first; here is what computes with them.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from model.effort import kept_candidates, most_evaluated
from model.kernels.folding import FoldedStep, base_of
from model.networks import QINCo2, Step


@dataclass(frozen=True)
class EncodingTables:
    """What encoding needs of a step beyond decoding.

    sources [2K, D], [G; base], or [K, D], base alone, without pre-selection · source_norms, their squared norms
    out_base base · P_o [K, D_e] · gram P_oᵀP_o [D_e, D_e], both None where the network does not project
    """

    sources: Tensor
    source_norms: Tensor
    out_base: Tensor | None
    gram: Tensor | None
    preselector: "EncodingTables | None" = None


def encoding_tables(step: Step) -> EncodingTables:
    """The tables that compare all codewords of a step with a residual."""
    preselection = step.preselection if step.has_network else None
    base = base_of(step)
    sources = base if preselection is None else torch.cat([preselection, base])
    out = step.out_projection if step.has_network else None
    return EncodingTables(
        sources=sources,
        source_norms=sources.square().sum(dim=1),
        out_base=None if out is None else base @ out,
        gram=None if out is None else out.T @ out,
        preselector=None if not step.has_network or not step.preselector else encoding_tables(step.preselector),
    )


def own_tensors(step: FoldedStep, tables: EncodingTables) -> list[Tensor]:
    """The tensors that folding made, beside the parameters it took over."""
    made = [step.table, tables.source_norms, tables.out_base, tables.gram]
    made += [tables.sources] if len(tables.sources) > len(step.base) else []  # else they are the codebook itself
    nested = step.preselector, tables.preselector
    inner = [] if nested[0] is None or nested[1] is None else own_tensors(nested[0], nested[1])
    return [tensor for tensor in made if tensor is not None] + inner


def decode_step(step: FoldedStep, symbols: Tensor, decoded: Tensor) -> Tensor:
    """What a step adds: symbols [n], decoded so far [n, D] → [n, D]."""
    base: Tensor = step.base[symbols]
    if step.table is None:
        return base
    assert step.mix is not None
    z = residual_blocks(step, step.table[symbols] + decoded @ step.mix.T)
    return base + (z if step.out is None else z @ step.out.T)


def decode(network: QINCo2, folded: list[FoldedStep], codes: Tensor, steps: int | None = None) -> Tensor:
    """codes [n, M] ([n, 1 + M] with IVF) → x̂ [n, D], normalised, of the first `steps` symbols."""
    lists, symbols = network.split(codes)
    decoded = network.start(lists, len(codes))
    for m, step in enumerate(folded[:steps]):
        decoded = decoded + decode_step(step, symbols[:, m], decoded)
    return decoded


def encode(
    network: QINCo2,
    folded: list[FoldedStep],
    tables: list[EncodingTables],
    x: Tensor,
    lists: Tensor | None,
    candidates: int,
    beam: int,
    evaluated: int | None = None,
) -> Tensor:
    """Codes of normalised vectors x [n, D], whose lists [n] are known, → int64 [n, M] ([n, 1 + M] with IVF).

    candidates, beam, evaluated  A, B, C as in `beam_search.encode`
    """
    n = len(x)
    decoded = network.start(lists, n)[:, None, :]  # [n, F, D]
    codes = x.new_zeros((n, 1, 0), dtype=torch.int64)
    for m, (step, table) in enumerate(zip(folded, tables, strict=True)):
        residuals = (x[:, None, :] - decoded).flatten(0, 1)  # [n·F, D]
        hypotheses = decoded.flatten(0, 1)  # [n·F, D]
        kept = kept_candidates(network.config, m, candidates, beam)
        tried, estimates, distances = _candidates(step, table, residuals, hypotheses, kept)  # [n·F, A]
        F, A = decoded.shape[1], tried.shape[1]
        parents = torch.arange(n * F, device=x.device).repeat_interleave(A).view(n, F * A)
        offers = Offers(parents, tried.reshape(n, F * A), distances.view(n, F * A))
        if kept:
            offers = offers.most_promising(estimates.view(n, F * A), most_evaluated(evaluated, beam))
        embedded: Tensor | None = None
        if step.table is not None:
            embedded, distances = _evaluate(step, table, residuals, hypotheses, offers)
            offers = replace(offers, distances=distances)
        width = 1 if m == len(folded) - 1 else min(beam, offers.distances.shape[1])
        best = offers.distances.topk(width, largest=False).indices  # [n, B], of C
        chosen, symbols = offers.parents.gather(1, best), offers.symbols.gather(1, best)
        added = step.base[symbols]  # [n, B, D]
        if embedded is not None:
            z = embedded.gather(1, best[:, :, None].expand(-1, -1, embedded.shape[2]))
            added = added + (z if step.out is None else z @ step.out.T)
        decoded = hypotheses[chosen] + added
        codes = torch.cat([codes.flatten(0, 1)[chosen], symbols[:, :, None]], dim=2)
    codes = codes[:, 0]
    return codes if lists is None else torch.cat([lists[:, None], codes], dim=1)


@dataclass(frozen=True)
class Offers:
    """Candidates of each vector: parents, symbols int64 [n, C], the hypothesis and the codeword · distances [n, C].

    Hypotheses are counted through the batch: vector v's are F · v … F · v + F - 1.
    """

    parents: Tensor
    symbols: Tensor
    distances: Tensor

    def most_promising(self, estimates: Tensor, evaluated: int | None) -> "Offers":
        """Those of the `evaluated` smallest estimates [n, C]; None: all."""
        if evaluated is None or evaluated >= estimates.shape[1]:
            return self
        chosen = estimates.topk(evaluated, largest=False, sorted=False).indices.sort(dim=1).values
        return Offers(*(part.gather(1, chosen) for part in (self.parents, self.symbols, self.distances)))


def _candidates(
    step: FoldedStep, tables: EncodingTables, residuals: Tensor, decoded: Tensor, kept: int
) -> tuple[Tensor, Tensor, Tensor]:
    """The A codewords to offer for residuals [h, D], their estimates by pre-selection and ‖r − c_k‖²: [h, A] each."""
    h, K = len(residuals), len(step.base)
    offsets = residuals.square().sum(dim=1, keepdim=True)  # ‖r‖², which hypotheses of one vector do not share
    distances = torch.addmm(tables.source_norms, residuals, tables.sources.T, alpha=-2) + offsets  # [h, K] or [h, 2K]
    everything, own = torch.arange(K, device=residuals.device).expand(h, K), distances[:, -K:]
    if kept == 0:
        return everything, own, own
    guessed = distances[:, :K]
    if step.preselector is not None and tables.preselector is not None:
        shallow, of_shallow = step.preselector, tables.preselector
        first = _candidates(shallow, of_shallow, residuals, decoded, kept=0)[2]
        parents = torch.arange(h, device=residuals.device)[:, None].expand(h, K)
        guessed = _evaluate(shallow, of_shallow, residuals, decoded, Offers(parents, everything, first))[1]
    estimates, tried = guessed.topk(kept, largest=False, sorted=False)
    return tried, estimates, own.gather(1, tried)


def _evaluate(
    step: FoldedStep, tables: EncodingTables, residuals: Tensor, decoded: Tensor, offers: Offers
) -> tuple[Tensor, Tensor]:
    """Run the network for candidates: z_L [n, C, D_e] and the distances ‖r − f_k‖² [n, C].

    The offers' own distances are ‖r − c_k‖².
    """
    assert step.table is not None and step.mix is not None
    parents, symbols = offers.parents.flatten(), offers.symbols.flatten()
    z = step.table[symbols] + (decoded @ step.mix.T)[parents]
    z = residual_blocks(step, z)  # [n·C, D_e]
    if step.out is None:
        direction = residuals[parents] - step.base[symbols]
        length = z
    else:
        assert tables.out_base is not None and tables.gram is not None
        direction = (residuals @ step.out)[parents] - tables.out_base[symbols]
        length = z @ tables.gram
    change = (z * (length - 2 * direction)).sum(dim=1)
    shape = offers.symbols.shape
    return z.view(*shape, z.shape[1]), offers.distances + change.view(shape)


def residual_blocks(step: FoldedStep, z: Tensor) -> Tensor:
    """The residual blocks: z_0 [n, D_e] → z_L [n, D_e]."""
    for up, down in zip(step.ups, step.downs, strict=True):
        z = torch.addmm(z, torch.relu(z @ up.T), down.T)
    return z
