"""Measures: how much of the accuracy stays under attack."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from ddcore import plugin as dd
from ddcore_robust.attacks import Attack, Pgd, Victim

EDGE = 1e-3
"""What the mean of items may be off."""


@dataclass(frozen=True)
class RobustAccuracy(dd.Measure):
    """Items that are classified rightly where they are and where the attack moves them, in percent.

    The attack sees the network with the preprocessing of the set under evaluation before it, and moves raw items.
    """

    attack: Attack = field(default_factory=Pgd)
    """What moves the items."""
    items: dd.Count | None = 1000
    """Items of the split that are attacked, evenly from all classes; None for all."""
    seed: dd.Whole = 0
    """Seed of what the attack draws."""

    classes_only = True
    unit: ClassVar[str] = "%"

    def check(self, recipe: Any, card: dd.DataCard, network: dd.Network) -> None:
        self.attack.ready(card)

    def of(self, distilled: dd.DistilledSet) -> Self:
        self.attack.ready(distilled.data)
        return self

    def __call__(self, draw: dd.Draw, data: dd.Preprocessed, chunk: int) -> Tensor:
        rows = spread_rows(len(data), self.items)
        takes_unit_range(data)
        nets = each_net(draw)
        return torch.tensor([self._of(net, net, data, rows, chunk * len(nets)) for net in nets])

    def _of(self, net: dd.Draw, attacked: dd.Draw, data: dd.Preprocessed, rows: Tensor, chunk: int) -> float:
        """The measure of ``net`` at the items ``rows`` (n,), moved against ``attacked``."""
        victim, aim = (Victim.of(one, data.preprocess) for one in (net, attacked))
        generator, survivors = dd.Streams(self.seed)["attack"], 0
        for x, y in raw_items(data, rows, chunk, net):
            with torch.no_grad():
                right = victim.logits(x).argmax(1) == y
            x, y = x[right], y[right]
            if len(x):
                moved = self.attack(aim, x, y, generator, stop=net is attacked)
                with torch.no_grad():
                    survivors += int((victim.logits(moved).argmax(1) == y).sum())
        return 100 * survivors / len(rows)


@dataclass(frozen=True)
class TransferAccuracy(RobustAccuracy):
    """As ``robust_accuracy``, of items that are moved against another network.

    That one is of the same kind, and has been trained by ``surrogate`` on the items of the split that are not attacked;
    at most half of them are. An attack that sees the network itself must be stronger than this.

    **Reference**: Papernot et al., Practical Black-Box Attacks against Machine Learning, ASIA CCS 2017, Section 4.

    **Differs**: the other network learns from true classes, not from the answers of the network that is attacked.
    """

    surrogate: dd.Protocol = field(default_factory=lambda: dd.Protocol(augment=None, repeats=1))
    """How the other network is trained; of its fields those that say what is measured are not used."""

    def __call__(self, draw: dd.Draw, data: dd.Preprocessed, chunk: int) -> Tensor:
        rows = spread_rows(len(data), min(self.items or len(data), len(data) // 2))
        takes_unit_range(data)
        rest = torch.ones(len(data), dtype=torch.bool)
        rest[rows] = False
        store = stored(data)
        others = replace(data, store=store.subset(rest.nonzero().flatten()))
        card = dd.DataCard("the split", tuple(store.inputs.shape[1:]), store.classes, store.counts)
        device = next(iter(draw.params.values())).device
        trained = dd.train(draw.network, others, card, self.surrogate, self.surrogate.lr[0], [0], self.seed, device)
        (other,) = each_net(trained)
        nets = each_net(draw)
        return torch.tensor([self._of(net, other, data, rows, chunk * len(nets)) for net in nets])


def takes_unit_range(data: dd.Preprocessed) -> None:
    """Refuse networks that are made for items of another range than [0, 1]: what is 0 to them lies outside of it.

    Raises:
        RecipeRefused: so it is.
    """
    centre = data.preprocess.inverse(torch.zeros(1, *stored(data).inputs.shape[1:]))
    if float(centre.min()) < -EDGE or float(centre.max()) > 1 + EDGE:
        raise dd.RecipeRefused(
            f"Attacks move items within [0, 1], and the networks take 0 for items of {float(centre.min()):.3g} to"
            f" {float(centre.max()):.3g}: they want another range. Preprocess items as they are, white being 1."
        )


def spread_rows(length: int, items: int | None) -> Tensor:
    """``items`` rows (n,) among ``length``, evenly spaced; all where there are no more."""
    return torch.linspace(0, length - 1, min(items or length, length)).round().long()


def each_net(draw: dd.Draw) -> list[dd.Draw]:
    """The nets of the ensemble ``draw``, each by itself."""
    assert draw.ensemble is not None
    return [
        replace(
            draw,
            params={name: value[i] for name, value in draw.params.items()},
            buffers={name: value[i] for name, value in draw.buffers.items()},
            ensemble=None,
        )
        for i in range(draw.ensemble)
    ]


def raw_items(data: dd.Preprocessed, rows: Tensor, chunk: int, net: dd.Draw) -> Iterator[tuple[Tensor, Tensor]]:
    """Raw items (n, ...) and classes (n,) at ``rows``, at most ``chunk`` at a time, on the device of ``net``."""
    device = next(iter(net.params.values())).device
    for part in dd.slices(len(rows), chunk):
        batch = stored(data).take(rows[part])
        yield batch.inputs.to(device), batch.targets.to(device)


def stored(data: dd.Preprocessed) -> dd.Store:
    """The items that networks are measured on."""
    assert isinstance(data.store, dd.Store), "networks are measured on items without views"
    return data.store
