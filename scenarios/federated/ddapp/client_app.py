"""The clients: each distils its shard by FedDM, at the weights that it is sent."""

from dataclasses import replace

from ddcore_federated import feddm
from ddcore_federated.flower import distilling_client

from ddapp import IPC, NETWORK, SHARDS

recipe = feddm(ipc=IPC, iterations=10)
recipe = replace(recipe, network=replace(recipe.network, network=NETWORK))
app = distilling_client(SHARDS, recipe)
