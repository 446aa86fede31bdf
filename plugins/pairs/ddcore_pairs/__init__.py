"""Pairs: items of two halves, matched by contrastive gradients, scored together, and found one by the other."""

from ddcore import plugin as dd
from ddcore_pairs.contrast import Contrastive, PairMatch
from ddcore_pairs.labels import Similarities
from ddcore_pairs.retrieval import Recall
from ddcore_pairs.towers import PairScore, TwoTowers

__all__ = ["Contrastive", "PairMatch", "PairScore", "Recall", "Similarities", "TwoTowers"]

ddcore_api = ">=1.0,<2"


@dd.hookimpl
def ddcore_parts():
    return [Contrastive, PairMatch, PairScore, Recall, Similarities, TwoTowers]
