"""The study: what clients exchange with a server, side by side on one split."""

from __future__ import annotations

import json
import math
import re
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import cycle
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, Literal

from matplotlib.figure import Figure

from ddcore import plugin as dd
from ddcore_federated.around import Around
from ddcore_federated.knowledge import Remembered
from ddcore_federated.payload import Encoding
from ddcore_federated.recipes import usual_server
from ddcore_federated.server import Server
from ddcore_federated.shards import Shards, agreed, loaded, public
from ddcore_federated.split import Dirichlet, Split
from ddcore_federated.trajectory import Dynafed

if TYPE_CHECKING:
    from flwr.clientapp import ClientApp
    from flwr.serverapp.strategy import Strategy


@dataclass(frozen=True)
class Problem:
    """What clients and server agree on before the first round."""

    shards: Shards
    network: dd.NetworkPlan
    preprocess: dd.Preprocess
    clients: int
    fraction: float
    seed: int
    device: str
    host: dd.Host

    @property
    def waits_for(self) -> int:
        """The nodes that a strategy waits for: one that is sampled sees no others than those that take part."""
        return self.clients if self.fraction == 1 else 1

    @property
    def card(self) -> dd.DataCard:
        return loaded(self.shards.data).card


class Exchange(dd.Part, kind="exchange"):
    """What clients send each round, and what the server makes of it."""

    rounds: int | None
    """Its own number of rounds, None for the study's."""
    title: str | None
    """Its name in tables and plots, None for one made of what it is."""

    @property
    def label(self) -> str:
        return self.title or self._label()

    @abstractmethod
    def _label(self) -> str: ...

    @abstractmethod
    def build(self, problem: Problem, keep: Path) -> tuple[ClientApp, Strategy]:
        """The app of the clients, which may remember things in the folder ``keep``, and the server's strategy.

        Raises:
            RecipeRefused: it cannot be, before any work.
        """


@dataclass(frozen=True)
class Distilling(Exchange):
    """Clients send their shards distilled by ``method``; the server does with the sets what ``server`` says, or without
    one what goes with the method.

    With them it has those of as many earlier rounds as it ``keeps``.

    ``overrides`` sets fields of the recipe by dotted path: ``plugins.private.epsilon = 8`` makes the clients private.
    """

    method: str = "feddm"
    ipc: int = 10
    overrides: dict[str, Any] = field(default_factory=dict)
    server: Server | None = None
    encoding: Encoding = "uint8"
    keeps: int = 0
    rounds: int | None = None
    title: str | None = None

    def faults(self) -> Iterator[str]:
        if self.keeps < 0:
            yield (f"exchange: keeps = {self.keeps} must be zero or more rounds.")
        for path in dd.dotted(self.overrides):
            if path.startswith(("network.network", "preprocess")):
                yield (f"exchange: overrides.{path} cannot be, since network and preprocess are the study's, for all.")

    def _label(self) -> str:
        how = ", one shot" if self.rounds == 1 else ", sets kept" if self.keeps else ""
        return f"{self.method}, {self.ipc} a class{how}"

    def recipe(self, problem: Problem) -> dd.Recipe:
        """The recipe on the problem's network, its starts as far round the global weights as the method says."""
        kind, overrides = problem.card.kind, dd.dotted(self.overrides)
        recipe = problem.host.recipe(self.method, kind=kind, ipc=self.ipc, overrides=overrides)
        around = recipe.network if isinstance(recipe.network, Around) else Around()
        network = replace(around, network=problem.network)
        return replace(recipe, network=network, preprocess=problem.preprocess)

    def build(self, problem: Problem, keep: Path) -> tuple[ClientApp, Strategy]:
        from ddcore_federated.flower import SyntheticUnion, distilling_client

        server = self.server or usual_server(self.method)
        recipe = self.recipe(problem)
        problem.host.start(recipe, loaded(problem.shards.data))  # refuses what no client could run
        own: dict[str, Any] = {"seed": problem.seed, "device": problem.device}
        app = distilling_client(problem.shards, recipe, encoding=self.encoding, keep=keep, **own)
        own |= {
            "clients": problem.waits_for,
            "sends_back": isinstance(recipe.synthetic, Remembered),
            "keeps": self.keeps,
        }
        return app, SyntheticUnion(problem.card, problem.network, self.ipc, server, **own)


