"""A small space of residual networks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

from ddcore import plugin as dd
from ddcore_nas.papers import RESNET
from ddcore_nas.space import Space, faulty

Norm = Literal["batch", "instance", "layer"]


class Block(nn.Module):
    """relu( body(x) + shortcut(x) ), of two 3x3 convolutions, the first of which may halve the image."""

    def __init__(self, into: int, out: int, stride: int, norm: Norm, skips: bool) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(into, out, 3, stride, 1, bias=False),
            normed(norm, out),
            nn.ReLU(),
            nn.Conv2d(out, out, 3, 1, 1, bias=False),
            normed(norm, out),
        )
        changed = nn.Sequential(nn.Conv2d(into, out, 1, stride, bias=False), normed(norm, out))
        self.shortcut = None if not skips else changed if (into, stride) != (out, 1) else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        body = self.body(x)
        return (body if self.shortcut is None else body + self.shortcut(x)).relu()


def normed(norm: Norm, channels: int) -> nn.Module:
    groups = {"instance": channels, "layer": 1}
    return nn.BatchNorm2d(channels) if norm == "batch" else nn.GroupNorm(groups[norm], channels)


class Staged(nn.Module):
    """A 3x3 stem, stages of blocks, the mean over the image, one linear layer."""

    def __init__(self, plan: ResidualNet, card: dd.DataCard) -> None:
        super().__init__()
        width, side = plan.width, max(card.shape[1:])
        layers: list[nn.Module] = [nn.Conv2d(card.shape[0], width, 3, 1, 1, bias=False), normed(plan.norm, width)]
        layers.append(nn.ReLU())
        into = width
        for stage in range(plan.stages):
            stride = 2 if stage and side > 2 else 1
            side = math.ceil(side / stride)
            for block in range(plan.blocks):
                layers.append(Block(into, width, stride if not block else 1, plan.norm, plan.skips))
                into = width
            width *= 2
        self.body, self.head = nn.Sequential(*layers), nn.Linear(into, card.outputs)

    def features(self, x: Tensor) -> Tensor:
        return self.body(x).mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


@dataclass(frozen=True)
class ResidualNet(dd.NetworkPlan):
    """Stages of residual blocks; each stage after the first halves the image, where it is larger than two pixels."""

    suits = frozenset({"image"})
    cites = (RESNET,)

    width: dd.Count = 16
    """Channels of the first stage; each other stage has twice those of the one before."""
    stages: dd.Count = 3
    """Stages."""
    blocks: dd.Count = 1
    """Blocks of each stage."""
    norm: Norm = "batch"
    """Normalisation after each convolution."""
    skips: bool = True
    """Whether blocks have shortcuts."""

    def build(self, card: dd.DataCard) -> dd.ModuleNetwork:
        return dd.ModuleNetwork(lambda: Staged(self, card))


@dataclass(frozen=True)
class Residuals(Space):
    """Residual networks of each width, number of stages and of blocks, normalisation, with and without shortcuts."""

    suits = frozenset({"image"})
    cites = (RESNET,)

    widths: tuple[dd.Count, ...] = (8, 16, 32)
    """Channels of the first stage."""
    stages: tuple[dd.Count, ...] = (1, 2, 3)
    """Stages."""
    blocks: tuple[dd.Count, ...] = (1, 2)
    """Blocks of each stage."""
    norms: tuple[Norm, ...] = ("batch", "instance", "layer")
    """Normalisations."""
    skips: tuple[bool, ...] = (True, False)
    """Whether there are shortcuts."""

    def faults(self) -> Iterator[str]:
        yield from faulty(
            widths=self.widths, stages=self.stages, blocks=self.blocks, norms=self.norms, skips=self.skips
        )

    def decisions(self) -> Mapping[str, tuple[Any, ...]]:
        return {
            "width": self.widths,
            "stages": self.stages,
            "blocks": self.blocks,
            "norm": self.norms,
            "skips": self.skips,
        }

    def called(self, chosen: Mapping[str, Any]) -> str:
        plain = super().called({name: value for name, value in chosen.items() if name != "skips"})
        return f"{plain}-{'residual' if chosen['skips'] else 'plain'}"

    def network(self, chosen: Mapping[str, Any]) -> dd.NetworkPlan:
        return ResidualNet(**chosen)
