"""The clients: each distils its shard by FedDM, at the weights that it is sent."""

from dataclasses import replace

from ddcore_federated import Around, feddm
from ddcore_federated.flower import distilling_client

from ddapp import IPC, NETWORK, SHARDS

recipe = replace(feddm(ipc=IPC, iterations=10), network=Around(network=NETWORK, radius=2.0))
app = distilling_client(SHARDS, recipe)
