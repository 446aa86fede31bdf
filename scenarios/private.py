"""Accuracy against epsilon on MNIST: psg, ndpdc and dosser beside DP-SGD and the same matching without a guard.

Shows what privacy costs a distilled set at 10 images per class, and what a private network of equal epsilon reaches.
Needs the plugin private and the MNIST files below --root (MNIST/raw, packed or not). delta is 1e-5.

    python scenarios/private.py --root data            # about 120 minutes on two cores; it goes on where it stopped
    python scenarios/private.py --root data --smoke    # two steps, tiny networks: a minute

Seen (test accuracy in percent ± over three networks of 500 steps, ConvNet-3 of width 64, seed 0):

    epsilon     1               10
    dosser      94.2 ± 0.4      95.1 ± 0.4 (seed 1: 94.6 ± 0.4)
    ndpdc       89.1 ± 0.1      90.4 ± 0.5
    psg         not run         67.1 ± 1.2
    DP-SGD      96.8            98.3
    not private: the matching of ndpdc 90.8 ± 0.4, random 94.3 ± 0.2, herding 96.0 ± 0.2

DP-SGD is a network of width 32, not a set. psg makes 400 requests here; the published run makes 100 000.
"""

import argparse
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import ClassVar

from ddcore_private import DpSgd

import ddcore

METHODS = ("dosser", "ndpdc", "psg")
ITERATIONS = {"dosser": 1000, "ndpdc": 200, "psg": 400, "dm": 200}
OVERRIDES = {
    "dosser": {"plugins.private.signals": 50, "objective.real": 2000},
    "ndpdc": {"objective.real": 500},
}


