"""Cheap decoders that shorten a list of candidates before the network is asked: additive, and pairwise.

`fitting` and `pair_fitting` make them, the latter with PyTorch.
"""

from model.shortlist.additive import AdditiveDecoder
from model.shortlist.fitted_pairs import FittedPairs
from model.shortlist.network_pairs import NetworkPairs

__all__ = ["AdditiveDecoder", "FittedPairs", "NetworkPairs"]
