"""Architecture search: spaces of architectures, how well proxies rank them, and search on a proxy."""

from ddcore import plugin as dd
from ddcore_nas.cells import CellNet, Cells
from ddcore_nas.grid import ConvNets
from ddcore_nas.proxy import Condensed, Proxy, Stored, Whole
from ddcore_nas.ranking import Ranking
from ddcore_nas.residual import ResidualNet, Residuals
from ddcore_nas.search import Search
from ddcore_nas.space import Candidate, Space
from ddcore_nas.strategies import Evolution, Halving, Strategy

__all__ = [
    "Candidate",
    "CellNet",
    "Cells",
    "Condensed",
    "ConvNets",
    "Evolution",
    "Halving",
    "Proxy",
    "Ranking",
    "ResidualNet",
    "Residuals",
    "Search",
    "Space",
    "Stored",
    "Strategy",
    "Whole",
]

ddcore_api = ">=1.0,<2"


@dd.hookimpl
def ddcore_parts():
    return [
        *(ConvNets, Residuals, ResidualNet, Cells, CellNet),
        *(Whole, Condensed, Stored),
        *(Ranking, Search, Halving, Evolution),
    ]
