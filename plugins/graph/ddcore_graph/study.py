"""The study: methods side by side on one graph, everything chosen on the nodes that are there for that."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

import ddcore
from ddcore import plugin as dd
from ddcore_graph.networks import GCN
from ddcore_graph.noise import Noise
from ddcore_graph.picture import LINKS, portrait
from ddcore_graph.planetoid import Planetoid
from ddcore_graph.protocols import nodes as usual
from ddcore_graph.search import Tried, tries
from ddcore_graph.tangent import NodeTangent, tangent_accuracy


@dataclass(frozen=True)
class Condensation(dd.Study, name="graph"):
    """Graph condensation: each method at each number of nodes on each condensing network, with each seed.

    The rate of the features and the length of the run are those that are best on the nodes to choose on, and so is the
    rate at which networks are trained; the test nodes are looked at once, at the end. It reports accuracy, nodes,
    seconds of condensing beside those of training that are saved, links against none, and what noise does.
    """

    chooses: ClassVar[frozenset[str]] = frozenset({"methods", "nodes", "condensing", "seeds", "whole"})
    several: ClassVar[tuple[str, ...]] = ("methods", "nodes", "condensing", "seeds", "rates")

    data: dd.DataSet = field(default_factory=Planetoid)
    """The graph."""
    methods: tuple[str, ...] = ("random", "random_nodes", "node_centres", "gcdm_x", "gcond_x")
    """By name: ``ddcore list methods``."""
    nodes: tuple[dd.Count, ...] = (35, 70)
    """Nodes of the condensed graphs."""
    condensing: tuple[dd.NetworkPlan, ...] = (GCN(dropout=0.0),)
    """Networks that methods condense on, each in turn."""
    seeds: tuple[dd.Whole, ...] = (0, 1, 2)
    """One condensation with each."""
    rates: tuple[dd.Positive, ...] = (3e-5, 1e-4, 3e-4)
    """Learning rates of the features to choose from."""
    looks: dd.Count = 2
    """Lengths of a run to choose from, evenly spaced up to the whole."""
    tried: dd.Count = 2
    """Nets of the protocol's first network by which they are chosen."""
    iterations: dd.Count | None = None
    """Updates of the features, of methods that make any; None for each method's own number."""
    overrides: dict[str, Any] = field(default_factory=dict)
    """Fields of the recipes by dotted path, in a table for each method: ``gcdm_x = {"objective.real" = 64}``; in that
    named ``all`` those of every method, which its own table may change."""
    protocol: dd.Protocol = field(default_factory=usual)
    """How networks are trained on a condensed graph; the first network chooses, all are reported."""
    noise: Noise | None = None
    """Noise under which each graph is condensed once more, in the same way; None for none."""
    tangent: NodeTangent | None = None
    """Kernel of an infinitely wide network that is fitted to each graph as well; None for none."""
    whole: bool = True
    """Whether networks are trained on the whole graph too."""

    def cases(self, host: dd.Host) -> list[dd.Case]:
        for method, network in product(self.methods, self.condensing):
            host.recipe(method, kind="node", overrides=self._changes(method, network, host))
        card = dd.loaded(self.data).card
        for method, network, n in product(self.methods, self.condensing, self.nodes):
            changes = {**self._changes(method, network, host), **_size(method, n, card, host)}
            host.recipe(method, kind="node", overrides=changes).fitted(card).check(card, host.catalogue)
        found = [
            dd.Case(self._label(method, n, network), seed, {"method": method, "nodes": n, "network": network})
            for seed in self.seeds
            for network in self.condensing
            for n in self.nodes
            for method in self.methods
        ]
        return [*([dd.Case("whole", self.seeds[0], {})] if self.whole else []), *found]

    def _label(self, method: str, n: int, network: dd.NetworkPlan) -> str:
        on = f" on {dd.labels(self.condensing)[self.condensing.index(network)]}" if len(self.condensing) > 1 else ""
        return f"{method}, {n} nodes{on}"

    def run(
        self, case: dd.Case, folder: Path, host: dd.Host, device: str, progress: dd.Progress | None
    ) -> dict[str, Any]:
        data, seed, about = dd.loaded(self.data), case.seed or 0, case.description
        given = {"host": host, "device": device, "seed": seed}
        began = time.perf_counter()
        if not about:
            scores = ddcore.evaluate(data.train, data, self.protocol, preprocess=dd.Identity(), **given)
            training = _since(began)
            every = data.train.take(torch.arange(len(data.train)))
            test = {**_told(scores), **self._tangent(every.inputs, every.targets, data)}
            return {"method": "whole", "nodes": len(data.train), "test": test, "training": training}
        found = list(self._tries(about, data, host, seed, device, progress))
        if not found:
            raise ddcore.LossDiverged(f"{case} diverged at every rate of {self.rates}: add smaller ones to rates.")
        best = max(found, key=lambda one: one.validation)
        best.distilled.save(folder / "condensed.safetensors")
        chosen = time.perf_counter()
        scores = ddcore.evaluate(best.distilled, data, self.protocol, progress=progress, **given)
        numbers = {
            "method": about["method"],
            "nodes": len(best.distilled),
            "rate": best.rate,
            "iterations": best.iterations,
            "validation": best.validation,
            "test": {**_told(scores), **self._tangent(best.distilled.inputs, best.distilled.targets, data)},
            "condensing": sum(one.seconds for one in found if one.rate == best.rate),
            "choosing": chosen - began,
            "training": _since(chosen),
            "bytes": best.distilled.nbytes,
        }
        if LINKS in best.distilled.latent:
            free = ddcore.evaluate(best.distilled.tensors, data, self._short(), preprocess=dd.Identity(), **given)
            numbers["free"] = _first(free)
        if self.noise is not None:
            numbers["noisy"] = self._under_noise(about, best, data, host, seed, device)
        portrait(best.distilled, folder / "graph.png")
        return numbers

    def _tries(
        self,
        about: Any,
        data: dd.RealData,
        host: dd.Host,
        seed: int,
        device: str,
        progress: dd.Progress | None,
        rates: Sequence[float] | None = None,
        looks: int | None = None,
        iterations: int | None = None,
    ) -> Iterator[Tried]:
        """What the method of a case makes, to choose from; or at what has been chosen."""
        method, network = about["method"], about["network"]
        own = _size(method, about["nodes"], data.card, host)
        learns, length = host.recipe(method, kind="node").objective is not None, iterations or self.iterations
        if learns and length is not None:
            own["iterations"] = length
        yield from tries(
            method,
            data,
            self._short(),
            host,
            overrides={**self._changes(method, network, host), **own},
            rates=rates or self.rates,
            looks=looks or self.looks,
            seed=seed,
            device=device,
            progress=progress,
        )

    def _changes(self, method: str, network: dd.NetworkPlan, host: dd.Host) -> dict[str, Any]:
        """The fields that the study changes in the recipe of ``method`` on ``network``, by dotted path."""
        fixed = {f"network.{name}": value for name, value in vars(network).items()}
        return {"network.name": network.part_name(), **fixed, **dd.overrides_of(method, self.overrides, host)}

    def _tangent(self, inputs: Tensor, classes: Tensor, data: dd.RealData) -> dict[str, Any]:
        if self.tangent is None or classes.ndim != 1:
            return {}
        return {"tangent": {"mean": tangent_accuracy(self.tangent, inputs, classes, data), "std": 0.0}}

    def _short(self) -> dd.Protocol:
        """By which graphs are chosen: few nets of the first network."""
        return replace(self.protocol, networks=self.protocol.networks[:1], repeats=self.tried)

    def _under_noise(
        self, about: Any, best: Tried, data: dd.RealData, host: dd.Host, seed: int, device: str
    ) -> dict[str, Any]:
        """The method once more, as chosen, on a noisy graph; tested on the graph as it is."""
        assert self.noise is not None
        noisy = self.noise.applied(data, seed)
        rates = None if best.rate is None else (best.rate,)
        (found,) = self._tries(about, noisy, host, seed, device, None, rates, 1, best.iterations or None)
        protocol = replace(self.protocol, networks=self.protocol.networks[:1])
        return _first(ddcore.evaluate(found.distilled, data, protocol, host=host, device=device, seed=seed))

    def summarise(self, found: Sequence[dd.Found]) -> dd.Finding:
        told = [summary(alike) for alike in dd.over_seeds(found)]
        head = ["method", "nodes", *told[0]["test"], "validation", "without links", "under noise", "rate"]
        rows = [_row(one) for one in told]
        says = (
            f"Accuracy in percent on the test nodes, ± over {max(len(one.get('seeds', ())) for one in told)} seeds,"
            " the mean of whose nets counts once; of the whole graph, ± over nets. Rates and lengths were chosen on the"
            " nodes to choose on. Seconds: condensing at the chosen rate, choosing among all, training networks."
        )
        return dd.Finding([*head, "s condensing", "s choosing", "s training"], rows, {"rows": told}, says, _plots(told))


