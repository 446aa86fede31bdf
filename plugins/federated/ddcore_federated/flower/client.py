"""Client apps: one that distils its shard, and one that trains on it."""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Error, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

import ddcore_federated
from ddcore import plugin as dd
from ddcore_federated.around import Around, around, finite, write_weights
from ddcore_federated.flower.engine import go_on
from ddcore_federated.flower.records import CLIENT, SAID, SET, arrays_of, params_of, shared_of, signed
from ddcore_federated.knowledge import Remembered, remember
from ddcore_federated.payload import Encoding, Limits, packed
from ddcore_federated.shards import agreed, public, seed_for
from ddcore_federated.shared import Shared
from ddcore_federated.split import shard

Shard = Callable[[int, int], dd.RealData]
"""A client's part of the data, by its number and the number of clients, in the whole problem's numbering of classes."""

STATE = "ddcore"
"""The record of a context's state in which a client carries what it has spent."""

ANY = 2**40
"""A client does not bound what its server sends back."""

REFUSED = 2
"""The code of an error reply that says in a sentence why a message cannot be served."""


def distilling_client(
    shards: Shard,
    recipe: str | dd.Recipe = "feddm",
    *,
    overrides: Mapping[str, Any] | None = None,
    encoding: Encoding = "uint8",
    seed: int = 0,
    keep: Path | None = None,
    device: str = "cpu",
) -> ClientApp:
    """A client that answers global weights with its shard, distilled by ``recipe`` at them.

    ``recipe`` is the name of a method or a recipe; ``overrides`` sets fields of either by dotted path. Plugins that it
    names are heard; what its gate has spent is carried in the context's state, and a budget is one for all rounds.
    Classes with fewer items than the recipe makes images are left out. In the folder ``keep`` a client keeps its last
    answer and what it has spent: asked again for that round, as after a stop, it gives the same at no further cost.

    A message that cannot be served is answered with an error in a sentence. What is random follows from ``seed``, the
    client's number and the round.
    """
    return _app(Distiller(shards, recipe, dict(overrides or {}), encoding, seed, keep, device))


def training_client(
    shards: Shard,
    network: dd.NetworkPlan,
    fit: dd.Fit,
    *,
    preprocess: dd.Preprocess | None = None,
    seed: int = 0,
    device: str = "cpu",
) -> ClientApp:
    """A client that answers global weights with those it comes to by ``fit`` on its shard, for FedAvg and its kin.

    A ``proximal-mu`` in the message's config adds mu / 2 ||w - w_r||^2 to the loss (FedProx).
    """
    return _app(Trainer(shards, network, fit, preprocess or dd.Standardise(), seed, device))


def _app(answer: Callable[[Message, Context], RecordDict]) -> ClientApp:
    """One that answers weights as ``answer`` does, and a query with the client's number."""
    app = ClientApp()

    def reply(to: Callable[[Message, Context], RecordDict], message: Message, context: Context) -> Message:
        try:
            return Message(to(message, context), reply_to=message)
        except dd.DdcoreError as error:
            return Message(Error(REFUSED, str(error)), reply_to=message)

    @app.train()
    def train(message: Message, context: Context) -> Message:
        return reply(answer, message, context)

    @app.query()
    def query(message: Message, context: Context) -> Message:
        return reply(lambda *_: RecordDict({CLIENT: signed(_part(context)[0])}), message, context)

    return app


def _part(context: Context) -> tuple[int, int]:
    """The number of the client, which is that of its part of the data, and how many there are."""
    try:
        return int(context.node_config["partition-id"]), int(context.node_config["num-partitions"])
    except KeyError as error:
        raise dd.RecipeRefused(f"The node's config lacks {error}: which part of the data is its?") from None


@cache
def _host() -> dd.Host:
    """One a process: it knows this plugin even where that is not installed."""
    return dd.Host({"federated": ddcore_federated})


