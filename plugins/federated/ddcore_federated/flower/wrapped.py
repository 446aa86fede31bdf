"""Strategies round others: one that lets some of the clients take part, and one that trains on after averaging."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import torch
from flwr.app import ArrayRecord, ConfigRecord, Message, MessageType, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy

from ddcore import plugin as dd
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
    def refused(self) -> list[str] | None:
        """Why replies of the last round were refused, where ``inner`` says so."""
        return getattr(self.inner, "refused", None)

    @property
    def warned(self) -> list[str] | None:
        """What the sets of the last round warn of, where ``inner`` says so."""
        return getattr(self.inner, "warned", None)

    @property
    def failed(self) -> str | None:
        """Why the last round left the weights as they were, where ``inner`` says so."""
        return getattr(self.inner, "failed", None)

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
    the same clients wherever their apps run. ``inner`` shall ask all nodes that it sees, and wait for one of them. A
    private client's budget is for all rounds, also for those in which it has no part.
    """

    def __init__(self, inner: Strategy, fraction: float, clients: int, seed: int = 0) -> None:
        super().__init__(inner)
        if not 0 < fraction <= 1:
            raise dd.RecipeRefused(f"fraction = {fraction}: it must be above zero and at most one.")
        self.taking_part = max(1, round(fraction * clients))
        if (waits := _waits_for(inner)) > self.taking_part:
            raise dd.RecipeRefused(
                f"The strategy waits for {waits} nodes, and would see the {self.taking_part} that take part: let it"
                " wait for 1 (clients=1, or min_train_nodes and min_available_nodes in Flower's own)."
            )
        self.clients, self.seed = clients, seed

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        there = sorted(waited_for(grid, self.clients))
        asked = [Message(RecordDict(), node, MessageType.QUERY) for node in there]
        replies = list(grid.send_and_receive(asked, timeout=QUERY_TIMEOUT))
        signed = Counter(signer(reply) for reply in replies)
        nodes = {signer(reply): reply.metadata.src_node_id for reply in replies if signed[signer(reply)] == 1}
        nodes.pop(-1, None)
        order = torch.randperm(len(nodes), generator=dd.Streams(self.seed)[f"part/{server_round}"])
        chosen = [nodes[sorted(nodes)[i]] for i in order[: self.taking_part].tolist()]
        if not chosen:
            log.warning("Round %d: no node says which client it is, so none takes part.", server_round)
            return []
        return self.inner.configure_train(server_round, arrays, config, Among(grid, chosen))


def _waits_for(strategy: Strategy) -> int:
    """The nodes without which ``strategy`` does not begin a round."""
    if isinstance(strategy, Wrapped):
        return _waits_for(strategy.inner)
    return max(getattr(strategy, name, 0) for name in ("clients", "min_train_nodes", "min_available_nodes"))


class Refined(Wrapped):
    """``inner``, a strategy that averages weights, whose averages are trained on a set that the server distils once
    from the way of the first of them, as ``dynafed`` says. Clients need not know of it.

    ``folder`` takes that way; ``preprocess`` is the clients'. An average from which that training diverges is kept.
    """

    def __init__(
        self,
        inner: Strategy,
        dynafed: Dynafed,
        card: dd.DataCard,
        network: dd.NetworkPlan,
        folder: Path,
        host: dd.Host,
        *,
        preprocess: dd.Preprocess | None = None,
        seed: int = 0,
        device: str = "cpu",
    ) -> None:
        super().__init__(inner)
        self.dynafed, self.card, self.plan, self.preprocess = dynafed, card, network, preprocess
        self.network, self._like = agreed(network, card)
        dynafed.recipe(card, host, preprocess)  # refuses what could not be distilled
        self.folder, self.host, self.seed, self.device = folder, host, seed, device
        self.trajectory: list[dd.Params] = []
        """The weights so far, until the set is there."""
        self.sets: Shared | None = None
        self._diverged: str | None = None

    @property
    def failed(self) -> str | None:
        return self._diverged or super().failed

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        if self.sets is None and not self.trajectory:
            self.trajectory.append(params_of(arrays, self._like))
        return super().configure_train(server_round, arrays, config, grid)

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        self._diverged = None
        arrays, metrics = super().aggregate_train(server_round, replies)
        if arrays is None:
            return None, metrics
        average = params_of(arrays, self._like)
        if self.sets is not None:
            return arrays_of(self._tuned(server_round, average, self.sets)), metrics
        self.trajectory.append(average)
        if len(self.trajectory) > self.dynafed.rounds:
            self.sets = self.dynafed.distilled(
                self.trajectory,
                self.plan,
                self.card,
                self.folder,
                self.host,
                preprocess=self.preprocess,
                seed=seed_for(self.seed, "trajectory"),
                device=self.device,
            )
            self.trajectory = []
        return arrays, metrics

    def _tuned(self, server_round: int, average: dd.Params, shared: Shared) -> dd.Params:
        rng, device = dd.Streams(seed_for(self.seed, f"server/{server_round}")), torch.device(self.device)
        weights = {name: value.to(device) for name, value in average.items()}
        try:
            return self.dynafed.tuning.next_weights(weights, [shared], self.network, self.card, rng, device)
        except dd.LossDiverged as why:
            self._diverged = f"The average is kept: {why}"
            log.warning("Round %d: %s", server_round, self._diverged)
            return average
