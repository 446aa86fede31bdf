"""The study: what clients exchange with a server, side by side on one split."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ddcore import plugin as dd
from ddcore_federated.around import Around
from ddcore_federated.knowledge import Remembered
from ddcore_federated.payload import Encoding
from ddcore_federated.recipes import usual_server
from ddcore_federated.server import Server
from ddcore_federated.shards import Shards, agreed, public
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
        return dd.loaded(self.shards.data).card


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
    """Clients send their shards distilled; the server trains on the sets."""

    method: str = "feddm"
    """The method that distils."""
    ipc: dd.Count = 10
    """Images per class and client."""
    overrides: dict[str, Any] = field(default_factory=dict)
    """Fields of its recipe, by dotted path: ``plugins.private.epsilon = 8`` makes the clients private."""
    server: Server | None = None
    """What the server does with the sets; None for what goes with the method."""
    encoding: Encoding = "uint8"
    """How images are sent."""
    keeps: dd.Whole = 0
    """Earlier rounds whose sets the server has beside those of the current one."""
    rounds: dd.Count | None = None
    """Its own number of rounds, None for the study's."""
    title: str | None = None
    """Its name in tables and plots, None for one made of what it is."""

    def faults(self) -> Iterator[str]:
        for path in dd.dotted(self.overrides):
            if path.startswith(("network.network", "preprocess")):
                yield f"overrides.{path} cannot be set: network and preprocess are the study's, the same for all"

    def _label(self) -> str:
        how = ", one shot" if self.rounds == 1 else ", sets kept" if self.keeps else ""
        return f"{self.method}, {self.ipc} per class{how}"

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
        problem.host.start(recipe, dd.loaded(problem.shards.data))  # refuses what no client could run
        own: dict[str, Any] = {"seed": problem.seed, "device": problem.device}
        app = distilling_client(problem.shards, recipe, encoding=self.encoding, keep=keep, **own)
        own |= {
            "clients": problem.waits_for,
            "sends_back": isinstance(recipe.synthetic, Remembered),
            "keeps": self.keeps,
            "preprocess": problem.preprocess,
        }
        most = int(recipe.synthetic.ready(problem.card).classes.bincount().max())
        return app, SyntheticUnion(problem.card, problem.network, most, server, **own)


