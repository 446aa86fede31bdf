"""Folders of ``.wav`` files."""

from __future__ import annotations

import wave
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ddcore import plugin as dd
from ddcore_audio.spectrum import LogMel

SCALES = {1: ("u1", 128, 128), 2: ("<i2", 0, 2**15), 4: ("<i4", 0, 2**31)}
"""Bytes of a sample: its type, its zero, its largest value."""


@dataclass(frozen=True)
class Wav(dd.DataSet):
    """``.wav`` files in ``root/CLASS/``, or in ``root`` under names that begin with the class and ``_``.

    PCM of 8, 16 or 32 bits, all at one rate; channels are averaged. Short recordings are filled up with silence, and
    long ones cut. An item is the wave (1, t), or its spectrogram: a signal (bands, frames), or an image of one channel.
    """

    root: str
    """The folder."""
    test: str | None = None
    """Names of the files to test on, as in ``*_[0-4].wav``; None for a tenth, always the same."""
    seconds: dd.Positive = 1.0
    """Length of an item."""
    spectrum: LogMel | None = LogMel()
    """How waves are seen; None for the waves themselves."""
    items: Literal["signal", "image"] = "signal"
    """What a spectrogram is: a signal, along whose time networks slide, or an image."""

    def item_kind(self) -> str:
        return "signal" if self.spectrum is None else self.items

    def load(self) -> dd.RealData:
        root = Path(self.root).expanduser()
        files = sorted(p for p in root.rglob("*") if p.suffix.lower() == ".wav" and not p.name.startswith("."))
        if not files:
            raise dd.BadData(f"There is no .wav file below {root}.")
        names = [file.name.split("_")[0] if file.parent == root else file.parent.name for file in files]
        rates = {file: read_wav(file)[1] for file in files}
        if len({*rates.values()}) > 1:
            raise dd.BadData(f"The files below {root} have the rates {sorted({*rates.values()})}: bring them to one.")
        rate = rates[files[0]]
        x, classes = self._items(files, rate), sorted({*names})
        y = torch.tensor([classes.index(name) for name in names])
        aside = torch.tensor([self.test is not None and fnmatch(file.name, self.test) for file in files])
        if self.test is not None and not 0 < int(aside.sum()) < len(files):
            raise dd.BadData(f"{int(aside.sum())} of {len(files)} files below {root} are named {self.test} (test).")
        return dd.RealData.of(
            root.name,
            (x[~aside], y[~aside]),
            (x[aside], y[aside]) if self.test else None,
            kind=self.item_kind(),
            layout="nchw" if self.item_kind() == "image" else "nct",
            white=1,
            class_names=classes,
            flips=False,
            notes=[f"Recordings at {rate} samples per second, {self.seconds:g} s of each."],
        )

    def _items(self, files: Sequence[Path], rate: int) -> Tensor:
        length = round(self.seconds * rate)
        waves = torch.zeros(len(files), length)
        for row, file in zip(waves, files, strict=True):
            found = read_wav(file)[0][:length]
            row[: len(found)] = found
        if self.spectrum is None:
            return waves[:, None]
        if length < self.spectrum.window:
            raise dd.BadData(f"{self.seconds:g} s are {length} samples, fewer than a window of {self.spectrum.window}.")
        spectra = self.spectrum(waves, rate)
        return spectra if self.items == "signal" else spectra[:, None]


def read_wav(path: Path) -> tuple[Tensor, int]:
    """The samples (t,) of a file in [-1, 1], its channels averaged, and how many make a second.

    Raises:
        BadData: it is no such file.
    """
    try:
        with wave.open(str(path)) as file:
            width, rate, channels = file.getsampwidth(), file.getframerate(), file.getnchannels()
            held = file.readframes(file.getnframes())
        kind, zero, most = SCALES[width]
        samples = np.frombuffer(held, kind).reshape(-1, channels)
    except (OSError, EOFError, KeyError, ValueError, wave.Error) as error:
        raise dd.BadData(f"{path} cannot be read as PCM of 8, 16 or 32 bits ({error!r}).") from error
    if not len(samples):
        raise dd.BadData(f"{path} holds no sample.")
    return torch.from_numpy((samples.astype(np.float32) - zero).mean(1) / most), rate


def write_wav(path: Path, samples: Tensor, rate: int) -> None:
    """Write ``samples`` (t,), of which 1 is the loudest, as PCM of 16 bits."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((samples.clamp(-1, 1) * (2**15 - 1)).round().numpy().astype("<i2").tobytes())
