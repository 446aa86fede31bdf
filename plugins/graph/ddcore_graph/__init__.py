"""Graph condensation: the nodes of a large graph, distilled into a few on which graph networks learn as well.

``ddcore_graph.pyg`` holds what stands in a program of PyTorch Geometric; all else knows nothing of it.
"""

from ddcore import plugin as dd
from ddcore_graph.bench import graph
from ddcore_graph.carriers.chosen import ChosenNodes, CoarseNodes, NodeCentres
from ddcore_graph.carriers.free import FreeNodes
from ddcore_graph.carriers.graphs import SampledGraphs
from ddcore_graph.carriers.linked import PairedNodes, SampledNodes
from ddcore_graph.communities import Communities
from ddcore_graph.data import node_data
from ddcore_graph.fixed import FixedGraph
from ddcore_graph.kind import Node, WholeGraph
from ddcore_graph.networks import APPNP, GAT, GCN, PLANS, SGC, GraphNet, GraphSAGE, NodeMLP
from ddcore_graph.nodes import Nodes
from ddcore_graph.noise import Noise
from ddcore_graph.planetoid import Planetoid
from ddcore_graph.protocols import nodes
from ddcore_graph.pyg import Loaded, condense, condensed, real_data
from ddcore_graph.recipes import CONDENSE, TAKE, doscond_graphs
from ddcore_graph.released import released
from ddcore_graph.study import Condensation
from ddcore_graph.tangent import NodeTangent, tangent_accuracy
from ddcore_graph.wholes import TU, graph_data

__all__ = [
    "APPNP",
    "GAT",
    "GCN",
    "SGC",
    "TU",
    "ChosenNodes",
    "CoarseNodes",
    "Communities",
    "Condensation",
    "FixedGraph",
    "FreeNodes",
    "GraphNet",
    "GraphSAGE",
    "Loaded",
    "Node",
    "NodeCentres",
    "NodeMLP",
    "NodeTangent",
    "Nodes",
    "Noise",
    "PairedNodes",
    "Planetoid",
    "SampledGraphs",
    "SampledNodes",
    "WholeGraph",
    "condense",
    "condensed",
    "doscond_graphs",
    "graph_data",
    "node_data",
    "nodes",
    "real_data",
    "released",
    "tangent_accuracy",
]

ddcore_api = ">=1.0,<2"


@dd.hookimpl
def ddcore_parts():
    data = [Node, WholeGraph, Planetoid, Loaded, Communities, TU, Noise]
    carriers = [FreeNodes, PairedNodes, SampledNodes, ChosenNodes, NodeCentres, CoarseNodes, SampledGraphs]
    methods = [*CONDENSE, *TAKE, doscond_graphs]
    return [*data, *PLANS, NodeTangent, *carriers, *methods, nodes, Condensation, graph]
