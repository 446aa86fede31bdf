"""The space of NAS-Bench-201: one cell, repeated."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

from ddcore import plugin as dd
from ddcore_nas.papers import NAS_BENCH_201
from ddcore_nas.space import Space, faulty

Operation = Literal["none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"]
NODES = 4
EDGES = tuple((node, before) for node in range(1, NODES) for before in range(node))
"""Each edge of a cell as (its end, its start), in the order in which architectures write them."""


def written(operations: tuple[str, ...]) -> str:
    """The architecture as NAS-Bench-201 writes it: ``|op~0|+|op~0|op~1|+|op~0|op~1|op~2|``."""
    nodes: dict[int, str] = {}
    for (node, before), operation in zip(EDGES, operations, strict=True):
        nodes[node] = f"{nodes.get(node, '|')}{operation}~{before}|"
    return "+".join(nodes.values())


def edge(operation: Operation, channels: int) -> nn.Module:
    """The operation on one edge."""
    if operation == "skip_connect":
        return nn.Identity()
    if operation == "avg_pool_3x3":
        return nn.AvgPool2d(3, 1, 1, count_include_pad=False)
    kernel = 3 if operation == "nor_conv_3x3" else 1
    convolution = nn.Conv2d(channels, channels, kernel, 1, kernel // 2, bias=False)
    return nn.Sequential(nn.ReLU(), convolution, nn.BatchNorm2d(channels))


def used(operations: tuple[Operation, ...]) -> dict[tuple[int, int], Operation]:
    """The edges on a way from the first node to the last, with their operations."""
    whole: dict[tuple[int, int], Operation] = {at: op for at, op in zip(EDGES, operations, strict=True) if op != "none"}
    fed, heard = {0}, {NODES - 1}
    for node, before in whole:
        fed |= {node} if before in fed else set()
    for node, before in reversed(whole):
        heard |= {before} if node in heard else set()
    return {(node, before): op for (node, before), op in whole.items() if node in heard and before in fed}


class CellModule(nn.Module):
    """Four nodes, each the sum of what comes along the edges from those before it."""

    def __init__(self, operations: tuple[Operation, ...], channels: int) -> None:
        super().__init__()
        self.edges = nn.ModuleDict({f"{node}{at}": edge(op, channels) for (node, at), op in used(operations).items()})

    def forward(self, x: Tensor) -> Tensor:
        nodes = [x]
        for node in range(1, NODES):
            there = [f"{node}{before}" for before in range(node)]
            coming = [self.edges[name](nodes[int(name[1])]) for name in there if name in self.edges]
            nodes.append(sum(coming, x.new_zeros(())).expand_as(x))
        return nodes[-1]


class Halving(nn.Module):
    """A residual block that halves the image and doubles the channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        out = 2 * channels
        first = nn.Sequential(nn.ReLU(), nn.Conv2d(channels, out, 3, 2, 1, bias=False), nn.BatchNorm2d(out))
        second = nn.Sequential(nn.ReLU(), nn.Conv2d(out, out, 3, 1, 1, bias=False), nn.BatchNorm2d(out))
        self.body = nn.Sequential(first, second)
        self.shortcut = nn.Sequential(nn.AvgPool2d(2, 2, ceil_mode=True), nn.Conv2d(channels, out, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x) + self.shortcut(x)


class CellModules(nn.Module):
    """A stem, three stages of cells with a halving block between them, the mean over the image, one linear layer."""

    def __init__(self, plan: CellNet, card: dd.DataCard) -> None:
        super().__init__()
        channels, self.channels = plan.width, 4 * plan.width
        layers: list[nn.Module] = [
            nn.Conv2d(card.shape[0], channels, 3, 1, 1, bias=False),
            nn.BatchNorm2d(channels),
        ]
        for stage in range(3):
            if stage:
                layers.append(Halving(channels))
                channels *= 2
            layers += [CellModule(plan.operations, channels) for _ in range(plan.cells)]
        self.body = nn.Sequential(*layers, nn.BatchNorm2d(channels), nn.ReLU()) if used(plan.operations) else None
        self.head = nn.Linear(channels, card.outputs)

    def features(self, x: Tensor) -> Tensor:
        if self.body is None:
            return (0 * x.mean((1, 2, 3)))[:, None].expand(-1, self.channels)
        return self.body(x).mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


@dataclass(frozen=True)
class CellNet(dd.NetworkPlan):
    """The network of one cell of NAS-Bench-201 (Dong and Yang, ICLR 2020, Section 2.1).

    **Differs**: ``width`` and ``cells`` are smaller by default, for small machines; published are 16 and 5.
    """

    suits = frozenset({"image"})
    cites = (NAS_BENCH_201,)

    architecture: str = written(("nor_conv_3x3",) * len(EDGES))
    """The operation of each edge, as NAS-Bench-201 writes it: ``|nor_conv_3x3~0|+|none~0|skip_connect~1|+...``."""
    width: dd.Count = 8
    """Channels of the first stage. Published: 16."""
    cells: dd.Count = 1
    """Cells of each of the three stages. Published: 5."""

    @property
    def operations(self) -> tuple[Any, ...]:
        return tuple(re.findall(r"(\w+)~\d", self.architecture))

    def faults(self) -> Iterator[str]:
        known = Operation.__args__  # type: ignore[attr-defined]
        found = self.operations
        if len(found) != len(EDGES) or written(found) != self.architecture or not {*found} <= {*known}:
            yield (
                f"architecture = {self.architecture!r} is no cell: write one of {', '.join(known)} for each edge, as in"
                f" {written(('none',) * len(EDGES))}"
            )

    def build(self, card: dd.DataCard) -> dd.ModuleNetwork:
        return dd.ModuleNetwork(lambda: CellModules(self, card))


@dataclass(frozen=True)
class Cells(Space):
    """The 15 625 cells of NAS-Bench-201: one of five operations on each of six edges.

    **Reference**: Dong and Yang, ICLR 2020, Section 2.1. Their accuracies can be read from a ``table`` that you have;
    nothing is downloaded.
    """

    suits = frozenset({"image"})
    cites = (NAS_BENCH_201,)

    operations: tuple[Operation, ...] = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
    """The operations to choose from."""
    width: dd.Count = 8
    """Channels of the first stage. Published: 16."""
    cells: dd.Count = 1
    """Cells of each of the three stages. Published: 5."""

    def faults(self) -> Iterator[str]:
        yield from faulty(operations=self.operations)

    def decisions(self) -> Mapping[str, tuple[Any, ...]]:
        return {f"edge_{before}_{node}": self.operations for node, before in EDGES}

    def called(self, chosen: Mapping[str, Any]) -> str:
        return written(tuple(chosen.values()))

    def network(self, chosen: Mapping[str, Any]) -> dd.NetworkPlan:
        return CellNet(self.called(chosen), self.width, self.cells)
