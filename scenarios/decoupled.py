"""Decoupled methods on the digits at 10 and 50 images per class: SRe2L, CDA, RDED, G-VBSM and EDC.

Shows what they, with labels of a teacher, make of tens of images per class. Random and herded images stand beside
twice, with their own classes and with the labels of a teacher like the methods' own, since most of what soft labels
bring they bring to any images. Needs nothing but the installation.

    python scenarios/decoupled.py            # about 60 minutes on one core; it goes on where it stopped
    python scenarios/decoupled.py --smoke    # two steps each: a minute

Seen (accuracy in percent ± over five networks, protocol quick; seed 0 alone; seconds of distilling on a busy core):

    ipc 10    random 95.1 ± 0.5, taught 96.8 ± 0.3; herding 97.2 ± 0.5, taught 97.8 ± 0.8;
              rded 93.1 ± 0.7, sre2l 94.0 ± 1.2, cda 92.2 ± 1.4, gvbsm 95.6 ± 0.3 (80 s), edc 97.8 ± 0.7 (72 s)
    ipc 50    random 98.1 ± 0.7, taught 98.7 ± 0.6; herding 98.2 ± 0.2, taught 98.5 ± 0.2;
              rded 95.6 ± 0.5 (16 s), sre2l 94.9 ± 0.5 (70 s), cda 95.2 ± 0.6 (57 s), gvbsm 96.7 ± 0.7 (104 s),
              edc 97.7 ± 0.2 (62 s)

None of them beats herded images with the labels of a teacher: the digits' classes are simple, and 10 images of 144
cover one. Only EDC, which starts from real images, is above random images at ten, with labels of a teacher too.
"""

import argparse
from dataclasses import dataclass, replace
from itertools import product
from typing import ClassVar

import ddcore

TEACHER = ddcore.Fit(steps=600, lr=0.05)
METHODS = ("random", "herding", "random-taught", "herding-taught", "rded", "sre2l", "cda", "gvbsm", "edc")


def recipe_of(name: str, ipc: int, smoke: bool) -> ddcore.Recipe:
    """The named method's recipe; ``-taught`` has a teacher say the labels."""
    method, _, taught = name.partition("-")
    recipe = ddcore.recipe(method, ipc=ipc)
    if smoke and recipe.objective is not None:
        recipe = replace(recipe, iterations=2)
    if taught:
        labels = ddcore.plugin.Taught(replace(TEACHER, steps=2) if smoke else TEACHER, temperature=3.0)
        recipe = replace(recipe, name=name, labels=labels, network=ddcore.ConvNet(norm="batch"))
    return recipe


@dataclass(frozen=True)
class Decoupled(ddcore.Experiments):
    """Each method at each number of images per class with each seed."""

    chooses: ClassVar[frozenset[str]] = frozenset({"methods", "ipcs", "seeds"})

    methods: tuple[str, ...] = METHODS
    ipcs: tuple[int, ...] = (10, 50)
    seeds: tuple[int, ...] = (0, 1, 2)
    smoke: bool = False

    def experiments(self, host: ddcore.Host) -> list[ddcore.Experiment]:
        protocol = ddcore.Protocol(steps=3, repeats=1) if self.smoke else ddcore.Protocol()
        settings = ddcore.Settings(ddcore.plugin.Digits(), protocol, ())
        return [
            ddcore.Experiment(replace(recipe_of(name, ipc, self.smoke), seed=seed), settings)
            for ipc, name, seed in product(self.ipcs, self.methods, self.seeds)
        ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="runs/decoupled", help="where the runs and the comparison go")
    parser.add_argument("--methods", nargs="+", default=METHODS, help="which methods")
    parser.add_argument("--ipc", nargs="+", type=int, default=[10, 50], help="images per class")
    parser.add_argument("--seeds", type=int, default=3, help="distillations of each")
    parser.add_argument("--smoke", action="store_true", help="two steps each, one network, one seed")
    options = parser.parse_args()
    if options.smoke:
        options.out, options.seeds, options.ipc = options.out + "-smoke", 1, options.ipc[:1]
    plan = Decoupled(tuple(options.methods), tuple(options.ipc), tuple(range(options.seeds)), options.smoke)
    with ddcore.progress() as told:
        print(ddcore.run_study(plan, options.out, progress=told))


if __name__ == "__main__":
    ddcore.plugin.program(main)
