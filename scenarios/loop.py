"""DM written out as a loop that can be seen whole, and the same by the core: the same images, number by number.

Shows that a method is a loop: a new network, the mean features of each class of T and of S, a step. What ddcore adds is
around it: the gate, stops, reports. Needs nothing but the installation; about 3 minutes on one core.

    python scenarios/loop.py            # 300 steps each way, and a picture: real digits above synthetic ones
    python scenarios/loop.py --smoke    # 3 steps: seconds

Seen: no difference at all between the two ways after 300 steps; five networks that learn from the ten images are right
on 93.1 ± 1.0 % of the test digits.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

import ddcore

NETWORK, REAL, RATE = ddcore.ConvNet(width=32), 64, 1.0


def by_hand(data: ddcore.RealData, steps: int) -> Tensor:
    """Distribution matching (Zhao and Bilen, 2023) at one image per class, without augmentation."""
    streams = ddcore.Streams(0)
    items = data.train.take(torch.arange(len(data.train)))
    whole = (items.inputs - torch.tensor(data.card.mean)) / torch.tensor(data.card.std)
    T = [whole[items.targets == c] for c in range(data.card.classes)]
    network = NETWORK.build(data.card)

    S = torch.cat([real[torch.randint(len(real), (1,), generator=streams["real"])] for real in T]).requires_grad_()
    optimiser = torch.optim.SGD([S], lr=RATE, momentum=0.5)
    for _ in range(steps):
        params, buffers = network.init(streams["nets"])  # a new network, which is never trained
        synthetic = network(params, buffers, S, features=True)
        loss = torch.zeros(())
        for c, real in enumerate(T):
            some = real[torch.randperm(len(real), generator=streams["real"])[:REAL]]
            with torch.no_grad():
                mean = network(params, buffers, some, features=True).mean(0)
            loss = loss + (mean - synthetic[c]).square().sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return S.detach()


def by_the_core(data: ddcore.RealData, steps: int) -> ddcore.DistilledSet:
    """The same as a recipe."""
    changes = {"objective.real": REAL, "update.lr.inputs": RATE, "update.schedule": "constant"}
    recipe = ddcore.recipe("dm", ipc=1, iterations=steps, overrides=changes)
    return ddcore.distill(replace(recipe, network=NETWORK, augment=None), data, seed=0)


def picture(data: ddcore.RealData, distilled: ddcore.DistilledSet, path: Path) -> None:
    """A real digit of each class above the synthetic one."""
    from matplotlib.figure import Figure

    items = data.train.take(torch.arange(len(data.train)))
    real = torch.cat([items.inputs[items.targets == c][:1] for c in range(data.card.classes)])
    synthetic = ddcore.plugin.preprocess_of(distilled, ddcore.Host().catalogue).inverse(distilled.inputs).clamp(0, 1)
    figure = Figure(figsize=(8, 1.9), layout="constrained")
    for row, (name, images) in enumerate({"real": real, "synthetic": synthetic}.items()):
        for c, image in enumerate(images):
            axes = figure.add_subplot(2, len(images), row * len(images) + c + 1, xticks=[], yticks=[])
            axes.imshow(image[0], cmap="gray", vmin=0, vmax=1)
            axes.set_ylabel(name if c == 0 else "")
    ddcore.plugin.save_figure(figure, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="runs/loop", type=Path, help="where the picture goes")
    parser.add_argument("--smoke", action="store_true", help="three steps, one network")
    options = parser.parse_args()
    steps = 3 if options.smoke else 300
    data = ddcore.load("digits")
    by_one, by_other = by_hand(data, steps), by_the_core(data, steps)
    print(f"{float((by_one - by_other.inputs).abs().max()):.1e} apart")
    options.out.mkdir(parents=True, exist_ok=True)
    picture(data, by_other, options.out / "digits.png")
    protocol = ddcore.protocol("quick", **({"steps": 20, "repeats": 1} if options.smoke else {}))
    (score,) = ddcore.evaluate(by_other, data, protocol)["accuracy"].values()
    print(f"accuracy {score.mean:.1f} ± {score.std:.1f}")


if __name__ == "__main__":
    ddcore.plugin.program(main)
