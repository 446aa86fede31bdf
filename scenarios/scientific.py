"""A quantity measured from images, with error bars: the slant of handwritten digits, in degrees, by regression on S.

Shows the error of networks that learn from 20 synthetic images with values (frepo), beside random, stratified and
k-means items of the same number and 5 000 of MNIST, and whether the error bar of a committee of five networks, one
standard deviation, holds the true value as often as it should (68 %). The slant is a made quantity: it is computed from
the pixels, the arctangent of the covariance of columns and rows over the variance of rows, so that the truth is known.
The data set `slant`, the estimator `committee` and the measures `error`, `coverage` and `bar` are parts of this file.
Black-box design by a closed-form kernel (BDI) is not here. Needs MNIST/raw below --root.

    python scenarios/scientific.py --root data     # about 20 minutes on one core; it goes on where it stopped
    python scenarios/scientific.py --smoke         # scikit-learn's digits, a few steps: seconds

Seen: the smoke form alone, three steps on scikit-learn's digits, where single networks are 8.0 ± 1.5 degrees off on the
whole and say nothing of what longer training gives. MNIST has not been measured to the end.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge
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


@dataclass(frozen=True)
class Committee(dd.Estimator):
    """Networks that differ by their start and their batches: their mean predicts, their deviation is the error bar."""

    network: dd.NetworkPlan = dd.ConvNet()
    """What is trained."""
    members: Annotated[int, Ge(2)] = 5
    """Networks of a committee."""
    steps: dd.Count = 250
    """Training steps of each."""

    def fitted_to(self, training, card, nets, seed):
        protocol = dd.Protocol(steps=self.steps, augment=None)
        numbers = [net * self.members + member for net in nets for member in range(self.members)]
        (lr,), device = protocol.lr, torch.device("cpu")
        draw = dd.train(self.network.ready(card), training, card, protocol, lr, numbers, seed, device)
        return dd.Draw(Voices(draw, self.members), {"nets": torch.zeros(len(nets))}, {}, ensemble=len(nets))


@dataclass(frozen=True, eq=False)
class Voices(dd.Network):
    """Committees as an ensemble: outputs (e, n, 2 v) are the mean and then the deviation of each one's ``members``."""

    draw: dd.Draw
    members: int

    @property
    def per_sample(self) -> bool:
        return True

    def init(self, generator):
        raise NotImplementedError("A committee is fitted, and has no start.")

    def apply(self, call: dd.Call, x: Tensor) -> Tensor:
        each = self.draw(x.repeat_interleave(self.members, 0), training=False).unflatten(0, (-1, self.members))
        return torch.cat([each.mean(1), each.std(1)], 2)


def predicted(draw: dd.Draw, data: dd.Preprocessed, chunk: int) -> tuple[Tensor, Tensor]:
    """How far predictions are off, and their error bars (e, n, v), in degrees; a single network has bars of 0."""
    outputs, targets = dd.all_predictions(draw, data, chunk)
    mean, *bars = outputs.split(targets.shape[1], 2)
    return UNIT * (mean - targets).abs(), UNIT * (bars[0] if bars else torch.zeros_like(mean))


class Degrees(dd.Measure):
    values_only = True
    unit: ClassVar[str] = "degrees"
    higher_is_better: ClassVar[bool] = False


@dataclass(frozen=True)
class Error(Degrees):
    """The root mean square error."""

    def __call__(self, draw: dd.Draw, data: dd.Preprocessed, chunk: int) -> Tensor:
        return predicted(draw, data, chunk)[0].square().mean((1, 2)).sqrt()


@dataclass(frozen=True)
class Bar(Degrees):
    """The error bar, one standard deviation, the mean over the items."""

    def __call__(self, draw: dd.Draw, data: dd.Preprocessed, chunk: int) -> Tensor:
        return predicted(draw, data, chunk)[1].mean((1, 2))


@dataclass(frozen=True)
class Coverage(dd.Measure):
    """How often the prediction, plus or minus its error bar, holds the value, in percent: 68 where bars are right."""

    values_only = True
    unit: ClassVar[str] = "%"

    def __call__(self, draw: dd.Draw, data: dd.Preprocessed, chunk: int) -> Tensor:
        off, bars = predicted(draw, data, chunk)
        return 100 * (off <= bars).float().mean((1, 2))


@dataclass(frozen=True)
class Regressions(dd.Experiments):
    """Sets for a regression: learned by frepo, and chosen in several ways."""

    chooses = frozenset({"seeds"})
    several = ("seeds",)

    data: dd.DataSet = Slant()
    """What is distilled."""
    protocol: dd.Protocol = dd.Protocol()
    """How networks learn from the sets, and what is measured."""
    items: dd.Count = 20
    """Items of each set."""
    iterations: dd.Count = 150
    """Updates of frepo."""
    seeds: tuple[dd.Whole, ...] = (0, 1, 2)
    """One run with each."""

    def experiments(self, host: dd.Host) -> Sequence[dd.Experiment]:
        plain = replace(host.recipe("random", ipc=self.items), network=self.protocol.networks[0])
        chosen = {"stratified": dd.Random(self.items, strata=True), "k-means": dd.KMeans(self.items)}
        learned = host.recipe("frepo", ipc=self.items, iterations=self.iterations)
        recipes = [
            replace(learned, network=plain.network),
            plain,
            *(replace(plain, name=name, synthetic=carrier) for name, carrier in chosen.items()),
        ]
        return [
            dd.Experiment(
                replace(recipe, seed=seed),
                dd.Settings(self.data, self.protocol, ("whole",) if recipe is recipes[0] else ()),
            )
            for recipe in recipes
            for seed in self.seeds
        ]


@ddcore.hookimpl
def ddcore_parts() -> list[type[dd.Part]]:
    return [Slant, Committee, Error, Coverage, Bar, Regressions]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", default="data", help="the folder that holds MNIST/raw")
    parser.add_argument("--out", default="runs/scientific", help="where sets and figures go")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="seeds")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--smoke", action="store_true", help="scikit-learn's digits, a few steps, one seed")
    options = parser.parse_args()
    network, steps = ddcore.ConvNet(width=4 if options.smoke else 16, depth=3), 3 if options.smoke else 200
    protocol = ddcore.Protocol(
        networks=(network,),
        estimators=(Committee(network, steps=steps),),
        measures=(Error(), Coverage(), Bar()),
        augment=None,
        steps=steps,
        repeats=1,
    )
    study = Regressions(Slant(dd.Mnist(root=str(Path(options.root).absolute()))), protocol, seeds=tuple(options.seeds))
    if options.smoke:
        study = replace(study, data=Slant(training=200), items=5, iterations=2, seeds=study.seeds[:1])
    host = ddcore.Host({"scientific": sys.modules[__name__]})
    print(ddcore.run_study(study, options.out, host=host, device=options.device))


if __name__ == "__main__":
    main()
