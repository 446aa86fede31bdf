"""A Flower app whose clients send distilled digits.

What both sides agree on; another data set, split or network goes here.
"""

from ddcore_federated import Dirichlet, Shards

import ddcore

SHARDS = Shards(ddcore.plugin.Digits(), Dirichlet(alpha=0.5))
NETWORK = ddcore.ConvNet(width=16, depth=2)
IPC = 2