@dataclass(frozen=True)
class Private(ddcore.Study):
    """Each method at each epsilon with each seed; ``dp_sgd`` is a network, ``dm`` is not private."""

    chooses: ClassVar[frozenset[str]] = frozenset({"methods", "epsilons", "seeds"})

    data: ddcore.DataSet
    methods: tuple[str, ...]
    epsilons: tuple[float, ...]
    seeds: tuple[int, ...]
    smoke: bool

    def cases(self, host: ddcore.Host) -> list[ddcore.Case]:
        control = DpSgd(epochs=1, width=4) if self.smoke else DpSgd(epochs=5, batch=512, width=32)
        found = []
        for seed, method in product(self.seeds, self.methods):
            for epsilon in self.epsilons if method != "dm" else (None,):
                label = method if epsilon is None else f"{method}, epsilon {epsilon:g}"
                about = {"dp_sgd": control} if method == "dp_sgd" else {"recipe": self.recipe(method, epsilon)}
                found.append(ddcore.Case(label, seed, {"method": method, "epsilon": epsilon, **about}))
        return found

    def recipe(self, method: str, epsilon: float | None) -> ddcore.Recipe:
        """``method`` at ``epsilon``; None for the matching of ndpdc through the open gate."""
        name = method if epsilon is not None else "ndpdc"
        overrides = {"network.width": 64, **OVERRIDES.get(name, {})}
        if epsilon is not None:
            overrides["plugins.private.epsilon"] = epsilon
        if self.smoke:
            overrides |= {"network.width": 4, "objective.real": 8}
        made = ddcore.recipe(name, ipc=10, iterations=2 if self.smoke else ITERATIONS[method], overrides=overrides)
        return made if epsilon is not None else replace(made, name=method, plugins={})

    def run(self, case: ddcore.Case, folder: Path, host: ddcore.Host, device: str, progress) -> dict:
        about = case.description
        measure = self.distilled if "recipe" in about else self.trained
        return {"method": about["method"], "epsilon": about["epsilon"], **measure(case, folder, host, device, progress)}

    def distilled(self, case: ddcore.Case, folder: Path, host: ddcore.Host, device: str, progress) -> dict:
        protocol = ddcore.protocol("quick", steps=500, repeats=3, networks=(ddcore.ConvNet(width=64),))
        if self.smoke:
            protocol = replace(protocol, steps=3, repeats=1, networks=(ddcore.ConvNet(width=4),))
        private = case.description["epsilon"] is not None
        settings = ddcore.Settings(self.data, protocol, () if private or self.smoke else ("random", "herding"))
        experiment = ddcore.Experiment(replace(case.description["recipe"], seed=case.seed), settings)
        metrics = ddcore.run_or_resume(experiment, folder, host=host, device=device, progress=progress)
        found = ddcore.plugin.numbers_of(metrics)
        score = found["scores"]["accuracy"]["convnet"]
        return {
            "accuracy": score["mean"],
            "std_nets": score["std"],
            "spent": found["facts"]["privacy"]["epsilon"] if private else None,
            "seconds": found["seconds"]["distilling"],
            "baselines": {name: scores["accuracy"]["convnet"]["mean"] for name, scores in found["baselines"].items()},
        }

    def trained(self, case: ddcore.Case, folder: Path, host: ddcore.Host, device: str, progress) -> dict:
        """A network that opacus trains."""
        plan, epsilon = case.description["dp_sgd"], case.description["epsilon"]
        data, items = ddcore.plugin.loaded(self.data), 2000 if self.smoke else None
        accuracy, spent = plan.scored(data, epsilon, 1e-5, case.seed, items=items, progress=progress)
        return {"accuracy": accuracy, "spent": spent, "baselines": {}}

    def summarise(self, found: Sequence[ddcore.Found]) -> ddcore.Finding:
        """A table over the seeds, and the plot: accuracy against epsilon, bars over seeds."""
        points = defaultdict(list)
        for alike in ddcore.plugin.over_seeds(found):
            numbers = [one.numbers for one in alike]
            first = numbers[0]
            points[first["method"]].append((first["epsilon"], [n["accuracy"] for n in numbers]))
            for name in first["baselines"]:
                points[name].append((None, [n["baselines"][name] for n in numbers]))
        told = {method: [(e, ddcore.plugin.spread(v)) for e, v in values] for method, values in points.items()}
        rows = [
            [method, "not private" if epsilon is None else f"{epsilon:g}", ddcore.plugin.plus_minus(**accuracy)]
            for method, values in told.items()
            for epsilon, accuracy in values
        ]
        lines = [line(method, values) for method, values in told.items()]
        panel = ddcore.plots.Panel(lines, "MNIST, 10 images per class", "x")
        plot = ddcore.plots.Plot("private", "epsilon (delta 1e-5)", "test accuracy (%)", [[panel]])
        return ddcore.Finding(["method", "epsilon", "accuracy ± seeds"], rows, {"methods": told}, plots=(plot,))


def line(method: str, values: list[tuple[float | None, dict]]) -> ddcore.plots.Line:
    if values[0][0] is None:
        return ddcore.plots.Line(f"{method}, not private", [values[0][1]["mean"]], reference=True)
    epsilons, accuracies = zip(*values, strict=True)
    return ddcore.plots.Line(method, [a["mean"] for a in accuracies], epsilons, [a["std"] for a in accuracies])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", default="data", help="the folder that holds MNIST/raw")
    parser.add_argument("--out", default="runs/private", help="where the runs, the table and the plot go")
    parser.add_argument("--methods", nargs="*", default=["dosser", "ndpdc", "psg", "dp_sgd", "dm"], help="which ones")
    parser.add_argument("--epsilon", nargs="+", type=float, default=[1.0, 10.0], help="budgets")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="seeds")
    parser.add_argument("--smoke", action="store_true", help="two steps on tiny networks")
    options = parser.parse_args()
    if options.smoke:
        options.out += "-smoke"
    data = ddcore.plugin.data_set(ddcore.Host().catalogue, "mnist", root=options.root)
    plan = Private(data, tuple(options.methods), tuple(options.epsilon), tuple(options.seeds), options.smoke)
    with ddcore.progress() as told:
        print(ddcore.run_study(plan, options.out, progress=told))


if __name__ == "__main__":
    ddcore.plugin.program(main)
