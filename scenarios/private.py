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
import csv
import io
import json
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from statistics import fmean, stdev

import torch
from ddcore_private import DpSgd
from matplotlib.figure import Figure

import ddcore

IPC = 10
METHODS = ("dosser", "ndpdc", "psg")
ITERATIONS = {"dosser": 1000, "ndpdc": 200, "psg": 400, "dm": 200}
OVERRIDES = {
    "dosser": {"plugins.private.signals": 50, "objective.real": 2000},
    "ndpdc": {"objective.real": 500},
}


def recipe(method: str, epsilon: float | None, seed: int, smoke: bool) -> ddcore.Recipe:
    """``method`` at ``epsilon``; None for the matching of ndpdc through the open gate."""
    name = method if epsilon is not None else "ndpdc"
    overrides = {"network.width": 64, "seed": seed, **OVERRIDES.get(name, {})}
    if epsilon is not None:
        overrides["plugins.private.epsilon"] = epsilon
    if smoke:
        overrides |= {"network.width": 4, "objective.real": 8}
    made = ddcore.recipe(name, ipc=IPC, iterations=2 if smoke else ITERATIONS[method], overrides=overrides)
    return made if epsilon is not None else replace(made, name=method, plugins={})


def distilled(method: str, epsilon: float | None, seed: int, options: argparse.Namespace) -> dict:
    """The metrics of one run; finished ones are read, stopped ones go on."""
    folder = Path(options.out) / f"{method}-eps{epsilon}-seed{seed}"
    plan = recipe(method, epsilon, seed, options.smoke)
    protocol = ddcore.protocol("quick", steps=500, repeats=3, networks=(ddcore.ConvNet(width=64),))
    if options.smoke:
        protocol = replace(protocol, steps=3, repeats=1, networks=(ddcore.ConvNet(width=4),))
    baselines = ("random", "herding") if epsilon is None and not options.smoke else ()
    data = ddcore.plugin.data_set(ddcore.Host().catalogue, "mnist", root=options.root)
    return ddcore.run_or_resume(ddcore.Experiment(plan, ddcore.Settings(data, protocol, baselines)), folder)


def dp_sgd(epsilon: float, seed: int, options: argparse.Namespace) -> dict:
    """Test accuracy of a network that opacus trained at ``epsilon``."""
    path = Path(options.out) / f"dp_sgd-eps{epsilon}-seed{seed}.json"
    if not path.exists():
        data = ddcore.load("mnist", root=options.root)
        preprocess = ddcore.Standardise().fitted(data.card).start(data.card, dict)
        rows = torch.arange(2000 if options.smoke else len(data.train))
        inputs, targets = preprocess(data.train.take(rows).inputs), data.train.targets[rows]
        plan = DpSgd(epochs=1, width=4) if options.smoke else DpSgd(epochs=5, batch=512, width=32)
        module, spent = plan.train(inputs, targets, data.card, epsilon, 1e-5, seed)
        test = data.test.take(torch.arange(len(data.test)))
        with torch.no_grad():
            right = torch.cat([module(preprocess(x)).argmax(1) for x in test.inputs.split(500)]) == test.targets
        found = {"accuracy": 100 * float(right.float().mean()), "epsilon": spent}
        ddcore.plugin.write_whole(path, json.dumps(found).encode())
    return json.loads(path.read_text())


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
    rows = []
    for seed in options.seeds:
        for method in options.methods:
            for epsilon in options.epsilon if method != "dm" else [None]:
                if method == "dp_sgd":
                    found = dp_sgd(epsilon, seed, options)
                    row = {"accuracy": found["accuracy"], "std_nets": None, "spent": found["epsilon"], "seconds": None}
                else:
                    found = distilled(method, epsilon, seed, options)
                    score = found["scores"]["accuracy"]["convnet"]
                    row = {
                        "accuracy": score["mean"],
                        "std_nets": score["std"],
                        "seconds": found["seconds"]["distilling"],
                    }
                    row["spent"] = found["facts"]["privacy"]["epsilon"] if epsilon is not None else None
                    for name, scores in found["baselines"].items():
                        base = scores["accuracy"]["convnet"]
                        rows.append({"method": name, "epsilon": None, "seed": seed, "accuracy": base["mean"]})
                rows.append({"method": method, "epsilon": epsilon, "seed": seed, **row})
                print(json.dumps(rows[-1]), flush=True)
    summarise(rows, Path(options.out))


def summarise(rows: list[dict], folder: Path) -> None:
    """A table of all rows, and the plot: accuracy against epsilon, bars over seeds."""
    text = io.StringIO()
    writer = csv.DictWriter(text, ["method", "epsilon", "seed", "accuracy", "std_nets", "spent", "seconds"])
    writer.writeheader()
    writer.writerows(rows)
    ddcore.plugin.write_whole(folder / "private.csv", text.getvalue().encode())
    points = defaultdict(lambda: defaultdict(list))
    for row in rows:
        points[row["method"]][row["epsilon"]].append(row["accuracy"])
    figure = Figure(figsize=(6, 4.2), dpi=120, layout="constrained")
    axes = figure.subplots()
    for method, found in points.items():
        spread = [(e, fmean(v), stdev(v) if len(v) > 1 else 0.0) for e, v in found.items()]
        if None in found:
            axes.axhline(spread[0][1], linestyle=":", color="0.4")
            axes.annotate(
                f"{method}, not private",
                (0.02, spread[0][1]),
                xycoords=("axes fraction", "data"),
                fontsize=8,
                va="bottom",
            )
        else:
            axes.errorbar(*zip(*spread, strict=True), marker="o", capsize=3, label=method)
    axes.set(
        xscale="log", xlabel="epsilon (delta 1e-5)", ylabel="test accuracy (%)", title="MNIST, 10 images per class"
    )
    axes.grid(alpha=0.3)
    axes.legend()
    ddcore.plugin.replaced_whole(folder / "private.png", lambda temporary: figure.savefig(temporary, format="png"))


if __name__ == "__main__":
    main()
