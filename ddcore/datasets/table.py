"""Tables: CSV files, those that come with scikit-learn, and the frames of pandas."""

from __future__ import annotations

import csv
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ddcore.bounds import OpenShare, Whole
from ddcore.columns import described, encoded, read, texts
from ddcore.data import HELD_OUT, RealData
from ddcore.datasets.base import DataSet
from ddcore.errors import BadData
from ddcore.types import Column

Predicts = Literal["class", "value"]
FEW = 20
"""Different whole numbers up to which they are taken for classes."""


@dataclass(frozen=True)
class Table(DataSet):
    """A CSV file: a line with the names of the columns, then one line per item.

    Texts are categories, each a number of its own; missing numbers become the median of the column. What was decided
    is on the card of the data, and ``ddcore export --format csv`` undoes it. It is read from the rows to train on
    outside of any gate, as the classes and their counts are.
    """

    root: str
    """The file."""
    target: str | None = None
    """The column to predict; None for the last one."""
    test: str | None = None
    """A second file, beside the first or by its whole path, with the items to test on; None for a tenth of the first,
    always the same."""
    predicts: Predicts | None = None
    """Whether the target is a class or a value; None for what it shows: texts and few whole numbers are classes."""
    categorical: tuple[str, ...] = ()
    """Columns whose numbers are names of categories."""
    skip: tuple[str, ...] = ()
    """Columns that are left out, such as identifiers."""

    def item_kind(self) -> str:
        return "vector"

    def load(self) -> RealData:
        path = Path(self.root).expanduser()
        train = _read_csv(path)
        return table(
            path.stem,
            train,
            None if self.test is None else _read_csv(path.parent / Path(self.test).expanduser()),
            target=self.target or list(train)[-1],
            predicts=self.predicts,
            categorical=self.categorical,
            skip=self.skip,
        )


@dataclass(frozen=True)
class ScikitTable(DataSet):
    """One of scikit-learn's small tables, of which a share of the rows, drawn class by class, is to test on.

    They come with scikit-learn: nothing is downloaded.
    """

    named: Literal["breast_cancer", "diabetes", "iris", "wine"] = "wine"
    """Which table: ``breast_cancer`` has 569 rows of 30 numbers and 2 classes, ``diabetes`` 442 of 10 and a value to
    predict, ``iris`` 150 of 4 and 3 classes, ``wine`` 178 of 13 and 3 classes."""
    test: OpenShare = 0.3
    """Share of the rows that is to test on."""
    seed: Whole = 0
    """Seed by which the rows are divided."""

    def item_kind(self) -> str:
        return "vector"

    def load(self) -> RealData:
        """Raises BadData where a side of the split would have fewer rows than there are classes."""
        from sklearn import datasets
        from sklearn.model_selection import train_test_split

        source: Any = getattr(datasets, f"load_{self.named}")()
        values = self.named == "diabetes"
        target = source.target if values else source.target_names[source.target]
        columns = {**dict(zip(source.feature_names, source.data.T, strict=True)), "target": target}
        rows, least = len(target), 1 if values else len(source.target_names)
        tested = math.ceil(self.test * rows)
        if min(tested, rows - tested) < least:
            raise BadData(
                f"test = {self.test} of the {rows} rows of {self.named} are {tested}: both sides need at least {least}"
                f" of them. Take a share from {math.ceil(1000 * least / rows) / 1000} to"
                f" {math.floor(1000 * (1 - least / rows)) / 1000}."
            )
        parts = train_test_split(
            np.arange(rows), test_size=self.test, random_state=self.seed, stratify=None if values else target
        )
        train, test = ({column: held[rows] for column, held in columns.items()} for rows in parts)
        return table(self.named, train, test, target="target", predicts="value" if values else "class")


