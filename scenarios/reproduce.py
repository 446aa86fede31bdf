"""Seven methods at their papers' settings on MNIST and FashionMNIST, and how long each of them would take here.

Shows, with --plan, the time and memory of each run from a few of its steps, and without it the accuracy beside what the
paper reports, by the paper's protocol: a ConvNet-3 of width 128, five networks. Where a method differs from its paper
stands under Differs in its docstring: FRePo and RFAD take Adam, and KFS, of which nothing but the paper is public,
has DM's length. Needs the files below --root (MNIST/raw and FashionMNIST/raw, packed or not).

    python scenarios/reproduce.py --root data --plan                             # an hour or less: a few steps of each
    python scenarios/reproduce.py --root data --methods dm --ipc 1 --device cuda
    python scenarios/reproduce.py --root data --smoke                            # two steps on tiny networks: minutes

Seen, by --plan alone (FashionMNIST, one image per class, one thread of a machine of two that did two other things, so
that a quiet one takes a half to a third; hours of distilling, and with experts, teachers and evaluation):

    dm       20 000 iterations      39.8 h      39.9 h
    dsa       1 000                  6.1 h       6.3 h
    mtt       5 000                 32.8 h     792.0 h, nearly all of it for 100 experts of 50 epochs
    frepo   500 000                440.8 h     441.0 h
    rfad    100 000               4451.3 h    4451.5 h; its authors stop where S no longer gets better
    kfs      20 000                 38.8 h      40.7 h

On a GPU, an H200 that did three other things, --plan tells 0.3 h of kfs, 3.7 h of mtt (1.4 h of it distilling) and 7.1
h of frepo at one image per class of FashionMNIST. dsa was run to its end there in four minutes, and has its paper's
accuracy; what it and dm have reached is in scenarios/reached.py. None of the others was run. What minutes reach instead
is in scenarios/published.py: of MTT, 72.1 ± 0.6 where its paper has 75.1. Nothing was measured of RTP.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, ClassVar

import ddcore
from ddcore import plugin as dd

CONSTANT = {"update.schedule": "constant"}
SETTINGS: dict[str, dict[str, Any]] = {
    "dm": {"iterations": 20_000, "objective.real": 256, "update.lr.inputs": 1.0} | CONSTANT,
    "dsa": {"update.lr.inputs": 0.1} | CONSTANT,
    "mtt": {"iterations": 5000, "preprocess": "zca", "policy.experts": 100}
    | {f"policy.fit.{name}": value for name, value in {"batch": 256, "epochs": 50, "snapshots": 50}.items()},
    "frepo": {"iterations": 500_000, "objective.real": 1024, "policy.lr": 3e-4, "preprocess": "zca"}
    | {f"update.lr.{name}": 3e-4 for name in ("inputs", "labels")}
    | CONSTANT,
    "rfad": {"iterations": 100_000, "objective.real": 5120, "preprocess": "zca"}
    | {f"update.lr.{name}": 1e-3 for name in ("inputs", "labels", "temperature")}
    | CONSTANT,
    "kfs": {"iterations": 20_000, "objective.real": 256},
    "rtp": {"iterations": 500_000, "update.optimiser": {"name": "sgd", "momentum": 0.5}}
    | {f"objective.{name}": value for name, value in {"steps": 150, "lr": 0.01, "batch": 32, "real": 640}.items()}
    | {"objective.window": "none", "update.lr.inputs": 0.1, "update.lr.bases": 0.1}
    | CONSTANT,
}
BY_IPC: dict[str, dict[int, dict[str, Any]]] = {
    "dsa": {1: {"iterations": 1000}, 10: {"iterations": 10_000}},
    "mtt": {1: {"objective.steps": 50, "policy.last": 1}, 10: {"objective.steps": 30, "policy.last": 19}},
    "rtp": {1: {"synthetic.bases": 16}},
}
FEW = {"policy.experts": 1, "policy.fit.epochs": "none", "policy.fit.steps": 50, "objective.steps": 5}
PROTOCOLS = {"mtt": "mtt", "frepo": "frepo", "rfad": "frepo", "rtp": "rtp"}
"""By which protocol a set is evaluated, the others by ``dsa``."""


@dataclass(frozen=True)
class Reproduction(ddcore.Experiments):
    """Each method at each number of images per class on each data set, as published."""

    beside_published: ClassVar[bool] = True
    chooses: ClassVar[frozenset[str]] = frozenset({"data", "methods", "ipcs"})

    data: tuple[ddcore.DataSet, ...]
    methods: tuple[str, ...] = tuple(SETTINGS)
    ipcs: tuple[int, ...] = (1, 10)
    experts: str = "runs/reproduce/experts"
    """The folder where trained experts are kept."""
    smoke: bool = False

    def experiments(self, host: ddcore.Host) -> list[ddcore.Experiment]:
        network = ddcore.ConvNet(width=4 if self.smoke else 128)
        found = []
        for data, ipc, method in product(self.data, self.ipcs, self.methods):
            changes = {**SETTINGS[method], **BY_IPC.get(method, {}).get(ipc, {})}
            if method == "mtt":
                changes["policy.store"] = self.experts
            protocol = host.protocol(PROTOCOLS.get(method, "dsa"), networks=(network,), repeats=5)
            if self.smoke:
                changes |= {"iterations": 2, "network.width": 4} | (FEW if method == "mtt" else {})
                protocol = replace(protocol, epochs=None, steps=3, repeats=1)
            recipe = replace(host.recipe(method, ipc=ipc, overrides=changes), network=network)
            found.append(ddcore.Experiment(recipe, ddcore.Settings(data, protocol, ())))
        return found


def plans(study: Reproduction, device: str) -> Iterator[str]:
    """A line for each run: how long it takes and the memory that it needs."""
    for experiment in study.experiments(ddcore.Host()):
        data, recipe = experiment.settings.data.part_name(), experiment.recipe
        told = dd.forecast(experiment, device=device, seconds=600)
        of_steps = next(stage.seconds for stage in told.stages if stage.name == "distilling")
        yield (
            f"    {data:8} ipc {recipe.ipc:<3} {recipe.name:6} {recipe.iterations:>7} iterations"
            f" {of_steps / 3600:8.1f} h, {told.seconds / 3600:8.1f} h in all, {told.peak_mib:6.0f} MiB"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", default="data", help="the folder that holds MNIST/raw and FashionMNIST/raw")
    parser.add_argument("--out", default="runs/reproduce", help="where the runs and the table go")
    parser.add_argument("--data", nargs="+", default=["mnist", "fashion"], choices=["mnist", "fashion"], help="which")
    parser.add_argument("--ipc", nargs="+", type=int, default=[1, 10], help="images per class")
    parser.add_argument("--methods", nargs="+", default=list(SETTINGS), choices=list(SETTINGS), help="which methods")
    parser.add_argument("--device", default="cpu", help="cpu, or cuda")
    parser.add_argument("--plan", action="store_true", help="say how long it would take, and run a few steps alone")
    parser.add_argument("--smoke", action="store_true", help="two steps on tiny networks")
    parser.add_argument("--jobs", type=int, default=1, help="cases side by side, each in a process; some fit one GPU")
    options = parser.parse_args()
    if options.smoke:
        options.out, options.data, options.ipc = f"{options.out}-smoke", options.data[:1], options.ipc[:1]
    host = ddcore.Host()
    sets = tuple(dd.data_set(host.catalogue, name, root=options.root) for name in options.data)
    experts = str(Path(options.out) / "experts")
    study = Reproduction(sets, tuple(options.methods), tuple(options.ipc), experts, options.smoke)
    if options.plan:
        for line in plans(study, options.device):
            print(line, flush=True)
        return
    engine = dd.Local() if options.jobs == 1 else dd.Loky(options.jobs)
    with ddcore.progress() as told:
        print(ddcore.run_study(study, options.out, device=options.device, progress=told, engine=engine))


if __name__ == "__main__":
    dd.program(main)
