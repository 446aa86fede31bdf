"""Every method of the core on the embedded digits at one image per class, beside random, herding and the whole set.

Shows what each method makes of equal bytes in minutes on a laptop, with the deviations over networks and over seeds
apart. Needs nothing but the installation.

    python scenarios/digits.py            # two minutes per method and seed on one core; it goes on where it stopped
    python scenarios/digits.py --methods dm dc --seeds 1
    python scenarios/digits.py --smoke    # two steps each: minutes
    python scenarios/digits.py --record   # afterwards: keep the numbers in results/digits.json

Seen: the table of ddcore/docs/methods.md, which `python -m ddcore.docs.methods` makes of these: three seeds, five
networks each, protocol quick. Random 76.7 ± 1.7 over networks, herding 88.1 ± 1.9, the whole set 98.3 ± 0.3. Methods
that learn images are from 89.7 (sldd) to 96.6 ± 0.5 (kfs), and taught_tiles, whose labels take 1.6 kB more, has 98.6 ±
0.2; rtp has 96.3 ± 0.5, mtt 92.9 ± 1.2, dm 93.1 ± 1.2. Learning the labels alone of herded images brings from -1 (ld)
to 2 points (ld_ridge). By the evaluation that RTP is meant for (`ddcore evaluate FOLDER --protocol rtp`, of each in
runs/digits/cases) it has 96.1 ± 0.4 over three seeds, mtt 87.9 ± 1.0. sre2l, cda, gvbsm and rded stay below herding:
they are made for tens of images per class (scenarios/decoupled.py); edc, which starts from real images, has 90.2 ± 1.2.
"""

import argparse
import json
from pathlib import Path

import ddcore
from ddcore import plugin as dd

RECORD = Path(__file__).resolve().parent / "results" / "digits.json"
CHOSEN = ("random", "herding")
"""Methods that the others stand beside."""


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="runs/digits", help="where the runs and the comparison go")
    parser.add_argument("--methods", nargs="+", default=learned(), help="which methods")
    parser.add_argument("--seeds", type=int, default=3, help="distillations of each")
    parser.add_argument("--jobs", type=int, default=1, help="runs side by side, each in a process on one thread")
    parser.add_argument("--smoke", action="store_true", help="two steps each, one network, one seed")
    parser.add_argument("--record", action="store_true", help="keep the numbers for the table of methods")
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
            recipe = dd.dotted(dd.to_dict(ddcore.recipe(row["method"], ipc=1)))
            record["methods"][row["method"]] = {**recorded(row), "recipe": recipe}
    if options.record and not options.smoke:
        dd.write_whole(RECORD, (json.dumps(record, indent=1) + "\n").encode())


if __name__ == "__main__":
    dd.program(main)
