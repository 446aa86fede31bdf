"""A data set of vectors."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ddcore import plugin as dd


@dataclass(frozen=True)
class Rings(dd.DataSet):
    """Points (2,) on two rings, one within the other; which one is the class."""

    items: dd.Count = 400
    """Points of both splits together."""

    def item_kind(self) -> str:
        return "vector"

    def load(self) -> dd.RealData:
        generator = torch.Generator().manual_seed(0)
        targets = torch.arange(self.items) % 2
        angles = 2 * torch.pi * torch.rand(self.items, generator=generator)
        radii = 1.0 + targets + 0.1 * torch.randn(self.items, generator=generator)
        points = radii[:, None] * torch.stack([angles.cos(), angles.sin()], 1)
        return dd.RealData.of("rings", (points, targets), None, class_names=("inner", "outer"))
