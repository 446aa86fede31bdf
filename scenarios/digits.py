"""Every method of the core on the embedded digits at one image per class, beside random, herding and the whole set.

Shows what each method makes of equal bytes in minutes on a laptop, with the deviations over networks and over seeds
apart. Needs nothing but the installation.

    python scenarios/digits.py            # about two minutes a method and seed on one core; it goes on where it stopped
    python scenarios/digits.py --methods dm dc --seeds 1
    python scenarios/digits.py --smoke    # two steps each: minutes
    python scenarios/digits.py --record   # afterwards: keep the numbers in results/, make the table and picture

Seen: the table of ddcore/docs/methods.md, which is made from results/digits.json: three seeds, five networks each,
protocol quick. Random 76.7 ± 1.7 over networks, herding 87.2 ± 1.8, the whole set 98.3 ± 0.3. Methods that learn images
are from 89.7 (sldd) to 96.8 ± 0.5 (kfs), and taught_tiles, whose labels take 1.6 kB more, has 98.6 ± 0.2; rtp has
96.3 ± 0.5, mtt 92.9 ± 1.2, dm 93.1 ± 1.2. Learning the labels alone of herded images brings 0 (ld) to 3 points
(ld_ridge). By the evaluation that RTP is meant for (`ddcore evaluate FOLDER --protocol rtp`, of each in
runs/digits/cases) it has 96.1 ± 0.4 over three seeds, mtt 87.9 ± 1.0. sre2l, cda, gvbsm and rded stay below herding:
they are made for tens of images a class (scenarios/decoupled.py). edc, which starts from real images, has 90.2 ± 1.2.
gvbsm and edc ran on a machine four times as busy: their seconds are that much too high beside the others'.
"""

import argparse
import json
import re
import tomllib
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

import ddcore

HERE = Path(__file__).resolve().parent
RECORD, PAGE = HERE / "results" / "digits.json", HERE.parent / "ddcore" / "docs" / "methods.md"
START, END = "<!-- methods: made by scenarios/digits.py --record -->\n", "<!-- end of methods -->\n"
CHOSEN = ("random", "herding")
PURPOSES = {
    "real images, to compare with": (*CHOSEN, "el2n", "forgetting", "k_center"),
    "many images in the bytes of few": (
        "accdd",
        "d4m",
        "dance",
        "dsdm",
        "fred",
        "gtn",
        "haba",
        "idc",
        "idm",
        "it_gan",
        "kfs",
        "m3d",
        "ncfm",
        "rtp",
        "taught_tiles",
    ),
    "images": ("cafe", "dc", "dcc", "dd", "dm", "dsa", "ftd", "intra_inter", "kip", "mtt", "rat_bptt", "rfad", "tesla"),
    "images and their labels": ("datm", "frepo", "pad", "sldd"),
    "labels of real images": ("ld", "ld_ridge"),
    "tens of images per class, not one": ("cda", "edc", "gvbsm", "rded", "sre2l"),
}
"""What each method of the core learns, or is meant for, in the order of the table."""


def learned() -> list[str]:
    """The core's methods that learn S."""
    listed = ddcore.Host().catalogue.of("method")
    return [entry.name for entry in listed if entry.distribution == "ddcore" and entry.name not in CHOSEN]


def study(methods: list[str], seeds: int, smoke: bool) -> ddcore.Grid:
    """Each method with each seed; the baselines stand beside dm."""
    first = [method for method in methods if method == "dm"]
    return ddcore.Grid(
        methods=(*first, *(method for method in methods if method != "dm")),
        seeds=tuple(range(seeds)),
        iterations=2 if smoke else None,
        protocol=ddcore.Protocol(steps=20, repeats=1) if smoke else ddcore.Protocol(),
        baselines=("random", "herding", "whole") if first and not smoke else (),
    )


def recorded(row: dict) -> dict:
    """What is recorded of a row of the comparison."""
    return {
        "accuracy": row["accuracy"],
        "std_nets": row["accuracy_std_nets"],
        "std_seeds": row["accuracy_std_seeds"],
        "seeds": row["seeds"],
        "seconds": row["seconds"] or 0.0,
        "bytes": row["bytes"],
    }


def recipe_of(method: str) -> dict:
    """The method's own recipe at one image per class, field by field."""
    return ddcore.plugin.dotted(tomllib.loads(ddcore.recipe(method, ipc=1).to_toml()))


