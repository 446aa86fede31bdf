"""A quantity measured from images, with error bars: the slant of handwritten digits, in degrees, by regression on S.

Shows the error of networks that learn from 20 synthetic images with values (frepo), beside random, stratified and
k-means items of the same number and 5 000 of MNIST at 14x14 pixels, and whether the error bar of a committee of five
networks, one standard deviation, holds the true value as often as it should (68 %). The slant is a made quantity: it is
computed from the pixels, the arctangent of the covariance of columns and rows over the variance of rows, so that the
truth is known. The data set `slant` is a part of this file. Needs MNIST/raw below --root.

    python scenarios/scientific.py --root data     # about 5 minutes on one core; it goes on where it stopped
    python scenarios/scientific.py --smoke         # scikit-learn's digits, a few steps: seconds

Seen, one thread of a busy two-core machine, committees, mean ± std over three seeds:

                  error, degrees   bar, degrees   coverage, %
    whole         2.4 ± 0.1        1.1 ± 0.1      52.6 ± 2.7
    stratified    7.0 ± 0.4        2.5 ± 0.1      34.0 ± 3.6
    k-means       7.0 ± 0.6        2.1 ± 0.2      31.1 ± 6.0
    random        7.8 ± 1.3        2.3 ± 0.5      30.0 ± 3.9
    frepo         8.8 ± 1.4        2.1 ± 0.4      23.2 ± 2.4

Distilled items do not beat random ones: frepo is the worst of all. And bars are too narrow on every set, on 20 items
far too narrow: networks that saw the same few items agree with each other more than with the truth.
"""

import argparse
import sys
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

import ddcore
from ddcore import plugin as dd

UNIT = 15.0
"""Degrees that a value of 1 stands for, so that values vary by about 1."""
SIDE = 14
"""Pixels of an image's side at most, to which larger ones are averaged before the slant is measured."""


def slants(images: Tensor) -> Tensor:
    """The slant (n, 1) of images (n, 1, h, w) in [0, 1], in degrees; to the right is positive."""
    ink = images[:, 0].double()
    ink = ink / ink.sum((1, 2), keepdim=True)
    down, right = (torch.arange(float(side), dtype=torch.double) for side in ink.shape[1:])
    by_row, by_column = ink.sum(2), ink.sum(1)
    down = down - (by_row * down).sum(1, keepdim=True)
    right = right - (by_column * right).sum(1, keepdim=True)
    covariance = torch.einsum("nhw,nh,nw->n", ink, -down, right)
    return torch.atan2(covariance, (by_row * down.square()).sum(1)).rad2deg().float()[:, None]


@dataclass(frozen=True)
class Slant(dd.DataSet):
    """Images of digits with the slant of each, in units of 15 degrees."""

    source: dd.DataSet = dd.Digits()
    """The digits."""
    training: dd.Count = 5000
    """Images to train on, at most; the first of each class in equal shares."""
    testing: dd.Count = 2000
    """Images to test on, likewise."""

    def load(self) -> dd.RealData:
        digits, found = self.source.load(), {}
        for split, store, most in (("train", digits.train, self.training), ("test", digits.test, self.testing)):
            each, rows = -(-most // digits.card.classes), torch.arange(len(store))
            rows = torch.cat([rows[start:stop][:each] for start, stop in store.offsets.unfold(0, 2, 1).tolist()])
            images = F.adaptive_avg_pool2d(store.take(rows).inputs, min(SIDE, digits.card.shape[1]))
            found[split] = (images * 255).round().to(torch.uint8), slants(images) / UNIT
        about = digits.card
        return dd.RealData.of(
            f"slant of {about.name}", found["train"], found["test"], flips=False, mean=about.mean, std=about.std
        )


def measured(seed: int, data: ddcore.RealData, host: ddcore.Host, items: int, smoke: bool) -> dict[str, float]:
    """Errors and error bars in degrees, and coverage in percent."""
    network, steps = ddcore.ConvNet(width=4 if smoke else 16, depth=3), 3 if smoke else 200
    plain = replace(host.recipe("random", ipc=items), network=network, seed=seed)
    chosen = {"random": dd.Random(items), "stratified": dd.Random(items, strata=True), "k-means": dd.KMeans(items)}
    recipes = {name: replace(plain, name=name, synthetic=carrier) for name, carrier in chosen.items()}
    learned = host.recipe("frepo", ipc=items, iterations=2 if smoke else 150)
    recipes["frepo"] = replace(learned, network=network, seed=seed)
    sets = {name: host.distill(recipe, data) for name, recipe in recipes.items()}
    protocol = ddcore.Protocol(
        networks=(network,),
        estimators=(dd.Committee(network, steps=steps),),
        measures=(dd.RootError(), dd.Coverage(), dd.ErrorBar()),
        augment=None,
        steps=steps,
        repeats=1,
    )
    scored = dd.scored({"whole": data.train, **sets}, data, protocol, seed=seed)
    return {name: value * (1 if name.endswith("coverage") else UNIT) for name, value in scored.items()}


@ddcore.hookimpl
def ddcore_parts() -> list[type[dd.Part]]:
    return [Slant]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", default="data", help="the folder that holds MNIST/raw")
    parser.add_argument("--out", default="runs/scientific", help="where sets and figures go")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="seeds")
    parser.add_argument("--smoke", action="store_true", help="scikit-learn's digits, a few steps, one seed")
    options = parser.parse_args()
    smoke, given = options.smoke, {"items": 5 if options.smoke else 20, "smoke": options.smoke}
    source = Slant(training=200) if smoke else Slant(dd.Mnist(root=str(Path(options.root).absolute())))
    host = ddcore.Host({"scientific": sys.modules[__name__]})
    measure = partial(measured, data=source.load(), host=host, **given)
    print(dd.repeated(measure, options.seeds[: 1 if smoke else None], options.out, given))


if __name__ == "__main__":
    dd.program(main)