def _size(method: str, nodes: int, card: dd.DataCard, host: dd.Host) -> dict[str, Any]:
    """The fields by which the recipe of ``method`` has so many ``nodes``."""
    if hasattr(host.recipe(method, kind="node").synthetic, "nodes"):
        return {"synthetic.nodes": nodes}
    ipc, left = divmod(nodes, card.classes)
    if left:
        raise ddcore.RecipeRefused(
            f"{method} takes as many nodes of each of {card.classes} classes, so not {nodes} in all, but"
            f" {max(1, ipc) * card.classes}."
        )
    return {"synthetic.ipc": ipc}


def _since(began: float) -> float:
    return time.perf_counter() - began


def _told(scores: ddcore.Scores) -> dict[str, Any]:
    by_network = next(iter(scores.values()))
    return {name: score.plain() for name, score in by_network.items()}


def _first(scores: ddcore.Scores) -> dict[str, Any]:
    return next(iter(_told(scores).values()))


def summary(alike: Sequence[dd.Found]) -> dict[str, Any]:
    """The numbers of cases that differ by their seed alone."""
    numbers = [one.numbers for one in alike]
    first = numbers[0]
    test = {name: dd.spread([one["test"][name]["mean"] for one in numbers]) for name in first["test"]}
    if first["method"] == "whole":
        test = {name: dd.spread(score.get("values", [score["mean"]])) for name, score in first["test"].items()}
    rest = {name: dd.spread([one[name]["mean"] for one in numbers]) for name in ("free", "noisy") if name in first}
    if "validation" in first:
        rest["validation"] = dd.spread([one["validation"] for one in numbers])
    means = {
        n: dd.spread([one[n] for one in numbers])["mean"] for n in ("condensing", "choosing", "training") if n in first
    }
    rates = [one["rate"] for one in numbers if one.get("rate") is not None]
    network = alike[0].case.description.get("network")
    return {
        "label": alike[0].case.label,
        "method": first["method"],
        "nodes": first["nodes"],
        "network": None if network is None else str(network),
        "seeds": [one.case.seed for one in alike],
        "test": test,
        "rates": rates,
        **rest,
        **means,
    }


