"""What each method reaches in so many CPU minutes: FashionMNIST at one and ten images per class.

Shows accuracy against the minutes that a method was given to distil, which is what a user has, in the place of
iterations, of which one of DM takes a hundredth of one of RTP: a ConvNet-3 of width 32 for distilling and for judging,
two networks by the protocol quick, one seed. There are two experts of 400 steps in batches of 64 (of dance and ncfm
200); published are 100 of 50 epochs, which take days. Random and herded images are as many as the bytes of the others
hold in float32, four for one. Needs the files below --root (FashionMNIST/raw, packed or not).

    python scenarios/minutes.py --root data                       # a day on one core; it goes on where it stopped
    python scenarios/minutes.py --root data --minutes 1 --ipc 1   # an hour
    python scenarios/minutes.py --root data --smoke               # tiny networks, a second for each method: a minute
    python scenarios/minutes.py --root data --record              # afterwards: keep the numbers and the picture

Seen, one thread of a two-core machine, one CPU minute at one image per class, accuracy in percent ± over the networks;
all rows, with seconds and iterations, are in results/minutes.json:

    ncfm 74.7 ± 0.8    idm 73.1 ± 0.5     kfs 72.8 ± 0.5    m3d 72.8 ± 0.0     fred 71.5 ± 0.4    dance 71.2 ± 1.7
    dm 70.6 ± 0.5      idc 69.6 ± 1.1     rfad 67.5 ± 1.3   frepo 66.9 ± 1.7   rtp 66.9 ± 0.7     rat_bptt 66.9 ± 0.2
    cafe 64.5 ± 2.5    haba 64.4 ± 2.8    dsa 63.3 ± 0.3    mtt 63.2 ± 0.4     tesla 63.2 ± 0.5   kip 62.9 ± 0.4
    dc 62.5 ± 1.1      edc 61.2 ± 0.3     dsdm 60.1 ± 0.5   sre2l 31.9 ± 1.2   gvbsm 10.0 ± 0.0 (one step)
    random 63.7 ± 0.5  herding 73.1 ± 0.5 (four images each)    whole 88.7 ± 0.2

A minute is over before accdd, it_gan, datm, pad and taught_tiles begin: they train experts, a generator or a teacher.
Only ncfm is above herded images of the same bytes. What 5 and 15 minutes bring, and ten images per class, were not run.
"""

import argparse
import json
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import ddcore
from ddcore import plugin as dd

RECORD = Path(__file__).parent / "results" / "minutes.json"
"""What was run: the command, the versions, and a row for each method, size and budget; the curves lie beside it."""
METHODS = (
    *("dm", "dsa", "dc", "idc", "idm", "cafe", "m3d", "dance", "dsdm", "ncfm", "fred", "accdd", "haba", "kfs"),
    *("it_gan", "mtt", "datm", "tesla", "pad", "frepo", "rfad", "kip", "rtp", "rat_bptt", "sre2l", "gvbsm", "edc"),
    "taught_tiles",
)
FEW = {"policy.experts": 2}
SHORT = {**FEW, "policy.fit.epochs": "none", "policy.fit.steps": 400}
OVERRIDES: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("mtt", "datm", "tesla", "pad"), SHORT),
    **dict.fromkeys(("dance", "ncfm"), FEW),
    "haba": {name.replace("policy", "policy.policy", 1): value for name, value in SHORT.items()},
}
"""Experts that minutes suffice for."""


def study(root: str, ipc: list[int], minutes: list[float], methods: list[str], smoke: bool) -> ddcore.Study:
    width = 4 if smoke else 32
    protocol = ddcore.Protocol(networks=(ddcore.ConvNet(width=width),), repeats=2)
    if smoke:
        protocol = replace(protocol, steps=3, repeats=1)
    catalogue = ddcore.Host().catalogue
    return catalogue.find("study", "table").maker(
        data=(dd.data_set(catalogue, "fashion", root=root),),
        ipc=tuple(ipc),
        methods=tuple(methods),
        seeds=1,
        minutes=tuple(minutes),
        protocol=protocol,
        overrides={**OVERRIDES, "all": {"network.width": width}},
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", default="data", help="the folder that holds FashionMNIST/raw")
    parser.add_argument("--out", default="runs/minutes", help="where the runs, the table and the pictures go")
    parser.add_argument("--ipc", nargs="+", type=int, default=[1, 10], help="images per class")
    parser.add_argument("--minutes", nargs="+", type=float, default=[1, 5, 15], help="of a CPU, for each set")
    parser.add_argument("--methods", nargs="+", default=METHODS, help="which methods")
    parser.add_argument("--smoke", action="store_true", help="two methods, a second for each, tiny networks")
    parser.add_argument("--record", action="store_true", help="keep numbers and picture in results/ as well")
    options = parser.parse_args()
    if options.smoke:
        options.out += "-smoke"
        options.ipc, options.minutes, options.methods = [1], [0.02], ["dm", "mtt"]
    plan = study(options.root, options.ipc, options.minutes, options.methods, options.smoke)
    with ddcore.progress() as told:
        finding = ddcore.run_study(plan, options.out, progress=told)
    print(finding)
    if options.record and not options.smoke:
        sizes, minutes = (" ".join(map(str, each)) for each in (options.ipc, options.minutes))
        about = {
            "command": f"python scenarios/minutes.py --root data --ipc {sizes} --minutes {minutes} --record",
            "versions": {name: version(name) for name in ("ddcore", "torch")},
            "protocol": finding.says,
            "rows": finding.numbers["rows"],
        }
        dd.write_whole(RECORD, (json.dumps(about, indent=1) + "\n").encode())
        next(plot for plot in finding.plots if plot.name == "minutes").save(RECORD.with_suffix(".png"))


if __name__ == "__main__":
    ddcore.plugin.program(main)
