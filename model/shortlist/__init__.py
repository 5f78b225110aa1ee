"""Cheap decoders that shorten a list of candidates before the network is asked: additive, and pairwise."""

from model.shortlist.additive import AdditiveDecoder
from model.shortlist.fitted_pairs import FittedPairs
from model.shortlist.fitting import fit_additive
from model.shortlist.network_pairs import NetworkPairs, PairTable
from model.shortlist.pair_fitting import fit_pairs, quantised_lists

__all__ = [
    "AdditiveDecoder",
    "FittedPairs",
    "NetworkPairs",
    "PairTable",
    "fit_additive",
    "fit_pairs",
    "quantised_lists",
]
