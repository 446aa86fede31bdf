"""How networks are trained on a condensed graph, by name."""

from ddcore import plugin as dd
from ddcore_graph import papers
from ddcore_graph.kind import WHOLE
from ddcore_graph.networks import GCN


@dd.preset(papers.JIN)
def nodes() -> dd.Protocol:
    """300 steps of Adam on all nodes at once, weight decay 5e-4, at the rate of three that is best on the nodes to
    choose on; a GCN of 256 channels with dropout 0.5. Published: 600 steps at 0.01."""
    return dd.Protocol(
        steps=300,
        batch=WHOLE,
        optimiser=dd.Adam(weight_decay=5e-4),
        lr=(0.003, 0.01, 0.001),
        schedule=dd.Constant(),
        augment=None,
        networks=(GCN(),),
    )
