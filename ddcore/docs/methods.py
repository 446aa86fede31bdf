"""The table and the picture of the page on methods, made from what a program has measured of each.

``python -m ddcore.docs.methods`` makes them anew from ``scenarios/results/digits.json``.
"""

from __future__ import annotations

import json
import re
from typing import Any, cast

from matplotlib.figure import Figure

from ddcore.docs.lists import ROOT, catalogue
from ddcore.files import write_whole
from ddcore.host import Host
from ddcore.packing import dotted, to_dict
from ddcore.plots import save_figure

RECORD = ROOT / "scenarios" / "results" / "digits.json"
PAGE = ROOT / "ddcore" / "docs" / "methods.md"
START, END = "<!-- methods: made by python -m ddcore.docs.methods -->\n", "<!-- end of methods -->\n"
CHOSEN = ("random", "herding")
"""Methods that are recorded as they were measured beside the others, without their recipes."""
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


def table(record: dict) -> str:
    """The page's table: every method of the core, with what was recorded."""
    rows = [["for", "name", "method", "paper", "digits, ipc 1: accuracy ± nets ± seeds", "bytes", "seconds"]]
    rows.append(["---"] * len(rows[0]))
    for purpose, name in [(purpose, name) for purpose, names in PURPOSES.items() for name in names]:
        entry = catalogue().find("method", name)
        paper = cast(Any, entry.maker).cites[0]
        surnames = [author.split(",")[0] for author in paper.authors.split(" and ")]
        who = surnames[0] + (" et al." if len(surnames) > 2 else f" and {surnames[1]}" if surnames[1:] else "")
        what = re.split(r"[:.,]", (entry.maker.__doc__ or "").strip().splitlines()[0])[0].replace("``", "")
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
    """Methods of the core that were never recorded, recorded ones that are gone, or whose recipe is another now."""
    host = Host()
    names = [entry.name for entry in catalogue().of("method") if entry.distribution == "ddcore"]
    recipes = {name: dotted(to_dict(host.recipe(name, ipc=1))) for name in names if name not in CHOSEN}
    missing = [name for name in recipes if name not in record["methods"]]
    changed = [
        name
        for name, found in record["methods"].items()
        if name not in CHOSEN and (name not in recipes or not held(found["recipe"], recipes[name]))
    ]
    return [*missing, *changed]


def held(recorded: Any, now: Any) -> bool:
    """What was recorded is what is there now, but for fields that came later, which begin as if they were not there."""
    if isinstance(recorded, dict) and isinstance(now, dict):
        return recorded.keys() <= now.keys() and all(held(value, now[name]) for name, value in recorded.items())
    if isinstance(recorded, list) and isinstance(now, list):
        return len(recorded) == len(now) and all(held(*pair) for pair in zip(recorded, now, strict=True))
    return recorded == now


def made(page: str, record: dict) -> str:
    """``page`` with the table of ``record``."""
    before, _, rest = page.partition(START)
    return f"{before}{START}{table(record)}{END}{rest.partition(END)[2]}"


def main() -> None:
    record = json.loads(RECORD.read_text())
    write_whole(PAGE, made(PAGE.read_text(), record).encode())
    save_figure(picture(record), PAGE.with_suffix(".png"))


if __name__ == "__main__":
    main()