@dataclass(frozen=True)
class Asked:
    """A message that a client can serve."""

    partition: int
    data: dd.RealData
    weights: dd.Params
    network: dd.Network
    round: int
    content: RecordDict
    config: ConfigRecord

    @staticmethod
    def of(message: Message, context: Context, shards: Shard, plan: dd.NetworkPlan) -> Asked:
        """Raises RecipeRefused where the message or the shard cannot be used."""
        partition, partitions = _part(context)
        sent, config = message.content.get("arrays"), message.content.get("config")
        if not isinstance(sent, ArrayRecord) or not isinstance(config, ConfigRecord):
            raise dd.RecipeRefused("The message lacks the global weights (arrays) or the config.")
        number = config.get("server-round")
        if type(number) is not int:
            raise dd.RecipeRefused("The message's config lacks server-round, the number of the round.")
        data = shards(partition, partitions)
        if not len(data.train):
            raise dd.RecipeRefused(f"Client {partition} has no items.")
        network, params = agreed(plan, data.card)
        return Asked(partition, data, params_of(sent, params), network, number, message.content, config)

    @property
    def rounds(self) -> int:
        """Of how many rounds this is one, 1 where the message does not say."""
        rounds = self.config.get("rounds", 1)
        return rounds if isinstance(rounds, int) else 1

    def question(self, of: str) -> str:
        """A fingerprint of the round, the global weights, the shard and what else the answer depends on."""
        digest = hashlib.sha256(f"{self.round} {self.data.card} {of}".encode())
        digest.update(self.data.train.fingerprint(*(self.weights[name] for name in sorted(self.weights))).encode())
        sent_back = self.content.get(SET)
        for name, array in sorted(sent_back.items()) if isinstance(sent_back, ArrayRecord) else ():
            digest.update(name.encode() + array.data)
        return digest.hexdigest()

    def rng(self, seed: int) -> dd.Streams:
        """What is random for this client in this round."""
        name = f"client/{self.partition}/{self.round}"
        return dd.Streams(seed_for(seed, name))


@dataclass(frozen=True)
class Distiller:
    """What :func:`distilling_client` does with a message."""

    shards: Shard
    recipe: str | dd.Recipe
    overrides: dict[str, Any]
    encoding: Encoding
    seed: int
    keep: Path | None
    device: str

    def __call__(self, message: Message, context: Context) -> RecordDict:
        host = _host()
        recipe = self.recipe
        if isinstance(recipe, str):
            recipe = host.recipe(recipe)
        recipe = dd.overridden(recipe, self.overrides, host.catalogue) if self.overrides else recipe
        plan = recipe.network.network if isinstance(recipe.network, Around) else recipe.network
        asked = Asked.of(message, context, self.shards, plan)
        public(recipe.preprocess, asked.data.card)
        place = None if self.keep is None else self.keep / f"client-{asked.partition}.safetensors"
        recipe = replace(recipe, seed=asked.rng(self.seed).seed)
        question = asked.question(f"{self.encoding} {asked.rounds} {recipe.to_toml()}")
        memory = ClientState.of(context, place)
        if memory.answer is None or memory.answer.question != question:
            run = None
            with tempfile.TemporaryDirectory() as folder:
                try:
                    run = self._run(asked, recipe, host, Path(folder))
                    if memory.carried:
                        run.gate.load_ledger(memory.carried)
                    memory = replace(memory, answer=self._answer(asked, run, question))
                finally:  # what was asked of the data is spent, whatever came of it
                    if run is not None:
                        carried = run.gate.ledger() or memory.carried  # an open gate has no account
                        replace(memory, carried=carried).write(context, place)
        assert memory.answer is not None
        return memory.answer.records(asked.partition)

    def _run(self, asked: Asked, recipe: dd.Recipe, host: dd.Host, folder: Path) -> dd.Run:
        data, k = asked.data, asked.data.card.classes
        own, classes = shard(data, torch.arange(len(data.train)), max(recipe.synthetic.per_class(data.card)))
        write_weights(folder / "weights.safetensors", asked.weights)
        if isinstance(recipe.synthetic, Remembered) and SET in asked.content:
            limits = Limits(data.card.shape, k, ipc=ANY, items=ANY)
            remember(folder / "sets.safetensors", shared_of(asked.content, limits), classes)
            recipe = replace(recipe, synthetic=replace(recipe.synthetic, path=str(folder / "sets.safetensors")))
        whole = around(recipe, folder / "weights.safetensors", classes, k)
        return host.start(whole, own, device=self.device, rounds=asked.rounds, on_step=go_on, progress=go_on)

    def _answer(self, asked: Asked, run: dd.Run, question: str) -> Answer:
        begun = time.perf_counter()
        distilled = run.hooks.ddcore_distill(run=run)
        if run.step == 0 < run.recipe.iterations:
            raise dd.RecipeRefused(f"Nothing was distilled: {run.facts.get('stopped', 'there was no step')}.")
        network = run.recipe.network
        assert isinstance(network, Around) and network.classes is not None
        shared = Shared.of(distilled, network.classes[: run.card.classes], asked.data.card.classes)
        told = {"num-examples": shared.items, "seconds": time.perf_counter() - begun}
        if spent := run.gate.spent():
            told["epsilon"] = spent.epsilon
        return Answer(question, *packed(shared, self.encoding), told)


