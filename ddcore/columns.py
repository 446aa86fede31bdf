"""Columns of a table as numbers, and the way back, by scikit-learn's transformers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ddcore.errors import BadData
from ddcore.types import Column

MISSING = frozenset({"", "?", "na", "n/a", "nan", "<na>", "nat", "null", "none"})
"""How missing values are written, in any case."""
MOST = 256
"""Categories of a column beyond which it is taken for names or identifiers, which teach nothing."""


def read(values: Any) -> np.ndarray:
    """The values of one column (n,): float64, NaN where one is missing; or texts, empty where one is missing."""
    found = np.asarray(values)
    if found.dtype.kind in "iufb":
        return found.astype(np.float64)
    texts = np.array(["" if str(v).strip().lower() in MISSING else str(v).strip() for v in found], dtype=str)
    try:
        return np.array([float(text or "nan") for text in texts])
    except ValueError:
        return texts


def described(name: str, values: np.ndarray, categorical: bool = False) -> Column:
    """What the column ``name`` is, by its ``values`` as :func:`read` gives them.

    Missing numbers are to become the median; a missing text is a category of its own, called ``""``.

    Raises:
        BadData: it holds nothing, or more than :data:`MOST` categories.
    """
    if values.dtype.kind == "f" and not categorical:
        known = values[np.isfinite(values)]
        infinite = bool(np.isinf(values).any())
        if infinite or not len(known):
            raise BadData(f"The column {name} holds {'infinity' if infinite else 'no number'}: leave it out.")
        missing = len(known) < len(values)
        return Column(name, fill=float(np.median(known)) if missing else None)
    categories = tuple(sorted({*texts(values)}))
    if len(categories) > MOST:
        raise BadData(
            f"The column {name} has {len(categories)} categories, of which {MOST} are the most: leave it out where it"
            " names or numbers the rows, or join rare ones."
        )
    return Column(name, categories)


def texts(values: np.ndarray) -> list[str]:
    """``values`` as names of categories; whole numbers without a point."""
    if values.dtype.kind != "f":
        return values.tolist()
    return ["" if np.isnan(v) else f"{v:.0f}" if v == round(v) else repr(float(v)) for v in values]


def encoded(columns: Sequence[Column], table: Mapping[str, np.ndarray]) -> np.ndarray:
    """The rows of ``table`` as numbers (n, d), float32. Categories that no column knows are 0 everywhere.

    Raises:
        BadData: texts in a column of numbers, or a number missing where none may.
    """
    return np.concatenate([_encoded(column, table[column.name]) for column in columns], 1, dtype=np.float32)


def _encoded(column: Column, values: np.ndarray) -> np.ndarray:
    from sklearn.impute import SimpleImputer

    if column.categories:
        return _one_hot(column).transform(np.array(texts(values), dtype=object)[:, None])
    if values.dtype.kind != "f":
        raise BadData(f"The column {column.name} is one of numbers, and holds texts such as {str(max(values))!r}.")
    if column.fill is None and np.isnan(values).any():
        raise BadData(
            f"The column {column.name} lacks {int(np.isnan(values).sum())} of {len(values)} numbers, and lacks none in"
            " the rows to train on: fill them in, or drop their rows."
        )
    filled = SimpleImputer(strategy="constant", fill_value=column.fill or 0.0, keep_empty_features=True)
    return (filled.fit_transform(values[:, None]) - column.shift) / column.scale


def decoded(columns: Sequence[Column], numbers: np.ndarray) -> dict[str, list[Any]]:
    """The columns of a table that ``numbers`` (n, d) stand for; of categories, the one with the largest number."""
    table, start = {}, 0
    for column in columns:
        held = numbers[:, start : start + column.width]
        start += column.width
        if column.categories:
            nearest = np.eye(column.width)[held.argmax(1)]
            table[column.name] = _one_hot(column).inverse_transform(nearest)[:, 0].tolist()
        else:
            values = (column.shift + column.scale * held[:, 0].astype(np.float64)).astype(np.float32)
            table[column.name] = [float(str(value)) for value in values]  # as few digits as tell them apart
    return table


def _one_hot(column: Column) -> Any:
    from sklearn.preprocessing import OneHotEncoder

    known = np.array(column.categories, dtype=object)[:, None]
    settings: dict[str, Any] = {"categories": [known[:, 0]], "handle_unknown": "ignore", "sparse_output": False}
    return OneHotEncoder(**settings).fit(known)
