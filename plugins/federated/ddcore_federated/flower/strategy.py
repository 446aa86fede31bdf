"""The strategy: sets are united, never averaged, and the server makes the next weights of them."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Literal

import torch
from flwr.app import ArrayRecord, ConfigRecord, Message, MessageType, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAdam, FedAvg, FedProx, Result, Strategy

from ddcore import plugin as dd
from ddcore_federated.around import finite
from ddcore_federated.flower.records import arrays_of, params_of, records_of, shared_of, signer
from ddcore_federated.payload import Limits, PayloadRefused
from ddcore_federated.server import Server, TrainOnUnion
from ddcore_federated.shards import agreed, public, seed_for
from ddcore_federated.shared import Shared, in_words, union

NODES_EVERY = 0.1
"""Seconds between looks for nodes."""

PATIENCE = 10.0
"""Seconds without enough nodes after which the log says so."""

log = logging.getLogger("ddcore_federated")


class Announcing(Strategy):
    """A strategy that tells clients the number of ``rounds``, for which a privacy budget must last."""

    def start(
        self,
        grid: Grid,
        initial_arrays: ArrayRecord,
        num_rounds: int = 3,
        timeout: float = 3600,
        train_config: ConfigRecord | None = None,
        evaluate_config: ConfigRecord | None = None,
        evaluate_fn: Callable[[int, ArrayRecord], MetricRecord | None] | None = None,
    ) -> Result:
        """As Flower's own; where a run goes on in several starts, ``train_config`` can give the ``rounds`` of all."""
        config = ConfigRecord({"rounds": num_rounds, **(train_config or {})})
        return super().start(grid, initial_arrays, num_rounds, timeout, config, evaluate_config, evaluate_fn)


class SyntheticUnion(Announcing):
    """Asks every client for a distilled set and lets ``server`` make the next global weights of all of them.

    Replies that cannot be used are refused one by one, each with a sentence in the log and in ``refused``; the round
    goes on with the rest, and where none is left the weights stay as they are. What the cards of the sets warn of is
    in the log and in ``warned``. Sets are taken in the order of the clients' numbers, so the order in which they come
    changes nothing; where two say that they are the same client, neither is believed. The server has the sets of this
    round and of as many before it as it ``keeps``. With ``sends_back`` clients get the sets of the last round with the
    weights, for recipes that begin at them (``meta_knowledge``).

    Its metrics of a round: ``sets``, ``refused``, ``images``, and where clients are private ``epsilon``, the largest.
    """

    def __init__(
        self,
        card: dd.DataCard,
        network: dd.NetworkPlan,
        ipc: int,
        server: Server | None = None,
        *,
        clients: int = 1,
        keeps: int = 0,
        sends_back: bool = False,
        preprocess: dd.Preprocess | None = None,
        seed: int = 0,
        device: str = "cpu",
    ) -> None:
        """``card``: the whole problem's; ``ipc``: the most images of a class that a client may send; ``clients``: the
        nodes that a round waits for before it begins; ``preprocess``: the clients', by default standardised as the card
        declares: sets that went through another are left out."""
        self.clients, self.keeps, self.sends_back = clients, keeps, sends_back
        self.past: list[list[Shared]] = []
        """The sets of earlier rounds that are still needed, the latest last."""
        self.server = server or TrainOnUnion()
        self.card, self.seed, self.device = card, seed, torch.device(device)
        self.network, self._like = agreed(network, card)
        if keeps and self.server.replays:
            raise dd.RecipeRefused(
                f"keeps = {keeps}, but the steps of a set hold from the weights of its own round only: a server that"
                " replays them keeps none."
            )
        plan = preprocess or dd.Standardise()
        shared = in_words(plan.part_name(), public(plan, card).state_dict())
        self.limits = Limits(card.shape, card.classes, ipc, sum(card.counts), preprocess=shared)
        self.refused: list[str] = []
        """Why replies of the last round were refused."""
        self.warned: list[str] = []
        """What the sets of the last round warn of, and whose they are."""
        self.failed: str | None = None
        """Why the last round left the weights as they were, where the server could make nothing of its sets."""
        self._asked: set[int] = set()
        self._weights: dd.Params = {}

    def initial(self) -> ArrayRecord:
        """Fresh global weights, drawn from the seed."""
        return arrays_of(self.network.init(dd.Streams(self.seed)["network"])[0])

    def summary(self) -> None:
        log.info("%s on at most %d images of each class from a client", self.server, self.limits.ipc)

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """The global weights, to every node that the grid shows."""
        self._weights = params_of(arrays, self._like)
        self._asked = waited_for(grid, self.clients)
        content = RecordDict({"arrays": arrays, "config": ConfigRecord({**config, "server-round": server_round})})
        if self.sends_back and self.past:
            bare = [
                replace(shared, tensors=replace(shared.tensors, order=None, step_sizes=None))
                for shared in self.past[-1]
            ]
            content.update(records_of(union(bare, self.card.classes), "uint8"))
        return [Message(content, node, MessageType.TRAIN) for node in sorted(self._asked)]

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """The server's next weights, None where no set came that could be used; and metrics of the round."""
        self.failed = None
        told, self.refused = self._read(list(replies))
        self.warned = [f"client {number}: {w}" for number, shared, _ in told for w in shared.warnings]
        for sentence in (*self.refused, *self.warned):
            log.warning("Round %d: %s", server_round, sentence)
        metrics: dict[str, Any] = {"sets": len(told), "refused": len(self.refused)}
        metrics["images"] = sum(len(shared.targets) for _, shared, _ in told)
        if spent := [epsilon for _, _, epsilon in told if epsilon is not None]:
            metrics["epsilon"] = max(spent)
        sets = [shared for _, shared, _ in told]
        kept = [shared for before in self.past[-self.keeps :] for shared in before] if self.keeps else []
        kept = [shared for shared in kept if sets and _form(shared) == _form(sets[0])]
        weights = self._next(server_round, kept + sets) if sets else None
        room = max(self.keeps, int(self.sends_back))
        if sets and room:
            self.past = [*self.past, sets][-room:]
        return None if weights is None else arrays_of(weights), MetricRecord(metrics)

    def _read(self, replies: Sequence[Message]) -> tuple[list[tuple[int, Shared, float | None]], list[str]]:
        """Client, set and epsilon of each reply that can be used, by client; and why the others cannot."""
        told: dict[int, tuple[int, Shared, float | None]] = {}
        refused = []
        signed = Counter(signer(reply) for reply in replies)
        for reply in sorted(replies, key=lambda reply: (signer(reply), reply.metadata.src_node_id)):
            number = signer(reply)
            who = f"client {number}" if number >= 0 else f"node {reply.metadata.src_node_id}"
            try:
                if reply.has_error():
                    raise PayloadRefused(reply.error.reason or "it failed without saying why")
                if number < 0:
                    raise PayloadRefused("it does not say which client it is")
                if signed[number] > 1:
                    raise PayloadRefused(f"{signed[number]} nodes say that they are client {number}")
                shared = shared_of(reply.content, self.limits)
                self.server.check_shared(shared, self.card)
                told[number] = number, shared, _epsilon(reply)
            except dd.DdcoreError as why:
                refused.append(f"{who} is left out: {str(why)[:500].rstrip('.')}.")
        usual = Counter(_form(shared) for _, shared, _ in told.values()).most_common(1)
        for number, shared, _ in list(told.values()):
            if (form := _form(shared)) != usual[0][0]:
                refused.append(f"client {number} is left out: its set is for {form}, most are for {usual[0][0]}.")
                del told[number]
        silent = self._asked - {reply.metadata.src_node_id for reply in replies}
        refused += [f"node {node} is left out: it did not answer in time." for node in sorted(silent)]
        self._asked = set()
        return list(told.values()), refused

    def _next(self, server_round: int, sets: list[Shared]) -> dd.Params | None:
        rng = dd.Streams(seed_for(self.seed, f"server/{server_round}"))
        weights = {name: value.to(self.device) for name, value in self._weights.items()}
        try:
            found = self.server.next_weights(weights, sets, self.network, self.card, rng, self.device)
            if not finite(found):
                raise dd.LossDiverged(f"{self.server} came to weights that are not finite.")
        except dd.DdcoreError as why:
            self.failed = f"The weights before are kept: {why}"
            log.warning("Round %d: %s", server_round, self.failed)
            return None
        return found

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """None: the server evaluates, by ``evaluate_fn``."""
        return []

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        return None


