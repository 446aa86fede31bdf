"""Strategies round others: one that lets some of the clients take part, and one that trains on after averaging."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

import torch
from flwr.app import ArrayRecord, ConfigRecord, Message, MessageType, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy

import ddcore
from ddcore_federated.flower.engine import Among
from ddcore_federated.flower.records import arrays_of, params_of, signer
from ddcore_federated.flower.strategy import Announcing, waited_for
from ddcore_federated.shards import agreed, seed_for
from ddcore_federated.shared import Shared
from ddcore_federated.trajectory import Dynafed

QUERY_TIMEOUT = 600.0
"""Seconds in which a node says which client it is, or has no part in the round."""

log = logging.getLogger("ddcore_federated")


class Wrapped(Announcing):
    """``inner``, as it is."""

    def __init__(self, inner: Strategy) -> None:
        self.inner = inner

    @property
    def refused(self) -> list[str]:
        """Why replies of the last round were refused, where ``inner`` says so."""
        return getattr(self.inner, "refused", [])

    def summary(self) -> None:
        self.inner.summary()

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        return self.inner.configure_train(server_round, arrays, config, grid)

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        return self.inner.aggregate_train(server_round, replies)

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        return self.inner.configure_evaluate(server_round, arrays, config, grid)

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        return self.inner.aggregate_evaluate(server_round, replies)


class Sampled(Wrapped):
    """``inner``, in whose rounds a ``fraction`` of the ``clients`` take part, at least one.

    Which do follows from ``seed`` and the round: nodes are asked first which client they are, in a few bytes, so it is
    the same clients wherever their apps run. ``inner`` shall ask all nodes that it sees, and wait for no more than take
    part. A private client's budget is for all rounds, also for those in which it has no part.
    """

    def __init__(self, inner: Strategy, fraction: float, clients: int, seed: int = 0) -> None:
        super().__init__(inner)
        if not 0 < fraction <= 1:
            raise ddcore.RecipeRefused(f"fraction = {fraction}: it must be above zero and at most one.")
        self.taking_part = max(1, round(fraction * clients))
        self.clients, self.seed = clients, seed

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        there = sorted(waited_for(grid, self.clients))
        replies = grid.send_and_receive(
            [Message(RecordDict(), node, MessageType.QUERY) for node in there], timeout=QUERY_TIMEOUT
        )
        nodes = {signer(reply): reply.metadata.src_node_id for reply in replies if signer(reply) >= 0}
        order = torch.randperm(len(nodes), generator=ddcore.Streams(self.seed)[f"part/{server_round}"])
        chosen = [nodes[sorted(nodes)[i]] for i in order[: self.taking_part].tolist()]
        return self.inner.configure_train(server_round, arrays, config, Among(grid, chosen))


class Refined(Wrapped):
    """``inner``, a strategy that averages weights, whose averages are trained on a set that the server distils once
    from the way of the first of them, as ``server`` says. Clients need not know of it.

    ``folder`` takes that way.
    """

    def __init__(
        self,
        inner: Strategy,
        server: Dynafed,
        card: ddcore.DataCard,
        network: ddcore.NetworkPlan,
        folder: Path,
        host: ddcore.Host,
        *,
        seed: int = 0,
        device: str = "cpu",
    ) -> None:
        super().__init__(inner)
        self.server, self.card, self.plan = server, card, network
        self.network, self._like = agreed(network, card)
        server.recipe(card, host)  # refuses what could not be distilled
        self.folder, self.host, self.seed, self.device = folder, host, seed, device
        self.trajectory: list[ddcore.Params] = []
        self.sets: Shared | None = None

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        if not self.trajectory:
            self.trajectory.append(params_of(arrays, self._like))
        return super().configure_train(server_round, arrays, config, grid)

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        arrays, metrics = super().aggregate_train(server_round, replies)
        if arrays is None:
            return None, metrics
        if self.sets is not None:
            rng = ddcore.Streams(seed_for(self.seed, f"server/{server_round}"))
            device = torch.device(self.device)
            weights = {name: value.to(device) for name, value in params_of(arrays, self._like).items()}
            tuned = self.server.next_weights(weights, [self.sets], self.network, self.card, rng, device)
            return arrays_of(tuned), metrics
        self.trajectory.append(params_of(arrays, self._like))
        if len(self.trajectory) > self.server.rounds:
            seed = seed_for(self.seed, "trajectory")
            self.sets = self.server.distilled(
                self.trajectory, self.plan, self.card, self.folder, self.host, seed=seed, device=self.device
            )
        return arrays, metrics
