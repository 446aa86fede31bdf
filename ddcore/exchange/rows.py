"""A table, as a CSV file."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ddcore.artefact import DistilledSet
from ddcore.columns import decoded, encoded, read
from ddcore.errors import BadArtefact, BadData
from ddcore.exchange.base import Format, Released
from ddcore.types import Column, DataCard

SCORE = "score of "
"""What the columns of an item's scores begin with, before the name of the class."""


@dataclass(frozen=True)
class Csv(Format):
    """A CSV file with the columns of the table that the data were: numbers in their units, categories by name.

    The target is the last column: the class, or the value; of scores there is one column per class. Vectors whose data
    name no columns have ``x0``, ``x1`` ... and ``y``.
    """

    def write(self, distilled: DistilledSet, out: Path) -> list[str]:
        card = distilled.data
        table = decoded(_columns(card), distilled.rows().numpy())
        targets, said = distilled.targets, []
        if targets.ndim == 1:
            table[_target(card).name] = [card.called(c) for c in targets.tolist()]
        elif card.values == 1:
            table |= decoded([_target(card)], targets.numpy())
        else:
            said.append("Its labels are scores, one column per output.")
            for c, scores in enumerate(targets.T.tolist()):
                table[f"{SCORE}{card.called(c) if card.values is None else c}"] = scores
        if any(column.categories for column in card.columns):
            said.append("Of each column of categories it has the nearest one: networks saw shares of several.")
        with out.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([list(table), *zip(*table.values(), strict=True)])
        return said

    def read(self, path: Path, card: DataCard) -> Released:
        try:
            with path.open(newline="", encoding="utf-8") as file:
                names, *rows = csv.reader(file)
            table = {name: read([row[i] for row in rows]) for i, name in enumerate(names)}
            inputs = torch.from_numpy(encoded(_columns(card), table))
            scores = [name for name in names if name.startswith(SCORE)]
            if scores:
                labels = torch.tensor(np.stack([table[name] for name in scores], 1), dtype=torch.float32)
            elif card.values == 1:
                labels = torch.from_numpy(encoded([_target(card)], table))
            else:
                known = {card.called(c): c for c in range(card.classes)}
                place = names.index(_target(card).name)
                labels = torch.tensor([known[row[place]] for row in rows])
        except (OSError, ValueError, IndexError, KeyError, BadData, csv.Error) as error:
            raise BadArtefact(f"{path} is no table with the columns of {card.name} ({error}).") from error
        return Released(inputs, labels, f"a table of {len(rows)} rows", raw=True)

    def takes(self, path: Path) -> bool:
        return path.suffix == ".csv"


def _columns(card: DataCard) -> tuple[Column, ...]:
    return card.columns or tuple(Column(f"x{i}") for i in range(card.shape[0]))


def _target(card: DataCard) -> Column:
    return card.target or Column("y")
