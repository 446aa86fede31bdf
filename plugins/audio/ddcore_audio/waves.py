"""Sets that can be listened to, and looked at."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure
from torch import Tensor

from ddcore import plugin as dd
from ddcore_audio.spectrum import LogMel
from ddcore_audio.wav import write_wav


@dataclass(frozen=True)
class Waves(dd.Format):
    """``CLASS_0.wav`` for each item, and a picture of all spectrograms; each item is made as loud as can be.

    Of spectrograms the wave is only near: it is to be listened to, and is not read again.
    """

    rate: dd.Count = 8000
    """Samples per second of the data."""
    spectrum: LogMel | None = LogMel()
    """How the data were seen, as of ``wav``; None where they are waves."""

    def write(self, distilled: dd.DistilledSet, out: Path) -> list[str]:
        card = distilled.data
        raw = dd.preprocess_of(distilled, dd.Host().catalogue).inverse(distilled.inputs)
        bands = 1 if self.spectrum is None else self.spectrum.bands
        if card.kind not in ("signal", "image") or (raw[0, 0] if card.kind == "image" else raw[0]).shape[0] != bands:
            raise dd.BadArtefact(
                f"The items of {card.name} are {card.kind}s of {card.shape}, and no"
                f" {'waves' if self.spectrum is None else f'spectrograms of {bands} bands'}. Say how they were seen:"
                " --format 'waves(rate=8000)'."
            )
        found = raw[:, 0] if card.kind == "image" or self.spectrum is None else raw
        heard = found if self.spectrum is None else self.spectrum.inverse(found, self.rate)
        out.mkdir()
        classes = distilled.targets if distilled.targets.ndim == 1 else distilled.targets.argmax(1)
        names, counted = [], Counter[str]()
        for samples, c in zip(heard, classes.tolist(), strict=True):
            name = card.called(c)
            write_wav(out / f"{name}_{counted[name]}.wav", samples / samples.abs().max().clamp_min(1e-9), self.rate)
            names.append(name)
            counted[name] += 1
        if self.spectrum is not None:
            _picture(found, names, out / "spectrograms.png")
        return ["The waves sound like the items, whose phases are not known: networks are trained on the set itself."]

    def read(self, path: Path, card: dd.DataCard) -> dd.Released:
        raise dd.BadArtefact("Waves are for listening: read the set from its own file.")

    def takes(self, path: Path) -> bool:
        return False


def _picture(spectra: Tensor, names: list[str], path: Path) -> None:
    """All ``spectra`` (n, bands, frames), low frequencies below, in rows of up to ten."""
    wide = min(10, len(spectra))
    figure = Figure(figsize=(1.3 * wide, 1.5 * -(-len(spectra) // wide)), layout="constrained")
    axes = figure.subplots(-(-len(spectra) // wide), wide, squeeze=False).flatten()
    for axis in axes:
        axis.set_axis_off()
    for axis, item, name in zip(axes, spectra, names, strict=False):
        axis.imshow(item.numpy(), origin="lower", aspect="auto", cmap="magma")
        axis.set_title(name, fontsize=8)
    figure.supxlabel("time", fontsize=8)
    figure.supylabel("frequency", fontsize=8)
    dd.save_figure(figure, path)