@dataclass(frozen=True)
class Averaging(Exchange):
    """Clients send the weights that ``fit`` leads to on their shards; the server is one of Flower's strategies.

    ``mu`` is FedProx's, ``lr`` the server's rate in FedAdam. With ``refined`` the averages are trained on a set that
    the server distils from the way of the first of them (DynaFed).
    """

    algorithm: Literal["fedavg", "fedprox", "fedadam"] = "fedavg"
    fit: dd.Fit = field(
        default_factory=lambda: dd.Fit(steps=None, epochs=1.0, batch=64, lr=0.01, momentum=0.9, weight_decay=0.0)
    )
    mu: float = 0.01
    lr: float = 0.01
    refined: Dynafed | None = None
    rounds: int | None = None
    title: str | None = None

    def faults(self) -> Iterator[str]:
        if not 0 < self.mu < math.inf or not 0 < self.lr < math.inf:
            yield (f"exchange: mu {self.mu} and lr {self.lr} must be above zero and finite.")

    def _label(self) -> str:
        return self.algorithm if self.refined is None else f"{self.algorithm}, refined by dynafed"

    def build(self, problem: Problem, keep: Path) -> tuple[ClientApp, Strategy]:
        from ddcore_federated.flower import Refined, averaging, training_client

        agreed(problem.network, problem.card)
        own = {"seed": problem.seed, "device": problem.device}
        app = training_client(problem.shards, problem.network, self.fit, preprocess=problem.preprocess, **own)
        strategy = averaging(self.algorithm, problem.waits_for, mu=self.mu, lr=self.lr)
        if self.refined is not None:
            strategy = Refined(
                strategy,
                self.refined,
                problem.card,
                problem.network,
                keep,
                problem.host,
                preprocess=problem.preprocess,
                **own,
            )
        return app, strategy


def _usual() -> tuple[Exchange, ...]:
    return (Averaging(), Distilling())