def _row(one: dict[str, Any]) -> list[str]:
    rest = [dd.plus_minus(**one[name]) if name in one else "" for name in ("validation", "free", "noisy")]
    seconds = [f"{one[name]:.0f}" if name in one else "" for name in ("condensing", "choosing", "training")]
    rates = ", ".join(f"{rate:g}" for rate in dict.fromkeys(one["rates"]))
    name = one["label"].replace(f", {one['nodes']} nodes", "")
    return [name, str(one["nodes"]), *(dd.plus_minus(**s) for s in one["test"].values()), *rest, rates, *seconds]


def _plots(told: list[dict[str, Any]]) -> tuple[dd.Plot, ...]:
    """Accuracy of the first network against nodes."""
    lines: dict[str, list[tuple[int, float, float]]] = {}
    levels = []
    for one in told:
        score = next(iter(one["test"].values()))
        if one["method"] == "whole":
            levels.append(dd.Line("whole", [score["mean"]], reference=True))
        else:
            name = one["label"].replace(f", {one['nodes']} nodes", "")
            lines.setdefault(name, []).append((one["nodes"], score["mean"], score["std"]))
    drawn = []
    for name, points in lines.items():
        x, y, bars = zip(*sorted(points), strict=True)
        drawn.append(dd.Line(name, y, x, bars))
    return (dd.Plot("nodes", "nodes", "accuracy on the test nodes (%)", [[dd.Panel([*drawn, *levels])]]),)
