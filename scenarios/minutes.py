"""What each method reaches in so many CPU minutes: FashionMNIST at one and ten images per class.

Shows accuracy against the minutes that a method was given to distil, which is what a user has, in the place of
iterations, of which one of DM takes a hundredth of one of RTP: a ConvNet-3 of width 32 for distilling and for judging,
two networks by the protocol quick, one seed. There are two experts of 400 steps in batches of 64 (of dance and ncfm
200); published are 100 of 50 epochs, which take days. Random and herded images are as many as the bytes of the others
hold in float32, four for one. Needs the files below --root (FashionMNIST/raw, packed or not).

    python scenarios/minutes.py --root data                       # a day on one core; it goes on where it stopped
    python scenarios/minutes.py --root data --minutes 1 --ipc 1   # an hour
    python scenarios/minutes.py --root data --smoke               # tiny networks, a second for each method: a minute
    python scenarios/minutes.py --root data --record              # runs nothing: keeps the numbers that are there

Seen so far, one thread of a two-core machine, accuracy in percent ± over the networks; all rows, with seconds and
iterations, are in results/minutes.json, and their curves in results/minutes.png. A method that is not begun trains
experts, a generator or a teacher, or fits its codes, until its minutes are over. Above herded images of the same bytes
are ncfm in one minute, and taught_tiles, kfs and idm too in five; at ten images none is in one minute, and m3d alone
is not below random ones. The rest has not been run.

    ipc 1:  whole 88.7 ± 0.2, herding 73.1 ± 0.5, random 63.7 ± 0.5
    1 min:  ncfm 74.7 ± 0.8, idm 73.1 ± 0.5, kfs 72.8 ± 0.5, m3d 72.8 ± 0.0, fred 71.5 ± 0.4, dance 71.2 ± 1.7,
            dm 70.6 ± 0.5, idc 69.6 ± 1.1, rfad 67.5 ± 1.3, frepo 66.9 ± 1.7, rtp 66.9 ± 0.7, rat_bptt 66.9 ± 0.2,
            cafe 64.5 ± 2.5, haba 64.4 ± 2.8, dsa 63.3 ± 0.3, mtt 63.2 ± 0.4, tesla 63.2 ± 0.5, kip 62.9 ± 0.4,
            dc 62.5 ± 1.1, edc 61.2 ± 0.3, dsdm 60.1 ± 0.5, sre2l 31.9 ± 1.2, gvbsm 10.0 ± 0.0; not begun: accdd,
            it_gan, datm, pad, taught_tiles
    5 min:  taught_tiles 78.1 ± 1.0, ncfm 76.1 ± 0.4, kfs 75.1 ± 0.0, idm 73.9 ± 0.8, rtp 73.2 ± 0.0, mtt 71.9 ± 0.1,
            dm 70.4 ± 0.2, frepo 69.9 ± 2.1
    ipc 10: whole 88.7 ± 0.2, herding 81.3 ± 0.3, random 79.4 ± 0.0
    1 min:  m3d 79.7 ± 0.3, fred 78.9 ± 0.2, ncfm 78.7 ± 0.5, frepo 77.5 ± 0.2, dm 77.0 ± 1.0, idm 76.5 ± 0.3,
            haba 76.5 ± 0.1, idc 76.3 ± 0.0, kip 76.2 ± 0.8, rfad 76.0 ± 0.8, rat_bptt 75.9 ± 0.0, edc 75.5 ± 0.4,
            dance 74.8 ± 0.8, dsa 74.8 ± 0.0, cafe 74.3 ± 0.4, dsdm 74.0 ± 0.9, tesla 73.7 ± 0.1, mtt 73.6 ± 0.1,
            rtp 72.3 ± 1.8, sre2l 55.9 ± 1.8, dc 37.6 ± 5.1, gvbsm 13.3 ± 1.5; not begun: accdd, kfs, it_gan, datm,
            pad, taught_tiles
"""

import argparse
import json
import platform
import textwrap
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import ddcore
from ddcore import plugin as dd

RECORD = Path(__file__).parent / "results" / "minutes.json"
"""What was run: the command, the device, the versions, and a row for each method, size and budget."""
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


def recorded(plan: ddcore.Study, out: str) -> list[dict[str, Any]]:
    """The rows of the cases that have ended in ``out``, kept in results/ with their picture."""
    finding = dd.so_far(plan, out)
    about = {
        "command": "python scenarios/minutes.py --root data",
        "device": f"{platform.machine()}, one thread",
        "versions": {name: version(name) for name in ("ddcore", "torch")},
        "protocol": finding.says,
        "rows": finding.numbers["rows"],
    }
    dd.write_whole(RECORD, (json.dumps(about, indent=1) + "\n").encode())
    next(plot for plot in finding.plots if plot.name == "minutes").save(RECORD.with_suffix(".png"))
    return about["rows"]


def said(rows: list[dict[str, Any]]) -> Iterator[str]:
    """A paragraph for each size and budget, the best first."""
    for ipc, minutes in sorted({(row["ipc"], row["minutes"]) for row in rows}):
        own = [row for row in rows if (row["ipc"], row["minutes"]) == (ipc, minutes)]
        told = [f"{row['method']}\xa0{row['mean']:.1f}\xa0±\xa0{row['std_nets']:.1f}" for row in own if row["begun"]]
        late = [row["method"] for row in own if not row["begun"]]
        words = f"{', '.join(told)}{'; not begun: ' if late else ''}{', '.join(late)}"
        head = f"{minutes:g} min" if minutes else f"ipc {ipc}"
        text = textwrap.fill(f"{head + ':':8}{words}", 118, initial_indent="    ", subsequent_indent=" " * 12)
        yield text.replace("\xa0", " ")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", default="data", help="the folder that holds FashionMNIST/raw")
    parser.add_argument("--out", default="runs/minutes", help="where the runs, the table and the pictures go")
    parser.add_argument("--ipc", nargs="+", type=int, default=[1, 10], help="images per class")
    parser.add_argument("--minutes", nargs="+", type=float, default=[1.0, 5.0, 15.0], help="of a CPU, for each set")
    parser.add_argument("--methods", nargs="+", default=METHODS, help="which methods")
    parser.add_argument("--smoke", action="store_true", help="two methods, a second for each, tiny networks")
    parser.add_argument("--record", action="store_true", help="keep the numbers that are there, and run nothing")
    options = parser.parse_args()
    if options.smoke:
        options.out += "-smoke"
        options.ipc, options.minutes, options.methods = [1], [0.02], ["dm", "mtt"]
    plan = study(options.root, options.ipc, options.minutes, options.methods, options.smoke)
    if options.record:
        rows = recorded(plan, options.out)
        print("\n".join(said(rows)))
        return
    with ddcore.progress() as told:
        print(ddcore.run_study(plan, options.out, progress=told))


if __name__ == "__main__":
    ddcore.plugin.program(main)
