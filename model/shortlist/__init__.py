"""Cheap decoders that shorten a list of candidates before the network is asked: additive, and pairwise.

`fitting` and `pair_fitting` make them; they compute with PyTorch, which reading and asking them does without.
"""

from model.shortlist.additive import AdditiveDecoder
from model.shortlist.fitted_pairs import FittedPairs
from model.shortlist.network_pairs import NetworkPairs

__all__ = ["AdditiveDecoder", "FittedPairs", "NetworkPairs"]
