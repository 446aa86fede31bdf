"""Tensors in files of torch."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ddcore.artefact import DistilledSet
from ddcore.bounds import Whole
from ddcore.datasets.base import check_unpacked
from ddcore.errors import BadArtefact, BadData
from ddcore.exchange.base import Format, Released, shares
from ddcore.exchange.ranking import ranking
from ddcore.types import DataCard

IMAGES, LABELS, RATE = "images", "labels", "lr"
LEAST = -80.0
"""Logarithm of the smallest share that is told from none."""
_SCALAR: Any = np.float64().__reduce__()[0]
SCORES_OF_RUNS = [
    *((_SCALAR, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
    *(np.dtype, *{type(np.dtype(kind)) for kind in ("f4", "f8", "i4", "i8")}),
]
"""Numbers of numpy, which DC and its heirs save beside their sets."""


@dataclass(frozen=True)
class Tensors(Format):
    """A folder with ``images.pt``, ``labels.pt`` and, with a step size, ``lr.pt``; or one file, by a path with ``.pt``.

    Written are inputs as networks take them, float32, and classes int64 (n,) or, for shares, their logarithms (n, k),
    which DD-Ranking and DATM take as logits; for data that DD-Ranking knows, a folder has its ``config.yaml``. One file
    has the layout of DC: ``{"data": [[images, labels]]}``.

    Read are such, those of MTT and its heirs (``images_best.pt``, ``images_5000.pt`` ... beside ``labels_...``), of DC,
    DSA, DM and DataDAM (one pair per experiment), of IDC and NCFM (``[images, labels]``), and tables of ``images`` and
    ``labels``.
    """

    experiment: Whole = 0
    """Which of the sets in one file is read, from 0, where it holds one per experiment."""

    @property
    def holds(self) -> frozenset[str]:
        return frozenset({"step_sizes"})

    def write(self, distilled: DistilledSet, out: Path) -> list[str]:
        notes, labels, sizes = [], distilled.targets, distilled.step_sizes
        if labels.ndim == 2 and distilled.loss == "cross_entropy" and shares(labels):
            labels = labels.log().clamp_min(LEAST)
            notes.append("The labels are logits: their softmax is the share of each class (DD-Ranking's sce).")
        if out.suffix == ".pt":
            found: dict[str, Any] = {"data": [[distilled.inputs, labels]]}
            torch.save(found | ({RATE: sizes} if sizes is not None else {}), out)
            return notes
        out.mkdir()
        torch.save(distilled.inputs, out / f"{IMAGES}.pt")
        torch.save(labels, out / f"{LABELS}.pt")
        if sizes is not None:
            torch.save(sizes[0] if len(sizes) == 1 else sizes, out / f"{RATE}.pt")
        config, unsuited = ranking(distilled)
        if config:
            (out / "config.yaml").write_text(config, "utf-8")
        return [*notes, *unsuited]

    def read(self, path: Path, card: DataCard) -> Released:
        images = _images_in(path) if path.is_dir() else path
        held, rate = _loaded(images), None
        if isinstance(held, Tensor):
            ending = images.name.removeprefix(IMAGES)
            labels = images.with_name(f"{LABELS}{ending}")
            if ending == images.name or not labels.is_file():
                raise BadArtefact(
                    f"{images} holds one tensor, and there is no {labels.name} beside it with the labels."
                )
            rate = next((p for n in (ending, ".pt") if (p := images.with_name(f"{RATE}{n}")).is_file()), None)
            pair, rate = (held, _loaded(labels)), None if rate is None else _loaded(rate)
            taken_for = f"{images.name} and {labels.name}, as MTT saves them"
        elif isinstance(held, dict) and isinstance(every := held.get("data"), list):
            if self.experiment >= len(every):
                raise BadArtefact(
                    f"{path} holds {len(every)} sets: name one from 0 (--format 'tensors(experiment=0)')."
                )
            pair, rate = every[self.experiment], held.get(RATE)
            taken_for = f"the layout of DC, set {self.experiment} of {len(every)}"
        elif isinstance(held, dict):
            pair, rate = (held.get(IMAGES), held.get(LABELS)), held.get(RATE)
            taken_for = "a table of images and labels"
        else:
            pair, taken_for = (
                held,
                "images and labels, as IDC and NCFM save them, whose images may be tiles of several (--factor)",
            )
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise BadArtefact(
                f"{path} is of no layout that is read: a folder with images.pt and labels.pt, or a file with"
                ' {"data": [[images, labels]]}, {"images": images, "labels": labels} or [images, labels].'
            )
        inputs, labels = (
            _plain(value, f"{path}: its {what}") for value, what in zip(pair, (IMAGES, LABELS), strict=True)
        )
        sizes = torch.tensor([rate]) if isinstance(rate, float) else rate
        sizes = None if sizes is None else _plain(sizes, f"{path}: its {RATE}").float().flatten()
        return Released(inputs, labels, taken_for, sizes)

    def takes(self, path: Path) -> bool:
        return path.suffix in (".pt", ".pth") or (path.is_dir() and any(path.glob(f"{IMAGES}*.pt")))


def _images_in(folder: Path) -> Path:
    """The file of images in ``folder``: the plain one, the best one, or the only one."""
    found = {p.name: p for p in sorted(folder.glob(f"{IMAGES}*.pt")) if (folder / f"{LABELS}{p.name[6:]}").is_file()}
    chosen = next((found[n] for n in (f"{IMAGES}.pt", f"{IMAGES}_best.pt") if n in found), None)
    if chosen is None and len(found) != 1:
        raise BadArtefact(
            f"{folder} holds {', '.join(found) or 'no images*.pt with its labels*.pt'}."
            + (" Name the file of the images that are meant." if found else "")
        )
    return chosen or next(iter(found.values()))


def _loaded(path: Path) -> Any:
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as packed:
                check_unpacked(path, path.stat().st_size, sum(entry.file_size for entry in packed.infolist()))
        with torch.serialization.safe_globals(SCORES_OF_RUNS):
            return torch.load(path, map_location="cpu", weights_only=True)
    except BadData:
        raise
    except Exception as error:  # torch has one for each way in which a file can be damaged or hostile
        raise BadArtefact(
            f"{path} is damaged, or holds more than tensors, numbers, lists and tables, which is not read: that could"
            " run code. Save its images and labels alone, by torch.save([images, labels], path)."
        ) from error


def _plain(value: Any, what: str) -> Tensor:
    """``value`` as a tensor by itself in memory. Raises BadArtefact, which begins with ``what``, where it is none."""
    if not isinstance(value, Tensor) or value.layout != torch.strided or value.device.type != "cpu":
        raise BadArtefact(f"{what} are no plain tensor, but {type(value).__name__}.")
    value = value.detach()
    if value.is_complex() or value.is_quantized or value.nbytes > value.untyped_storage().nbytes():
        raise BadArtefact(f"{what} are {value.dtype} {tuple(value.shape)}, which are no stored whole or real numbers.")
    return value