def table(record: dict) -> str:
    """The page's table: every method of the core, with what was recorded."""
    rows = [["for", "name", "method", "paper", "digits, ipc 1: accuracy ± nets ± seeds", "bytes", "seconds"]]
    rows.append(["---"] * len(rows[0]))
    catalogue = ddcore.Host().catalogue
    for purpose, name in [(purpose, name) for purpose, names in PURPOSES.items() for name in names]:
        entry = catalogue.find("method", name)
        paper = entry.maker.cites[0]
        surnames = [author.split(",")[0] for author in paper.authors.split(" and ")]
        who = surnames[0] + (" et al." if len(surnames) > 2 else f" and {surnames[1]}" if surnames[1:] else "")
        what = re.split(r"[:.,]", entry.maker.__doc__.strip().splitlines()[0])[0].replace("``", "")
        found = record["methods"].get(entry.name)
        numbers = ["-"] * 3
        if found:
            spread = "" if found["std_seeds"] is None else f" ± {found['std_seeds']:.1f}"
            numbers = [f"{found['accuracy']:.1f} ± {found['std_nets']:.1f}{spread}", str(found["bytes"])]
            numbers.append(f"{found['seconds']:.0f}")
        rows.append([purpose, f"`{entry.name}`", what, f"{who} {paper.year}", *numbers])
    seeds = sorted({found["seeds"] for name, found in record["methods"].items() if name not in CHOSEN})
    return "".join(f"| {' | '.join(row)} |\n" for row in rows) + (
        f"\nTest accuracy in percent, protocol `quick`, five networks each, {' or '.join(map(str, seeds))} seeds."
        " Seconds are of distilling, on one\nthread of a busy two-core machine.\n"
    )


def picture(record: dict) -> Figure:
    """The accuracy of each recorded method, and what it took, the best of each purpose first."""
    figure = Figure(figsize=(9, 7.5), dpi=110, layout="constrained")
    accuracy, seconds = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    names: list[str] = []
    for colour, (purpose, listed) in enumerate(PURPOSES.items()):
        found = {name: record["methods"][name] for name in listed if name in record["methods"]}
        best = sorted(found, key=lambda name: -found[name]["accuracy"])
        rows, look = range(len(names), len(names) + len(best)), {"color": f"C{colour}", "markersize": 5}
        spread = [found[name]["std_seeds"] or 0 for name in best]
        means = [found[name]["accuracy"] for name in best]
        accuracy.errorbar(means, rows, xerr=spread, fmt="o", capsize=2, label=purpose, **look)
        seconds.plot([max(found[name]["seconds"], 1) for name in best], rows, "o", **look)
        names += best
    accuracy.set_yticks(range(len(names)), names)
    accuracy.set_xlabel("test accuracy (%), ± over seeds")
    seconds.set(xscale="log", xlabel="seconds of distilling (those below 1 at 1)")
    accuracy.invert_yaxis()
    for axes in (accuracy, seconds):
        axes.grid(alpha=0.3)
    figure.legend(loc="outside upper center", ncols=3, fontsize=8)
    return figure


def stale(record: dict) -> list[str]:
    """Methods whose recipe is no longer the recorded one, or that were never recorded."""
    recipes = {name: recipe_of(name) for name in learned()}
    missing = [name for name in recipes if name not in record["methods"]]
    changed = [
        name
        for name, found in record["methods"].items()
        if name not in CHOSEN and not held(found["recipe"], recipes[name])
    ]
    return [*missing, *changed]


def held(recorded: Any, now: Any) -> bool:
    """What was recorded is what is there now, but for fields that came later, which begin as if they were not there."""
    if isinstance(recorded, dict) and isinstance(now, dict):
        return recorded.keys() <= now.keys() and all(held(value, now[name]) for name, value in recorded.items())
    if isinstance(recorded, list) and isinstance(now, list):
        return len(recorded) == len(now) and all(held(*pair) for pair in zip(recorded, now, strict=True))
    return recorded == now


def keep(record: dict) -> None:
    """Write the record, and the page's table and picture from it."""
    ddcore.plugin.write_whole(RECORD, (json.dumps(record, indent=1) + "\n").encode())
    before, _, rest = PAGE.read_text().partition(START)
    ddcore.plugin.write_whole(PAGE, f"{before}{START}{table(record)}{END}{rest.partition(END)[2]}".encode())
    ddcore.plugin.save_figure(picture(record), PAGE.with_suffix(".png"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="runs/digits", help="where the runs and the comparison go")
    parser.add_argument("--methods", nargs="+", default=learned(), help="which methods")
    parser.add_argument("--seeds", type=int, default=3, help="distillations of each")
    parser.add_argument("--jobs", type=int, default=1, help="runs side by side, each in a process on one thread")
    parser.add_argument("--smoke", action="store_true", help="two steps each, one network, one seed")
    parser.add_argument("--record", action="store_true", help="keep the numbers and make the table of methods")
    options = parser.parse_args()
    if options.smoke:
        options.out += "-smoke"
    plan = study(options.methods, 1 if options.smoke else options.seeds, options.smoke)
    engine = ddcore.Loky(options.jobs) if options.jobs > 1 else None
    with ddcore.progress() as told:
        finding = ddcore.run_study(plan, options.out, progress=told, engine=engine)
    print(finding)
    record = json.loads(RECORD.read_text()) if RECORD.exists() else {"methods": {}}
    for row in finding.numbers["rows"]:
        if row["method"] in CHOSEN:
            record["methods"][row["method"]] = recorded(row)
        elif row["method"] in plan.methods:
            record["methods"][row["method"]] = {**recorded(row), "recipe": recipe_of(row["method"])}
    if options.record and not options.smoke:
        keep(record)


if __name__ == "__main__":
    ddcore.plugin.program(main)
