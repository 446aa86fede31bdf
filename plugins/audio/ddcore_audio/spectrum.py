"""Log-mel spectrograms, and waves that sound like them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ddcore import plugin as dd

FLOOR = 1e-5
"""Added to energies before their logarithm is taken."""


class Spectrum(dd.Part, kind="spectrum"):
    """How a wave is seen as frequencies over time."""


@dataclass(frozen=True)
class LogMel(Spectrum):
    """log(E + 1e-5), E the magnitudes of a Fourier transform of short windows, in bands of equal width to the ear.

    The way back is approximate: magnitudes by least squares from the bands, phases by Griffin and Lim.

    **References**: Stevens et al., 1937, for the scale; Griffin and Lim, IEEE TASSP 1984, for the way back.
    """

    bands: dd.Count = 40
    """Bands of frequency, from 0 to half the rate."""
    window: dd.Count = 256
    """Samples of a window, of Hann's shape."""
    hop: dd.Count = 128
    """Samples from one window to the next."""

    def faults(self) -> Iterator[str]:
        if self.hop > self.window:
            yield f"hop = {self.hop} leaves gaps between windows of {self.window}: take at most that"
        if self.bands > self.window // 2 + 1:
            yield f"bands = {self.bands}: a window of {self.window} has only {self.window // 2 + 1} frequencies"

    def __call__(self, waves: Tensor, rate: int) -> Tensor:
        """Spectrograms (n, bands, t // hop) of ``waves`` (n, t) at ``rate`` samples per second."""
        magnitudes = self._transformed(waves).abs()[:, :, : waves.shape[1] // self.hop]
        return (self._filters(rate) @ magnitudes + FLOOR).log()

    def inverse(self, spectra: Tensor, rate: int, rounds: int = 60) -> Tensor:
        """Waves (n, frames * hop) whose spectrograms are near ``spectra`` (n, bands, frames)."""
        energies = (spectra.exp() - FLOOR).clamp_min(0)
        magnitudes = (torch.linalg.pinv(self._filters(rate)) @ energies).clamp_min(0)
        magnitudes = torch.cat([magnitudes, magnitudes[:, :, -1:]], 2)
        length = spectra.shape[2] * self.hop
        generator = torch.Generator().manual_seed(0)
        phases = torch.polar(torch.ones(()), 2 * math.pi * torch.rand(magnitudes.shape, generator=generator))
        for _ in range(rounds):
            phases = torch.sgn(self._transformed(self._waves(magnitudes * phases, length)))
        return self._waves(magnitudes * phases, length)

    def _transformed(self, waves: Tensor) -> Tensor:
        return torch.stft(
            waves,
            self.window,
            self.hop,
            window=torch.hann_window(self.window),
            return_complex=True,
            pad_mode="constant",
        )

    def _waves(self, transformed: Tensor, length: int) -> Tensor:
        return torch.istft(transformed, self.window, self.hop, window=torch.hann_window(self.window), length=length)

    def _filters(self, rate: int) -> Tensor:
        """Triangles (bands, frequencies), each from the middle of the band below to that of the one above."""
        top = 2595 * math.log10(1 + rate / 2 / 700)
        edges = 700 * (10 ** (torch.linspace(0, top, self.bands + 2) / 2595) - 1)
        frequencies = torch.linspace(0, rate / 2, self.window // 2 + 1)
        low, middle, high = (edges[i : i + self.bands, None] for i in range(3))
        spread = rate / self.window  # a narrow band still meets its nearest frequency
        rising = (frequencies - low) / (middle - low).clamp_min(spread)
        falling = (high - frequencies) / (high - middle).clamp_min(spread)
        return torch.minimum(rising, falling).clamp_min(0)
