"""Changes of signals: shift, noise, masks."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from ddcore.augment.base import Augment
from ddcore.augment.transforms import beside, of_items
from ddcore.bounds import NotNegative, Share
from ddcore.types import Transform


@dataclass(frozen=True)
class Jitter(Augment):
    """A shift in time, noise, and masks of a stretch of time and of some adjacent channels.

    **Reference**: the masks, Park et al., SpecAugment, Interspeech 2019, without time warping; what is masked becomes
    zero, the mean of standardised signals.
    """

    suits = frozenset({"signal"})

    shift: Share = 0.1
    """Largest shift, either way, as a share of the length; zeros come in."""
    noise: NotNegative = 0.1
    """Standard deviation of the noise, in units of the inputs."""
    time: Share = 0.2
    """Longest masked stretch of time, as a share of the length."""
    channels: Share = 0.2
    """Most masked channels, as a share of all; less than one channel masks none."""

    @property
    def itemwise(self) -> bool:
        return True

    def draw(self, generator: Generator, shape: tuple[int, ...], n: int | None = None) -> Transform:
        n, (channels, length) = n or 1, shape
        reach = int(self.shift * length)
        return Jittered(
            torch.randint(-reach, reach + 1, (n,), generator=generator),
            self.noise * torch.randn(n, *shape, generator=generator),
            _kept(n, length, self.time, generator),
            _kept(n, channels, self.channels, generator),
        )


def _kept(n: int, size: int, share: float, generator: Generator) -> Tensor:
    """0 in a stretch of up to ``share`` of ``size`` places, at a uniform place, and 1 elsewhere, (n, size)."""
    longest = int(share * size)
    length = torch.randint(longest + 1, (n, 1), generator=generator)
    first = (torch.rand(n, 1, generator=generator) * (size - length + 1)).long()
    places = torch.arange(size)
    return ((places < first) | (places >= first + length)).float()


@dataclass(frozen=True)
class Jittered:
    """Signals (m, c, t) moved to the right by ``steps`` (n,), plus ``noise`` (n, c, t), times what is kept."""

    steps: Tensor
    noise: Tensor
    times: Tensor
    channels: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        length = x.shape[2]
        source = torch.arange(length, device=x.device) - beside(of_items(self.steps, x), x).long()[:, None]
        inside = ((source >= 0) & (source < length)).to(x)
        rows = source.clamp(0, length - 1)[:, None].expand(len(x), x.shape[1], length)
        moved = x.gather(2, rows) * inside[:, None] + beside(self.noise, x)
        return moved * beside(self.times, x)[:, None] * beside(self.channels, x)[:, :, None]
