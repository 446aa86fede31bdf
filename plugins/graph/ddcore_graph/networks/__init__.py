"""Networks on graphs."""

from ddcore_graph.networks.plans import APPNP, GAT, GCN, SGC, GraphSAGE, NodeMLP

PLANS = (GCN, SGC, GAT, GraphSAGE, APPNP, NodeMLP)