@dataclass(frozen=True)
class Federated(dd.Study):
    """Federated learning: each exchange with each seed, on one split of the data among clients.

    Told are the accuracy of the global model on the test split and the worst client's, of test items mixed as its
    classes are; bytes up and down over all clients; the bytes up at which the accuracy that the first averaging
    exchange ends with was first reached; seconds; and the largest epsilon that a client says it has spent. The split
    is saved in ``split-<seed>.json``. Rounds are kept in ``runs/``, so the same command goes on at the last.
    """

    data: dd.DataSet = field(default_factory=dd.Digits)
    split: Split = field(default_factory=Dirichlet)
    clients: int = 10
    fraction: float = 1.0
    """Of the clients that take part in a round; drawn anew for each, the same for all exchanges."""
    rounds: int = 5
    network: dd.NetworkPlan = field(default_factory=lambda: dd.ConvNet(width=32))
    preprocess: dd.Preprocess = field(default_factory=dd.Standardise)
    exchanges: tuple[Exchange, ...] = field(default_factory=_usual)
    seeds: tuple[int, ...] = (0,)
    engine: Literal["process", "ray"] = "process"
    cores: int | None = None
    """On how many cores clients run side by side under Ray, None for all."""
    timeout: float = 3600.0
    """Seconds that a round waits for its clients."""

    def faults(self) -> Iterator[str]:
        if not self.exchanges or not self.seeds or min(self.clients, self.rounds) < 1:
            yield ("The study needs at least one exchange, seed, client and round.")
        if len(set(self.seeds)) < len(self.seeds):
            yield (f"seeds = {self.seeds}: one stands there twice, which would count it twice.")
        for exchange in self.exchanges:
            rounds = exchange.rounds or self.rounds
            if isinstance(exchange, Averaging) and exchange.refined and exchange.refined.rounds >= rounds:
                yield (
                    f"{exchange.label}: refined.rounds = {exchange.refined.rounds} of {rounds} rounds leave none for"
                    " the set that is made of them: fewer of these, or more rounds."
                )
        if not 0 < self.fraction <= 1:
            yield (f"fraction = {self.fraction}: it must be above zero and at most one.")
        if len({_folder(e.label) for e in self.exchanges}) < len(self.exchanges):
            yield ("Two exchanges have one name: give them titles, to be told apart by.")

    def conduct(self, folder: Path, host: dd.Host, device: str, progress: dd.Progress | None) -> dd.Finding:
        for exchange in self.exchanges:
            exchange.build(self._problem(self.seeds[0], device, host), folder)
        runs = [(exchange, seed) for seed in self.seeds for exchange in self.exchanges]
        found: dict[str, list[list[dict[str, Any]]]] = {exchange.label: [] for exchange in self.exchanges}
        for done, (exchange, seed) in enumerate(runs):
            problem = self._problem(seed, device, host)
            self._save_split(problem.shards, folder / f"split-{seed}.json")
            rounds = exchange.rounds or self.rounds

            def said(what: str, at: int, of: int, done: int = done, exchange: Exchange = exchange) -> None:
                if progress:
                    progress(f"{exchange.label}, run {done + 1} of {len(runs)}: {what}", at, of)

            place = folder / "runs" / f"{_folder(exchange.label)}-{seed}"
            found[exchange.label].append(self._run(exchange, problem, rounds, place, said))
        target = next((e.label for e in self.exchanges if isinstance(e, Averaging)), None)
        told = [{"exchange": label, **summary(of, found.get(target or "", []))} for label, of in found.items()]
        _plot(told, "up", 1e6, "MB up, over all clients", folder / "bytes.png")
        _plot(told, "round", 1, "rounds", folder / "rounds.png")
        return dd.Finding(*_table(told), {"exchanges": told}, _says(told, target))

    def _problem(self, seed: int, device: str, host: dd.Host) -> Problem:
        shards = Shards(self.data, self.split, seed)
        return Problem(shards, self.network, self.preprocess, self.clients, self.fraction, seed, device, host)

    def _save_split(self, shards: Shards, path: Path) -> None:
        if not path.exists():
            rows = [rows.tolist() for rows in shards.rows(self.clients)]
            split = {"items": shards.histogram(self.clients).tolist(), "rows": rows}
            dd.write_whole(path, json.dumps(split).encode())

    def _run(
        self, exchange: Exchange, problem: Problem, rounds: int, place: Path, progress: dd.Progress
    ) -> list[dict[str, Any]]:
        from ddcore_federated.flower import Sampled, central, go, simulate, told_so_far

        kept = place / "rounds.safetensors"
        if len(done := told_so_far(kept)) > rounds:
            return done
        app, strategy = exchange.build(problem, place / "clients")
        if self.fraction < 1:
            strategy = Sampled(strategy, self.fraction, self.clients, problem.seed)
        data = loaded(problem.shards.data)
        network, _ = agreed(problem.network, data.card)
        start, _ = network.init(dd.Streams(problem.seed)["network"])
        test = dd.Preprocessed(data.test, public(problem.preprocess, data.card))
        score = central(network, test, problem.shards.histogram(problem.clients))
        return simulate(
            lambda grid: go(strategy, grid, start, rounds, kept, score, timeout=self.timeout, progress=progress),
            app,
            problem.clients,
            self.engine,
            cores=self.cores,
            progress=progress,
        )


def _folder(label: str) -> str:
    """The name of a run's folder, without its seed."""
    return re.sub(r"[^\w.+-]", "_", label.replace(", ", "-"))