def _form(shared: Shared) -> str:
    """What training a set is made for: those of another would spoil a union."""
    order = "no order" if shared.order is None else "an order"
    return f"the loss {shared.loss} at momentum {shared.momentum} with {order} of steps"


def waited_for(grid: Grid, clients: int) -> set[int]:
    """The nodes of ``grid``, once there are as many as ``clients``; the log says so where that takes long."""
    begun = time.monotonic()
    while len(nodes := set(grid.get_node_ids())) < clients:
        if begun and time.monotonic() - begun > PATIENCE:
            log.warning("Still waiting for %d nodes; %d are there.", clients, len(nodes))
            begun = 0.0
        time.sleep(NODES_EVERY)
    return nodes


Averager = Literal["fedavg", "fedprox", "fedadam"]


def averaging(algorithm: Averager, clients: int, *, mu: float, lr: float) -> FedAvg:
    """Flower's strategy of that name, in which all of ``clients`` train and the server evaluates."""
    usual: dict[str, Any] = {"fraction_evaluate": 0.0, "min_train_nodes": clients, "min_available_nodes": clients}
    with quiet():
        if algorithm == "fedprox":
            return FedProx(**usual, proximal_mu=mu)
        return FedAdam(**usual, eta=lr) if algorithm == "fedadam" else FedAvg(**usual)


@contextmanager
def quiet() -> Iterator[None]:
    """Flower logs nothing but errors."""
    logger = logging.getLogger("flwr")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _epsilon(reply: Message) -> float | None:
    """What a client says it has spent."""
    record = reply.content.get("metrics")
    value = record.get("epsilon") if isinstance(record, MetricRecord) else None
    if value is None:
        return None
    if not isinstance(value, int | float) or not value >= 0:
        raise PayloadRefused(f"it says that it has spent epsilon {value}")
    return float(value)