@dataclass(frozen=True)
class Averaging(Exchange):
    """Clients send the weights that training on their shards leads to; the server is one of Flower's strategies."""

    algorithm: Literal["fedavg", "fedprox", "fedadam"] = "fedavg"
    """The strategy."""
    fit: dd.Fit = field(
        default_factory=lambda: dd.Fit(steps=None, epochs=1.0, batch=64, lr=0.01, optimiser=dd.Sgd(momentum=0.9))
    )
    """How each client trains on its shard."""
    mu: dd.Positive = 0.01
    """Weight of FedProx's proximal term."""
    lr: dd.Positive = 0.01
    """The server's learning rate in FedAdam."""
    refined: Dynafed | None = None
    """How the averages are trained on a set that the server distils from the first of them (DynaFed); None for not."""
    rounds: dd.Count | None = None
    """Its own number of rounds, None for the study's."""
    title: str | None = None
    """Its name in tables and plots, None for one made of what it is."""

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

    It reports the accuracy of the global model on the test split and the worst client's, of test items mixed as its
    classes are; bytes up and down over all clients; the bytes up at which the accuracy that the first averaging
    exchange ends with was first reached; seconds; and the largest epsilon that a client reports as spent. Each case
    keeps the split, in ``split.json``, and its rounds, so that it continues at the last one.
    """

    chooses: ClassVar[frozenset[str]] = frozenset({"exchanges", "seeds"})
    several: ClassVar[tuple[str, ...]] = ("exchanges", "seeds")

    data: dd.DataSet = field(default_factory=dd.Digits)
    """The data that the clients hold together."""
    split: Split = field(default_factory=Dirichlet)
    """How items are divided among clients."""
    clients: dd.Count = 10
    """Number of clients."""
    fraction: dd.PositiveShare = 1.0
    """Share of the clients that take part in a round; drawn anew for each, the same for all exchanges."""
    rounds: dd.Count = 5
    """Rounds of each exchange that has no number of its own."""
    network: dd.NetworkPlan = field(default_factory=lambda: dd.ConvNet(width=32))
    """The global model."""
    preprocess: dd.Preprocess = field(default_factory=dd.Standardise)
    """Preprocessing of clients and server alike."""
    exchanges: tuple[Exchange, ...] = field(default_factory=_usual)
    """What is compared, at least one."""
    seeds: tuple[dd.Whole, ...] = (0,)
    """Seeds of split and training, each once, at least one."""
    engine: Literal["process", "ray"] = "process"
    """What runs the clients: this process, one after another, or Ray, several at a time."""
    cores: dd.Count | None = None
    """Cores on which clients run in parallel under Ray, None for all."""
    timeout: dd.Positive = 3600.0
    """Seconds that a round waits for its clients."""

    def faults(self) -> Iterator[str]:
        yield from super().faults()
        if len(set(self.seeds)) < len(self.seeds):
            yield f"seeds = {self.seeds}: name each once, a seed given twice would count twice"
        for exchange in self.exchanges:
            rounds = exchange.rounds or self.rounds
            if isinstance(exchange, Averaging) and exchange.refined and exchange.refined.rounds >= rounds:
                yield (
                    f"{exchange.label}: refined.rounds = {exchange.refined.rounds} of {rounds} rounds leave none for"
                    " the set that is made of them: take fewer of these, or more rounds"
                )
        if len({e.label for e in self.exchanges}) < len(self.exchanges):
            yield "two exchanges have the same name: give them titles"

    def cases(self, host: dd.Host) -> list[dd.Case]:
        problem = self._problem(self.seeds[0], "cpu", host)
        for exchange in self.exchanges:
            exchange.build(problem, Path())
        return [dd.Case(e.label, seed, {"exchange": e}) for seed in self.seeds for e in self.exchanges]

    def run(
        self, case: dd.Case, folder: Path, host: dd.Host, device: str, progress: dd.Progress | None
    ) -> dict[str, Any]:
        """What there is to say of each round."""
        from ddcore_federated.flower import Sampled, central, go, simulate, told_so_far

        exchange, problem = case.description["exchange"], self._problem(case.seed or 0, device, host)
        histogram = problem.shards.histogram(self.clients)
        split = {"items": histogram.tolist(), "rows": [rows.tolist() for rows in problem.shards.rows(self.clients)]}
        dd.write_whole(folder / "split.json", json.dumps(split).encode())
        rounds, kept = exchange.rounds or self.rounds, folder / "rounds.safetensors"
        if len(done := told_so_far(kept)) > rounds:
            return {"rounds": done}
        app, strategy = exchange.build(problem, folder / "clients")
        if self.fraction < 1:
            strategy = Sampled(strategy, self.fraction, self.clients, problem.seed)
        data = dd.loaded(self.data)
        network, _ = agreed(problem.network, data.card)
        start, _ = network.init(dd.Streams(problem.seed)["network"])
        test = dd.Preprocessed(data.test, public(problem.preprocess, data.card))
        score = central(network, test, histogram)
        done = simulate(
            lambda grid: go(strategy, grid, start, rounds, kept, score, timeout=self.timeout, progress=progress),
            app,
            problem.clients,
            self.engine,
            cores=self.cores,
            progress=progress,
        )
        return {"rounds": done}

    def summarise(self, found: Sequence[dd.Found]) -> dd.Finding:
        groups = dd.over_seeds(found)
        courses = {alike[0].case.label: [one.numbers["rounds"] for one in alike] for alike in groups}
        target = next((e.label for e in self.exchanges if isinstance(e, Averaging)), None)
        told = [{"exchange": label, **summary(of, courses.get(target or "", []))} for label, of in courses.items()]
        plots = (
            _plot("bytes", told, "up", 1e6, "MB up, over all clients"),
            _plot("rounds", told, "round", 1, "rounds"),
        )
        return dd.Finding(*_table(told), {"exchanges": told}, _says(told, target), plots)

    def _problem(self, seed: int, device: str, host: dd.Host) -> Problem:
        shards = Shards(self.data, self.split, seed)
        return Problem(shards, self.network, self.preprocess, self.clients, self.fraction, seed, device, host)


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
        ("Warnings", {sentence for entry in entries for sentence in entry.get("warnings", ())}),
        ("Rounds without an effect", {entry["failed"] for entry in entries if "failed" in entry}),
    ):
        if reasons:
            says += f"\n\n{what}, for example: " + " ".join(sorted(reasons)[:3])
    return says


def _plot(name: str, told: list[dict[str, Any]], along: str, unit: float, label: str) -> dd.Plot:
    lines = []
    for t in told:
        rounds = list(zip(*t["courses"], strict=True))[1:]
        accuracies = [dd.spread([entry["accuracy"] for entry in entries]) for entries in rounds]
        means, stds = ([accuracy[which] for accuracy in accuracies] for which in ("mean", "std"))
        x = [fmean(entry[along] for entry in entries) / unit for entries in rounds]
        lines.append(dd.Line(t["exchange"], means, x, stds))
    return dd.Plot(name, label, "test accuracy (%)", [[dd.Panel(lines)]])
