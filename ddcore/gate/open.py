"""The gate that answers everything."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from types import MappingProxyType
from typing import ClassVar, Literal

import torch
from torch import Tensor

from ddcore.bounds import Count
from ddcore.chunking import slices
from ddcore.device import check_compiler, check_precision
from ddcore.gate.base import DISCLOSURES, Gate, GatePlan, disjoint
from ddcore.gate.source import Source
from ddcore.ranks import Ranks
from ddcore.rng import Streams
from ddcore.store import joined
from ddcore.types import Batch, Draw, Group, ItemLoss, Params


@dataclass(frozen=True)
class Open(GatePlan):
    """No guard: every disclosure is answered exactly."""

    instead: ClassVar[Mapping[str, str]] = MappingProxyType(
        dict.fromkeys(
            ("gradient", "fit"),
            "Take gate.precision = float32: what gradients differ by is less than what bfloat16 rounds away.",
        )
    )

    max_bytes: Count | None = None
    """Bytes of the largest activation: T's side of a step is computed in chunks that keep below it. None for what suits
    the device: 4 MiB on a CPU, 1/256 of its memory on a GPU. For networks whose items do not see each other this
    changes only time and memory."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """What networks compute T's features in. ``bfloat16`` moves means by some 0.5 % and is faster where the processor
    or GPU has such products; it is refused where it is slower. S's side of a step stays in float32, and gradients of T
    are not served."""
    compiled: bool = False
    """Whether networks are compiled (``torch.compile``) where they compute T's features: some 10 seconds at the first
    step, and from then on 1.4 times as fast in ``dm`` on MNIST on a CPU, equal up to rounding. Gradients were slower
    so, and are never compiled. Needs a C++ compiler."""

    @property
    def serves(self) -> frozenset[str]:
        exact = self.precision == "float32"
        return frozenset(DISCLOSURES) if exact else frozenset(DISCLOSURES) - self.instead.keys()

    def build(self, source: Source, rng: Streams) -> OpenGate:
        if self.precision != "float32":
            check_precision("gate.precision", torch.bfloat16, source.device)
        if self.compiled:
            check_compiler("gate.compiled", source.device)
        return OpenGate(source, rng, self.max_bytes, self.precision, _compiled() if self.compiled else _embed)


def _embed(draw: Draw, inputs: Tensor) -> Tensor:
    return draw(inputs, features=True)


@cache
def _compiled() -> Callable[[Draw, Tensor], Tensor]:
    return torch.compile(_embed)


class OpenGate(Gate):
    """Answers every disclosure."""

    def __init__(
        self,
        source: Source,
        rng: Streams,
        max_bytes: int | None = None,
        precision: str = "float32",
        embed: Callable[[Draw, Tensor], Tensor] = _embed,
    ) -> None:
        super().__init__(source, rng)
        self._max_bytes = max_bytes
        self._precision = precision
        self._embed = embed

    def with_streams(self, rng: Streams) -> Gate:
        return OpenGate(self.source, rng, self._max_bytes, self._precision, self._embed)

    def _features(self, draw: Draw, inputs: Tensor) -> Tensor:
        """Features (n, d) of ``inputs``, in float32 at least however they were computed."""
        if self._precision == "float32":
            return self._embed(draw, inputs)
        with torch.autocast(self.source.device.type, torch.bfloat16):
            return self._embed(draw, inputs).float()

    @property
    def fingerprint(self) -> str | None:
        if self.source.views:
            return None
        store = self.source.store
        probe = self.source.preprocess(store.take(torch.arange(min(8, len(store)))).inputs)
        return store.fingerprint(probe)

    def _seen(self, group: Group, draw: Draw | None) -> Batch:
        rows = self.source.store.draw(self.rng["real"], group.classes, group.size, group.among)
        return self.source.take(rows, draw, group)

    def _slices(self, batch: Batch, draw: Draw) -> Iterator[slice]:
        """What of ``batch`` is computed at a time; nothing of an empty one."""
        if len(batch):
            yield from slices(len(batch), self.source.chunk(draw, tuple(batch.inputs.shape[1:]), self._max_bytes))

    def gradient(self, draw: Draw, groups: Sequence[Group], loss: ItemLoss) -> list[Params]:
        disjoint(groups)
        draw, together = self.source.asked(draw)
        params = {name: value.detach().requires_grad_() for name, value in draw.params.items()}
        sizes, sums = [], []
        for group in groups:
            batch = self._seen(group, replace(draw, loss=loss))
            mine = batch[together.share(len(batch))]
            total: list[Tensor] = []
            for part in self._slices(mine, draw):
                value = loss(draw(mine.inputs[part], params), mine.targets[part]).sum()
                gradients = torch.autograd.grad(value, list(params.values()))
                total = [a + g for a, g in zip(total, gradients, strict=True)] if total else list(gradients)
            sums.append(dict(zip(params, total or map(torch.zeros_like, params.values()), strict=True)))
            sizes.append(len(batch))
        return [
            {name: value / size for name, value in found.items()}
            for found, size in zip(together.summed(sums), sizes, strict=True)
        ]

    def features(self, draw: Draw, groups: Sequence[Group]) -> list[Tensor]:
        disjoint(groups)
        if not draw.network.per_sample:
            return self._features_joint(draw, [self._seen(group, draw) for group in groups])
        draw, together = self.source.asked(draw)
        sums: list[Tensor | float] = [0.0] * len(groups)
        sizes = [0] * len(groups)
        with torch.no_grad():
            for inputs, owners in self._joined(draw, groups, together):
                features = self._features(draw, inputs)
                for owner, part in owners:
                    sums[owner] = sums[owner] + features[part].sum(0)
                    sizes[owner] += part.stop - part.start
        found = together.summed(
            [{"sum": torch.as_tensor(s), "size": torch.tensor(n)} for s, n in zip(sums, sizes, strict=True)]
        )
        return [one["sum"] / int(one["size"]) for one in found]

    def _features_joint(self, draw: Draw, batches: Sequence[Batch]) -> list[Tensor]:
        with torch.no_grad():
            features = self._features(draw, joined([batch.inputs for batch in batches]))
        return [part.mean(0) for part in features.split([len(batch) for batch in batches])]

    def _joined(
        self, draw: Draw, groups: Sequence[Group], together: Ranks
    ) -> Iterator[tuple[Tensor, list[tuple[int, slice]]]]:
        """Chunks of this process's share of each group, small groups together, with the slice of each in them.

        Of a group of which it has no share one item goes along, in an empty slice, so that its zeros have a shape.
        """
        waiting: list[tuple[int, Tensor, int]] = []
        room = None
        for owner, group in enumerate(groups):
            inputs = self._seen(group, draw).inputs
            size = self.source.chunk(draw, tuple(inputs.shape[1:]), self._max_bytes)
            room = size if room is None else room
            mine = inputs[together.share(len(inputs))]
            pieces = [mine[part] for part in slices(len(mine), size)] if len(mine) else [inputs[:1]]
            for piece in pieces:
                if waiting and len(piece) > room:
                    yield self._together(waiting)
                    waiting, room = [], size
                waiting.append((owner, piece, min(len(piece), len(mine))))
                room -= len(piece)
        if waiting:
            yield self._together(waiting)

    @staticmethod
    def _together(pieces: list[tuple[int, Tensor, int]]) -> tuple[Tensor, list[tuple[int, slice]]]:
        owners, start = [], 0
        for owner, piece, counted in pieces:
            owners.append((owner, slice(start, start + counted)))
            start += len(piece)
        return joined([piece for _, piece, _ in pieces]), owners

    def statistics(self, pixels: bool = False) -> dict[str, Tensor]:
        if pixels:
            return self._moments()
        n, channels, *rest = self.source.store.inputs.shape
        total, squares = torch.zeros(2, channels, dtype=torch.float64, device=self.source.device)
        for x in self._everything():
            x = x.unsqueeze(-1).flatten(2).movedim(1, 0).flatten(1)
            total, squares = total + x.sum(1), squares + (x * x).sum(1)
        (found,) = self.source.ranks(None).summed([{"total": total, "squares": squares}])
        count = n * math.prod(rest)
        mean = found["total"] / count
        return {"mean": mean.float(), "std": (found["squares"] / count - mean**2).clamp_min(0).sqrt().float()}

    def _moments(self) -> dict[str, Tensor]:
        n, *shape = self.source.store.inputs.shape
        total = torch.zeros(math.prod(shape), dtype=torch.float64, device=self.source.device)
        products = total.outer(total)
        for x in self._everything():
            x = x.flatten(1)
            total, products = total + x.sum(0), products + x.T @ x
        (found,) = self.source.ranks(None).summed([{"total": total, "products": products}])
        mean = found["total"] / n
        return {"mean": mean, "covariance": found["products"] / n - mean.outer(mean)}

    def _everything(self) -> Iterator[Tensor]:
        """This process's share of T under the views, not preprocessed, lot by lot in float64."""
        lots = list(self.source.store.lots())
        for rows in lots[self.source.ranks(None).share(len(lots))]:
            yield self.source.raw(self.source.store.take(rows), None).inputs.double()

    def examples(self, groups: Sequence[Group]) -> list[Batch]:
        disjoint(groups)
        return [self._seen(group, None) for group in groups]
