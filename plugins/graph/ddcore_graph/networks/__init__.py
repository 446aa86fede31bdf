"""Networks on graphs."""

from ddcore_graph.networks.plans import APPNP, GAT, GCN, SGC, GraphSAGE, NodeMLP
from ddcore_graph.networks.pooled import GraphNet

PLANS = (GCN, SGC, GAT, GraphSAGE, APPNP, NodeMLP, GraphNet)