def table(
    name: str,
    train: Any,
    test: Any = None,
    *,
    target: str,
    predicts: Predicts | None = None,
    categorical: Collection[str] = (),
    skip: Collection[str] = (),
) -> RealData:
    """Tables as a data set of vectors: frames of pandas, or columns by their names.

    Numbers stay as they are, categories become one number each, and missing numbers the median of the rows to train
    on. Values to predict are standardised: the card's ``target`` has their mean and deviation. Without ``test`` a
    tenth of the rows, always the same, is set aside. The other arguments are as the fields of :class:`Table`.

    Raises:
        BadData: in a sentence that says which column, what is wrong, and what to do.
    """
    splits = {
        split: _columns(name, split, given) for split, given in (("train", train), ("test", test)) if given is not None
    }
    notes: list[str] = []
    for split, columns in splits.items():
        for wanted in (target, *categorical, *skip):
            if wanted not in columns:
                raise BadData(f"{name}: {split} has no column {wanted!r}. It has {', '.join(columns)}.")
        splits[split] = {c: values for c, values in columns.items() if c not in skip}
        known = np.array(texts(columns[target])) != ""
        if not known.all():
            splits[split] = {c: values[known] for c, values in splits[split].items()}
            notes.append(f"{int((~known).sum())} rows of {split} lack the target {target} and are left out.")
    classes = _are_classes(splits["train"][target], predicts)
    if test is None:
        splits["train"], splits["test"] = _set_aside(name, splits["train"], target, classes)
        notes.append("A tenth of the rows, always the same, is set aside to test on.")
    if others := {*splits["train"]} ^ {*splits["test"]}:
        raise BadData(f"{name}: train and test differ in the columns {', '.join(sorted(others))}.")
    columns = [described(c, values, c in categorical) for c, values in splits["train"].items() if c != target]
    if not columns:
        raise BadData(f"{name} has no column beside the target {target}.")
    notes += _said(columns)
    label, targets = _targets(name, target, {s: columns[target] for s, columns in splits.items()}, classes)
    pairs = {split: (encoded(columns, held), targets[split]) for split, held in splits.items()}
    return RealData.of(
        name,
        pairs["train"],
        pairs["test"],
        kind="vector",
        class_names=label.categories,
        columns=columns,
        target=label,
        notes=notes,
    )


def _read_csv(path: Path) -> dict[str, list[str]]:
    """The columns of a file. Raises BadData where it is no table."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            names, *rows = [row for row in csv.reader(file) if row]
    except (OSError, UnicodeDecodeError, ValueError, csv.Error) as error:
        raise BadData(
            f"{path} cannot be read as a table ({error}). Wanted: CSV in UTF-8, its first line names."
        ) from error
    for line, row in enumerate(rows, 2):
        if len(row) != len(names):
            raise BadData(f"{path}: row {line} has {len(row)} fields, and the first line names {len(names)} columns.")
    if len({*names}) < len(names):
        raise BadData(f"{path} names two columns alike: {', '.join(names)}.")
    return {name: [row[i] for row in rows] for i, name in enumerate(names)}


def _columns(name: str, split: str, given: Any) -> dict[str, np.ndarray]:
    found = {str(c): read(given[c]) for c in given.keys()}  # noqa: SIM118  a frame's items are no keys
    lengths = {len(values) for values in found.values()}
    if len(lengths) != 1 or 0 in lengths or any(values.ndim != 1 for values in found.values()):
        raise BadData(f"{name}: {split} is no table of rows: its columns have {sorted(lengths) or 'no'} rows.")
    return found


def _are_classes(values: np.ndarray, predicts: Predicts | None) -> bool:
    if predicts is not None or values.dtype.kind != "f":
        return predicts != "value"
    return bool((values == values.round()).all()) and len(np.unique(values)) <= FEW


def _set_aside(
    name: str, columns: dict[str, np.ndarray], target: str, classes: bool
) -> tuple[dict[str, np.ndarray], ...]:
    """Train and test of rows that came in one piece."""
    from sklearn.model_selection import train_test_split

    rows = np.arange(len(columns[target]))
    strata = texts(columns[target]) if classes else None
    try:
        parts = train_test_split(rows, test_size=HELD_OUT, stratify=strata, random_state=0)
    except ValueError as error:
        raise BadData(
            f"{name}: no tenth of its {len(rows)} rows can be set aside ({error}). Bring a test split."
        ) from error
    return tuple({c: values[part] for c, values in columns.items()} for part in parts)


def _said(columns: list[Column]) -> list[str]:
    filled = [f"{c.name} ({c.fill:g})" for c in columns if c.fill is not None]
    named = [f"{c.name} ({len(c.categories)})" for c in columns if c.categories]
    return [
        *([f"Missing numbers became the median: {', '.join(filled)}."] if filled else []),
        *([f"Columns of categories: {', '.join(named)}."] if named else []),
    ]


def _targets(
    name: str, target: str, values: Mapping[str, np.ndarray], classes: bool
) -> tuple[Column, dict[str, np.ndarray]]:
    """The column to predict, and its classes or standardised values in each split."""
    if classes:
        label = replace(described(target, values["train"], categorical=True))
        numbers = {text: c for c, text in enumerate(label.categories)}
        if unknown := sorted({*texts(values["test"])} - numbers.keys()):
            raise BadData(f"{name}: {', '.join(unknown)} of the column {target} is in test and not in train.")
        return label, {s: np.array([numbers[text] for text in texts(held)]) for s, held in values.items()}
    known = described(target, values["train"])
    spread = float(values["train"].std()) or 1.0
    label = replace(known, shift=float(values["train"].mean()), scale=spread)
    return label, {s: encoded([label], {target: held})[:, 0] for s, held in values.items()}
