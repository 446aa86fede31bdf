"""DM, DC and DSA on MNIST, ConvNet-3 of width 128, at 1 and 10 images per class: short runs that fit two cores.

Shows that the published network and data run in little memory; the accuracies are of short settings, not of the
published ones (1 000 to 20 000 iterations). Needs the MNIST files below --root (MNIST/raw, packed or not).

    python scenarios/mnist.py --root data            # about 25 minutes on two cores
    python scenarios/mnist.py --root data --smoke    # two steps, tiny networks: a minute

Seen, one thread of a two-core machine, two networks, protocol quick (accuracy in percent, mean ± std over networks):

    ipc 1   random 60.3 ± 1.0, herding 82.1 ± 0.4
            dm  86.4 ± 0.4   40 steps, 86 s, peak 1094 MiB
            dc  56.9 ± 0.7   15 steps from noise, 85 s, peak 1094 MiB
            dsa 77.3 ± 1.0   15 steps, 88 s, peak 1094 MiB
    ipc 10  random 94.0 ± 0.3, herding 94.8 ± 0.1, whole 97.9 ± 0.2 (250 steps of training)
            dm  95.2 ± 0.2   40 steps, 93 s, peak 1278 MiB
            dc  49.6 ± 0.4   6 steps from noise, 136 s, peak 1309 MiB
            dsa 94.6 ± 0.3   6 steps, 142 s, peak 1341 MiB
"""

import argparse
import csv
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import ClassVar

import ddcore

ITERATIONS = {("dm", 1): 40, ("dc", 1): 15, ("dsa", 1): 15, ("dm", 10): 40, ("dc", 10): 6, ("dsa", 10): 6}


@dataclass(frozen=True)
class Short(ddcore.Experiments):
    """Each method at each number of images per class, in few steps."""

    chooses: ClassVar[frozenset[str]] = frozenset({"methods", "ipcs"})

    data: ddcore.DataSet
    methods: tuple[str, ...] = ("dm", "dc", "dsa")
    ipcs: tuple[int, ...] = (1, 10)
    smoke: bool = False

    def experiments(self, host: ddcore.Host) -> list[ddcore.Experiment]:
        found = []
        small = {"network.width": 8, "objective.real": 8} if self.smoke else {}
        for ipc, method in product(self.ipcs, self.methods):
            iterations = 2 if self.smoke else ITERATIONS[method, ipc]
            recipe = host.recipe(method, ipc=ipc, iterations=iterations, overrides=small)
            found.append(ddcore.Experiment(recipe, self.settings(recipe)))
        return found

    def settings(self, recipe: ddcore.Recipe) -> ddcore.Settings:
        """The protocol quick with two networks; baselines beside the first method of each ipc, whole beside one."""
        baselines = {"dm": ("random", "herding", *(["whole"] if recipe.ipc == 10 else []))}.get(recipe.name, ())
        protocol = ddcore.protocol("quick", repeats=2, networks=(recipe.network,))
        if self.smoke:
            protocol, baselines = replace(protocol, steps=3, repeats=1), baselines[:1]
        return ddcore.Settings(self.data, protocol, baselines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", default="data", help="the folder that holds MNIST/raw")
    parser.add_argument("--out", default="runs/mnist-short", help="where the runs go")
    parser.add_argument("--methods", nargs="+", default=["dm", "dc", "dsa"], help="which methods")
    parser.add_argument("--ipc", nargs="+", type=int, default=[1, 10], help="images per class")
    parser.add_argument("--smoke", action="store_true", help="two steps on tiny networks")
    options = parser.parse_args()
    data = ddcore.plugin.data_set(ddcore.Host().catalogue, "mnist", root=options.root)
    plan = Short(data, tuple(options.methods), tuple(options.ipc), options.smoke)
    with ddcore.progress() as told:
        print(ddcore.run_study(plan, options.out, progress=told))
    for line in csv.DictReader((Path(options.out) / "finding.csv").read_text().splitlines()):
        print(f"{line['method']} ipc {line['ipc']}: {line['peak_mib']} MiB at the peak")


if __name__ == "__main__":
    ddcore.plugin.program(main)