@dataclass(frozen=True)
class Answer:
    """What a client sent, and to which ``question``."""

    question: str
    arrays: dict[str, np.ndarray]
    said: dict[str, Any]
    told: dict[str, float]

    def records(self, partition: int) -> RecordDict:
        return RecordDict(
            {
                SET: ArrayRecord({name: Array(array) for name, array in self.arrays.items()}),
                SAID: ConfigRecord(self.said),
                CLIENT: signed(partition),
                "metrics": MetricRecord({**self.told}),
            }
        )


@dataclass(frozen=True)
class ClientState:
    """What a client remembers: what its gate has spent, in the context's state and on disk, and its last answer,
    on disk."""

    carried: dict[str, Any] = field(default_factory=dict)
    answer: Answer | None = None

    @staticmethod
    def of(context: Context, place: Path | None) -> ClientState:
        """Raises RecipeRefused where the file at ``place`` cannot be read."""
        if place is not None and place.exists():
            remedy = (
                "What the client has spent stands there: without it no budget can be kept; delete the file only where"
                " none has to be."
            )
            tensors, metadata = dd.read_tensors(place, dd.RecipeRefused, remedy)
            arrays = {name: value.numpy() for name, value in tensors.items()}
            try:
                card = json.loads(metadata["ddcore"])
                answer = Answer(card["question"], arrays, card["said"], card["told"])
                return ClientState(card["carried"], answer if answer.question else None)
            except (KeyError, ValueError) as error:
                raise dd.RecipeRefused(f"{place} cannot be read ({error}). {remedy}") from error
        state = context.state.get(STATE)
        return ClientState(json.loads(str(state["carried"]))) if isinstance(state, ConfigRecord) else ClientState()

    def write(self, context: Context, place: Path | None) -> None:
        """Called before an answer is sent: what it cost is never forgotten."""
        context.state[STATE] = ConfigRecord({"carried": json.dumps(self.carried)})
        if place is not None:
            last = self.answer or Answer("", {}, {}, {})
            card = {"carried": self.carried, "question": last.question, "said": last.said, "told": last.told}
            arrays = {name: torch.from_numpy(array) for name, array in last.arrays.items()}
            dd.write_tensors(place, arrays, {"ddcore": json.dumps(card)})


@dataclass(frozen=True)
class Trainer:
    """What :func:`training_client` does with a message."""

    shards: Shard
    network: dd.NetworkPlan
    fit: dd.Fit
    preprocess: dd.Preprocess
    seed: int
    device: str

    def __call__(self, message: Message, context: Context) -> RecordDict:
        asked = Asked.of(message, context, self.shards, self.network)
        begun = time.perf_counter()
        mu = asked.config.get("proximal-mu", 0.0)
        if not isinstance(mu, int | float):
            raise dd.RecipeRefused(f"The server's proximal-mu is {mu!r}, not a number.")
        rng, device = asked.rng(self.seed), torch.device(self.device)
        weights = {name: value.to(device) for name, value in asked.weights.items()}
        gate = Near(dd.Open().live(asked.data.train, (), rng, device), weights, float(mu))
        gate.source.preprocess = public(self.preprocess, asked.data.card)
        *_, params = gate.fit(dd.Draw(asked.network, weights, {}), self.fit, progress=go_on)
        if not finite(params):
            raise dd.LossDiverged(f"The weights of client {asked.partition} are no longer finite: lower fit.lr.")
        told = {"num-examples": len(asked.data.train), "seconds": time.perf_counter() - begun}
        records = {"arrays": arrays_of(params), "metrics": MetricRecord(told)}
        return RecordDict({**records, CLIENT: signed(asked.partition)})


class Near(dd.WrappedGate):
    """``gate``, whose gradients are of losses with mu / 2 ||w - ``start``||^2 added (Li et al., FedProx, 2020)."""

    fit = dd.Gate.fit

    def __init__(self, gate: dd.Gate, start: dd.Params, mu: float) -> None:
        super().__init__(gate)
        self.near, self.mu = start, mu

    @property
    def fingerprint(self):
        return None

    def gradient(self, draw, groups, loss):
        pull = {name: self.mu * (value - self.near[name]) for name, value in draw.params.items()}
        answers = self.gate.gradient(draw, groups, loss)
        return [{name: value + pull[name] for name, value in answer.items()} for answer in answers]
