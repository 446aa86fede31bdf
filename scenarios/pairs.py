"""Pairs of a written and a spoken digit, distilled by matched gradients of a contrastive loss.

Shows R@1 and R@5 both ways, in galleries of ten pairs with one pair per digit (chance 10 and 50 %), of two towers that
learn from --pairs synthetic pairs, beside as many random ones, and all.
All parts are of this file, brought by `Host({"pairs": module})`. Needs the plugin audio, and MNIST/raw and
FSDD/recordings below --root.

    python scenarios/pairs.py --root data     # about 10 minutes on one core, three seeds
    python scenarios/pairs.py --smoke         # scikit-learn's digits and made tones, a few steps: seconds

Seen, one thread of a busy two-core machine, --iterations 40, mean ± std over three seeds, R@1 and R@5 in percent, from
the image to the sound and back:

             image to sound            sound to image
    whole    35.9 ± 0.8   80.6 ± 1.8   35.6 ± 1.6   81.2 ± 2.1    1 000 pairs
    matched  17.7 ± 2.7   65.4 ± 2.3   18.8 ± 1.8   65.9 ± 3.1    20 pairs
    random   13.2 ± 2.4   55.6 ± 2.9   14.0 ± 3.1   57.0 ± 4.1    20 pairs

Synthetic pairs beat as many random ones both ways; half of what all pairs teach is still missing. Random pairs repeat
digits, which the loss then holds apart: labels of similarity, as LoRS learns them, are not built.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from ddcore_audio import LogMel, Wav
from torch import Tensor, nn
from torch.nn import functional as F

import ddcore
from ddcore import plugin as dd

WIDTH, TEMPERATURE = 32, 0.1
"""Numbers of an embedding; what cosines are divided by."""


def contrastive(outputs: Tensor, targets: Tensor) -> Tensor:
    """-log of the share that softmax gives a pair among all pairs of the batch, the mean of both ways: (n,)."""
    one, other = F.normalize(outputs[:, :WIDTH], dim=1), F.normalize(outputs[:, WIDTH:], dim=1)
    alike, own = one @ other.T / TEMPERATURE, torch.arange(len(outputs), device=outputs.device)
    return (F.cross_entropy(alike, own, reduction="none") + F.cross_entropy(alike.T, own, reduction="none")) / 2


class Towers(nn.Module):
    def __init__(self, first: int, second: int) -> None:
        super().__init__()
        self.sizes = [first, second]
        self.towers = nn.ModuleList(
            nn.Sequential(nn.Linear(size, 128), nn.ReLU(), nn.Linear(128, WIDTH)) for size in self.sizes
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([tower(part) for tower, part in zip(self.towers, x.split(self.sizes, 1), strict=True)], 1)


@dataclass(frozen=True)
class TwoTowers(dd.NetworkPlan):
    """One MLP for the first ``first`` numbers of an item and one for the rest; outputs are both embeddings."""

    suits = frozenset({"vector"})

    first: dd.Count = 196
    """Numbers of the first half of a pair."""

    def build(self, card: dd.DataCard) -> dd.ModuleNetwork:
        return dd.ModuleNetwork(lambda: Towers(self.first, card.shape[0] - self.first))


@dataclass(frozen=True)
class PairMatch(dd.Objective):
    """Sum over weights of 1 - cosine of the gradients of the contrastive loss on S and on batches of T.

    The network of the step is trained on T by those gradients, and S is moved at each of its ``rounds`` points.
    """

    asks = frozenset({"gradient"})

    real: dd.Count = 256
    """Pairs of T per round."""
    rounds: dd.Count = 20
    """Points of the training at which gradients are compared."""
    lr: dd.Positive = 0.2
    """The rate of that training, by SGD."""

    def accumulate(self, draw: dd.Draw, synthetic: dd.SyntheticSet, ctx: dd.Context) -> Iterator[float]:
        params = dict(draw.params)
        for _ in range(self.rounds):
            at = replace(draw, params=params)
            (real,) = ctx.gate.gradient(at, [dd.Group(size=self.real)], contrastive)
            leaves = {name: value.detach().requires_grad_() for name, value in params.items()}
            value = contrastive(at(synthetic.everything()[0], leaves), torch.empty(0)).mean()
            mine = torch.autograd.grad(value, [*leaves.values()], create_graph=True)
            each = [F.cosine_similarity(g.flatten(), real[n].flatten(), 0) for n, g in zip(leaves, mine, strict=True)]
            loss = (1 - torch.stack(each)).sum()
            loss.backward()
            yield float(loss.detach())
            params = {name: value - self.lr * real[name] for name, value in params.items()}


@dataclass(frozen=True)
class Contrastive(dd.Estimator):
    """Two towers, trained on pairs by the contrastive loss and Adam."""

    network: TwoTowers = TwoTowers()
    """What is trained."""
    steps: dd.Count = 200
    """Training steps, of at most 256 pairs."""

    def fitted_to(self, training, card, nets, seed):
        each, network = [], self.network.ready(card)
        for net in nets:
            generator = torch.Generator().manual_seed(seed + net)
            params = {name: value.requires_grad_() for name, value in network.init(generator)[0].items()}
            optimiser = torch.optim.Adam(params.values(), 1e-3)
            for _ in range(self.steps):
                inputs, targets = training.take(torch.randperm(len(training), generator=generator)[:256])
                noisy = inputs + 0.1 * torch.randn(inputs.shape, generator=generator)
                optimiser.zero_grad()
                contrastive(network(params, {}, noisy), targets).mean().backward()
                optimiser.step()
            each.append({name: value.detach() for name, value in params.items()})
        return dd.Draw(network, {n: torch.stack([p[n] for p in each]) for n in each[0]}, {}, ensemble=len(each))


@dataclass(frozen=True)
class Recall(dd.Measure):
    """How often the other half of a pair is among the ``k`` nearest of its gallery of ten, in percent."""

    k: dd.Count = 1
    """How many of the nearest count."""
    back: bool = False
    """From the second half to the first, and not from the first to the second."""

    def __call__(self, draw, data, chunk):
        outputs, _ = dd.all_predictions(draw, data, chunk)
        one, other = (F.normalize(half, dim=3) for half in outputs.unflatten(1, (-1, 10)).split(WIDTH, 3))
        alike = other @ one.mT if self.back else one @ other.mT
        own = torch.arange(10)[:, None]
        return 100 * (alike.topk(self.k).indices == own).any(3).double().mean((1, 2))


@ddcore.hookimpl
def ddcore_parts() -> list[type[dd.Part]]:
    return [TwoTowers, PairMatch, Contrastive, Recall]


def halves(data: ddcore.RealData, split: str) -> tuple[Tensor, Tensor]:
    store = getattr(data, split)
    batch = store.take(torch.arange(len(store)))
    return batch.inputs, batch.targets


def pairs(root: Path | None, seed: int) -> ddcore.RealData:
    """Random pairs of one digit; those to test on stand in galleries of one pair per digit."""
    generator, host = torch.Generator().manual_seed(seed), ddcore.Host()
    where = {} if root is None else {"root": str(root)}
    digits = dd.data_set(host.catalogue, "digits" if root is None else "mnist", **where).load()
    found = {}
    for split, galleries in (("train", 100), ("test", 30)):
        images, classes = halves(digits, split)
        images = F.adaptive_avg_pool2d(images, 14).flatten(1)
        if root is None:
            time, pitch = torch.arange(2048) / 8000, 300 + 250 * torch.arange(10).repeat_interleave(10)
            waves = (2 * torch.pi * pitch[:, None] * time).sin() + 0.1 * torch.randn(100, 2048, generator=generator)
            sounds, spoken = LogMel(bands=20, hop=256)(waves, 8000), torch.arange(10).repeat_interleave(10)
        else:
            spectrum = LogMel(bands=20, hop=256)
            recordings = Wav(str(root / "FSDD" / "recordings"), "*_[0-4].wav", 0.768, spectrum).load()
            sounds, spoken = halves(recordings, split)
        rows = [[torch.where(of == c)[0] for c in range(10)] for of in (classes, spoken)]
        drawn = [
            [each[int(torch.randint(len(each), (), generator=generator))] for _ in range(galleries) for each in of]
            for of in rows
        ]
        x = torch.cat([images[torch.stack(drawn[0])], sounds.flatten(1)[torch.stack(drawn[1])]], 1)
        found[split] = x, torch.zeros(len(x), 2 * WIDTH)
    return dd.RealData.of("pairs", found["train"], found["test"], kind="vector")


def measured(seed: int, root: str | None, host: ddcore.Host, n: int, iterations: int, steps: int) -> dict[str, float]:
    data = pairs(root and Path(root), seed)
    random = replace(host.recipe("random", kind="vector", ipc=n), network=TwoTowers(), seed=seed)
    learned = replace(
        random,
        name="matched",
        synthetic=dd.Pixels(n, init="real"),
        objective=PairMatch(),
        policy=dd.Fresh(),
        update=dd.Update(lr={"inputs": 0.1}, optimiser=dd.Adam(), schedule=dd.Cosine()),
        iterations=iterations,
    )
    sets = {"whole": data.train, "random": host.distill(random, data), "matched": host.distill(learned, data)}
    protocol = ddcore.Protocol(
        networks=(dd.MLP(width=2, depth=2),),
        estimators=(Contrastive(steps=steps),),
        measures=tuple(Recall(k, back) for back in (False, True) for k in (1, 5)),
        augment=None,
        steps=1,
        repeats=3,
    )
    found = dd.scored(sets, data, protocol, seed=seed, host=host)
    return {name: value for name, value in found.items() if "contrastive" in name}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", default="data", help="the folder that holds MNIST/raw and FSDD/recordings")
    parser.add_argument("--out", default="runs/pairs", help="where the figures go")
    parser.add_argument("--pairs", type=int, default=20, help="synthetic pairs")
    parser.add_argument("--iterations", type=int, default=40, help="networks that pairs are distilled at")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="seeds, of the pairs too")
    parser.add_argument("--smoke", action="store_true", help="made data, a few steps, one seed")
    options = parser.parse_args()
    smoke, host = options.smoke, ddcore.Host({"pairs": sys.modules[__name__]})
    steps = {"n": options.pairs, "iterations": 2 if smoke else options.iterations, "steps": 2 if smoke else 200}
    measure = partial(measured, root=None if smoke else options.root, host=host, **steps)
    print(dd.repeated(measure, options.seeds[: 1 if smoke else None], options.out, steps))


if __name__ == "__main__":
    main()
