"""The gate that answers everything."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ddcore.bounds import Count
from ddcore.chunking import slices
from ddcore.gate.base import DISCLOSURES, Gate, GatePlan, disjoint
from ddcore.gate.source import Source
from ddcore.rng import Streams
from ddcore.store import joined
from ddcore.types import Batch, Draw, Group, ItemLoss, Params


@dataclass(frozen=True)
class Open(GatePlan):
    """No guard: every disclosure is answered exactly."""

    max_bytes: Count | None = None
    """Bytes of the largest activation: T's side of a step is computed in chunks that keep below it. None for what suits
    the device: 4 MiB on a CPU, 1/256 of its memory on a GPU. For networks whose items do not see each other this
    changes only time and memory."""

    @property
    def serves(self) -> frozenset[str]:
        return frozenset(DISCLOSURES)

    def build(self, source: Source, rng: Streams) -> OpenGate:
        return OpenGate(source, rng, self.max_bytes)


class OpenGate(Gate):
    """Answers every disclosure."""

    def __init__(self, source: Source, rng: Streams, max_bytes: int | None) -> None:
        super().__init__(source, rng)
        self._max_bytes = max_bytes

    def with_streams(self, rng: Streams) -> Gate:
        return OpenGate(self.source, rng, self._max_bytes)

    @property
    def fingerprint(self) -> str | None:
        if self.source.views:
            return None
        store = self.source.store
        probe = self.source.preprocess(store.take(torch.arange(min(8, len(store)))).inputs)
        return store.fingerprint(probe)

    def _seen(self, group: Group, draw: Draw | None) -> Batch:
        rows = self.source.store.draw(self.rng["real"], group.classes, group.size)
        return self.source.take(rows, draw, group)

    def gradient(self, draw: Draw, groups: Sequence[Group], loss: ItemLoss) -> list[Params]:
        disjoint(groups)
        params = {name: value.detach().requires_grad_() for name, value in draw.params.items()}
        answers = []
        for group in groups:
            batch = self._seen(group, replace(draw, loss=loss))
            total: list[Tensor] = []
            for part in slices(len(batch), self.source.chunk(draw, tuple(batch.inputs.shape[1:]), self._max_bytes)):
                value = loss(draw(batch.inputs[part], params), batch.targets[part]).sum()
                gradients = torch.autograd.grad(value, list(params.values()))
                total = [a + g for a, g in zip(total, gradients, strict=True)] if total else list(gradients)
            answers.append({name: g / len(batch) for name, g in zip(params, total, strict=True)})
        return answers

    def features(self, draw: Draw, groups: Sequence[Group]) -> list[Tensor]:
        disjoint(groups)
        if not draw.network.per_sample:
            return self._features_joint(draw, [self._seen(group, draw) for group in groups])
        sums: list[Tensor | float] = [0.0] * len(groups)
        sizes = [0] * len(groups)
        with torch.no_grad():
            for inputs, owners in self._joined(draw, groups):
                features = draw(inputs, features=True)
                for owner, part in owners:
                    sums[owner] = sums[owner] + features[part].sum(0)
                    sizes[owner] += part.stop - part.start
        return [torch.as_tensor(total) / n for total, n in zip(sums, sizes, strict=True)]

    def _features_joint(self, draw: Draw, batches: Sequence[Batch]) -> list[Tensor]:
        with torch.no_grad():
            features = draw(joined([batch.inputs for batch in batches]), features=True)
        return [part.mean(0) for part in features.split([len(batch) for batch in batches])]

    def _joined(self, draw: Draw, groups: Sequence[Group]) -> Iterator[tuple[Tensor, list[tuple[int, slice]]]]:
        """Chunks of inputs, small groups together, with the slice of each group that stands in them."""
        waiting: list[tuple[int, Tensor]] = []
        room = None
        for owner, group in enumerate(groups):
            inputs = self._seen(group, draw).inputs
            size = self.source.chunk(draw, tuple(inputs.shape[1:]), self._max_bytes)
            room = size if room is None else room
            for part in slices(len(inputs), size):
                piece = inputs[part]
                if waiting and len(piece) > room:
                    yield self._together(waiting)
                    waiting, room = [], size
                waiting.append((owner, piece))
                room -= len(piece)
        if waiting:
            yield self._together(waiting)

    @staticmethod
    def _together(pieces: list[tuple[int, Tensor]]) -> tuple[Tensor, list[tuple[int, slice]]]:
        owners, start = [], 0
        for owner, piece in pieces:
            owners.append((owner, slice(start, start + len(piece))))
            start += len(piece)
        return joined([piece for _, piece in pieces]), owners

    def statistics(self, pixels: bool = False) -> dict[str, Tensor]:
        if pixels:
            return self._moments()
        total, squares, count = 0.0, 0.0, 0
        for batch in self.source.store.chunks():
            x = self.source.raw(batch, None).inputs.double().unsqueeze(-1).flatten(2).movedim(1, 0).flatten(1)
            total, squares, count = total + x.sum(1), squares + (x * x).sum(1), count + x.shape[1]
        mean = torch.as_tensor(total) / count
        return {"mean": mean.float(), "std": (torch.as_tensor(squares) / count - mean**2).clamp_min(0).sqrt().float()}

    def _moments(self) -> dict[str, Tensor]:
        total, products = 0.0, 0.0
        for batch in self.source.store.chunks():
            x = self.source.raw(batch, None).inputs.double().flatten(1)
            total, products = total + x.sum(0), products + x.T @ x
        count = len(self.source.store)
        mean = torch.as_tensor(total) / count
        return {"mean": mean, "covariance": torch.as_tensor(products) / count - mean.outer(mean)}

    def examples(self, groups: Sequence[Group]) -> list[Batch]:
        disjoint(groups)
        return [self._seen(group, None) for group in groups]
