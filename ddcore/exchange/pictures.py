"""A folder of PNG files, one folder per class."""

from __future__ import annotations

import csv
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ddcore.artefact import DistilledSet
from ddcore.errors import BadArtefact
from ddcore.exchange.base import Format, Released, numbered
from ddcore.exchange.images import as_png, stacked
from ddcore.types import DataCard

SCORES = "labels.csv"


@dataclass(frozen=True)
class Pictures(Format):
    """``CLASS/0000.png``, as RDED, SRe2L and the sets of Rethinking Dataset Compression lie; scores in ``labels.csv``.

    A folder's name is its class's, or its number at least; PNG, JPEG and the other formats of data folders are read.
    """

    def write(self, distilled: DistilledSet, out: Path) -> list[str]:
        card = distilled.data
        files, classes, notes = as_png(distilled)
        names = [card.called(c) for c in range(card.classes)]
        if len({name.lower() for name in names}) < len(names) or not all(
            re.fullmatch(r"\w[\w .-]*\w|\w", n) for n in names
        ):
            names = [f"{c:0{len(str(card.classes - 1))}}" for c in range(card.classes)]
        counted, rows = Counter[int](), []
        for image, c, scores in zip(files, classes.tolist(), distilled.targets.tolist(), strict=True):
            path = Path(names[c], f"{counted[c]:04}.png")
            counted[c] += 1
            (out / path.parent).mkdir(parents=True, exist_ok=True)
            (out / path).write_bytes(image)
            rows.append([path.as_posix(), *(scores if isinstance(scores, list) else ())])
        if distilled.targets.ndim == 2:
            with (out / SCORES).open("w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows([["file", *names], *rows])
        return notes

    def read(self, path: Path, card: DataCard) -> Released:
        if not path.is_dir() or not (folders := _folders(path)):
            raise BadArtefact(f"{path} is no folder with a folder of images per class.")
        classes, known_by = numbered([folder.name for folder in folders], card)
        files = {
            file: c
            for c, folder in sorted(zip(classes, folders, strict=True))
            for file in sorted(folder.iterdir())
            if file.is_file() and not file.name.startswith(".")
        }
        inputs, labels = stacked(((str(file), file) for file in files), card), torch.tensor([*files.values()])
        taken_for = f"{len(files)} pictures in {len(folders)} folders, known by {known_by}"
        if (path / SCORES).is_file():
            labels = _scores(path / SCORES, [file.relative_to(path).as_posix() for file in files])
            taken_for += f", with the scores of {SCORES}"
        return Released(inputs, labels, taken_for)

    def takes(self, path: Path) -> bool:
        return path.is_dir() and bool(_folders(path))


def _folders(path: Path) -> list[Path]:
    return sorted(p for p in path.iterdir() if p.is_dir() and not p.name.startswith((".", "__")))


def _scores(path: Path, files: list[str]) -> Tensor:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            _, *rows = csv.reader(file)
        found = {row[0]: [float(score) for score in row[1:]] for row in rows}
        return torch.tensor([found[name] for name in files])
    except (ValueError, IndexError, KeyError, csv.Error) as error:
        raise BadArtefact(
            f"{path} is no table of a file and its scores on each line, after one with their names ({error})."
        ) from error
