"""Cheap decoders that shorten a list of candidates before the network is asked: additive, and pairwise."""

from model.shortlist.additive import AdditiveDecoder
from model.shortlist.fitted_pairs import FittedPairs
from model.shortlist.fitting import fit_additive
from model.shortlist.network_pairs import NetworkPairs, PairTable

__all__ = ["AdditiveDecoder", "FittedPairs", "NetworkPairs", "PairTable", "fit_additive"]