def summary(courses: list[list[dict[str, Any]]], baseline: list[list[dict[str, Any]]]) -> dict[str, Any]:
    """Numbers over the seeds; ``reached`` are the bytes up at which a course had the accuracy that the baseline of its
    seed ends with, None where it never had."""
    last = [course[-1] for course in courses]
    reached = [_reached(course, other[-1]["accuracy"]) for course, other in zip(courses, baseline, strict=False)]
    epsilons = [entry["epsilon"] for course in courses for entry in course if "epsilon" in entry]
    largest = "infinite" if "infinite" in epsilons else max(epsilons, default=None)
    return {
        "rounds": last[0]["round"],
        "accuracy": dd.spread([entry["accuracy"] for entry in last]),
        "worst": dd.spread([entry["worst"] for entry in last]),
        "up": fmean(entry["up"] for entry in last),
        "down": fmean(entry["down"] for entry in last),
        "reached": reached,
        "seconds": fmean(sum(entry["seconds"] for entry in course) for course in courses),
        "epsilon": largest,
        "refused": sum(len(entry.get("refused", ())) for course in courses for entry in course),
        "courses": courses,
    }


def _reached(course: list[dict[str, Any]], accuracy: float) -> int | None:
    return next((entry["up"] for entry in course if entry["accuracy"] >= accuracy), None)


def _megabytes(count: float) -> str:
    return f"{count / 1e6:.2f}"


def _table(told: list[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    head = ["exchange", "rounds", "accuracy", "worst client", "MB up", "MB down", "MB up to the baseline", "seconds"]
    rows = []
    for t in told:
        reached = [value for value in t["reached"] if value is not None]
        way = _megabytes(fmean(reached)) if len(reached) == len(t["reached"]) and reached else "not reached"
        if 0 < len(reached) < len(t["reached"]):
            way = f"{_megabytes(fmean(reached))} in {len(reached)} of {len(t['reached'])}"
        amounts = [_megabytes(t["up"]), _megabytes(t["down"]), way if t["reached"] else "", f"{t['seconds']:.0f}"]
        accuracies = [dd.plus_minus(**t[name]) for name in ("accuracy", "worst")]
        rows.append([t["exchange"], str(t["rounds"]), *accuracies, *amounts])
        epsilon = t["epsilon"]
        rows[-1].append("" if epsilon is None else epsilon if isinstance(epsilon, str) else f"{epsilon:.3g}")
        rows[-1].append(str(t["refused"]))
    return [*head, "epsilon", "refused"], rows


def _says(told: list[dict[str, Any]], baseline: str | None) -> str:
    n = told[0]["accuracy"]["n"]
    says = (
        f"Test accuracy of the global model in percent, ± over {n} seed{'s' if n > 1 else ''}; the worst client's is"
        " of test items mixed as its classes are. Megabytes are payload over all clients and rounds, as Flower counts;"
    )
    if baseline is not None:
        says += f" those to the baseline are up to the first round with the accuracy that {baseline} ends with;"
    says += " epsilon is the largest of any client, refused the replies that were left out."
    entries = [entry for t in told for course in t["courses"] for entry in course]
    for what, reasons in (
        ("Left out", {why for entry in entries for why in entry.get("refused", ())}),
        ("Rounds without an effect", {entry["failed"] for entry in entries if "failed" in entry}),
    ):
        if reasons:
            says += f"\n\n{what}, for example: " + " ".join(sorted(reasons)[:3])
    return says


MARKERS = "osD^vP*Xh<>"


def _plot(told: list[dict[str, Any]], along: str, unit: float, label: str, path: Path) -> None:
    figure = Figure(figsize=(6.4, 4.4), dpi=120, layout="constrained")
    axes = figure.subplots()
    for t, marker in zip(told, cycle(MARKERS), strict=False):
        xs, ys = [], []
        for entries in list(zip(*t["courses"], strict=True))[1:]:
            xs.append(fmean(entry[along] for entry in entries) / unit)
            ys.append(dd.spread([entry["accuracy"] for entry in entries]))
        means, stds = ([y[name] for y in ys] for name in ("mean", "std"))
        axes.errorbar(xs, means, stds, marker=marker, fillstyle="none", capsize=2, label=t["exchange"])
    axes.set(xlabel=label, ylabel="test accuracy (%)")
    axes.xaxis.get_major_locator().set_params(integer=unit == 1)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7)
    dd.replaced_whole(path, lambda temporary: figure.savefig(temporary, format="png"))
