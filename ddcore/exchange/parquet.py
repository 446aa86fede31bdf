"""One Parquet file, as the library ``datasets`` of Hugging Face has it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ddcore.artefact import DistilledSet
from ddcore.datasets.base import check_unpacked
from ddcore.errors import BadArtefact, DdcoreError, RecipeRefused
from ddcore.exchange.base import Format, Released, numbered
from ddcore.exchange.images import as_png, stacked
from ddcore.types import DataCard

FEATURES = "huggingface"


@dataclass(frozen=True)
class Parquet(Format):
    """One file with the columns ``image`` (PNG), ``label`` (a class by name) and, where labels are such, ``scores``.

    ``datasets.load_dataset("parquet", data_files=...)`` reads it as images and classes. It needs pyarrow.
    """

    def write(self, distilled: DistilledSet, out: Path) -> list[str]:
        pa, parquet = _pyarrow()
        card = distilled.data
        files, classes, notes = as_png(distilled)
        columns: dict[str, Any] = {
            "image": pa.array(
                [{"bytes": file, "path": f"{i:04}.png"} for i, file in enumerate(files)],
                pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
            ),
            "label": pa.array(classes.tolist(), pa.int64()),
        }
        names = [card.called(c) for c in range(card.classes)]
        features: dict[str, Any] = {"image": {"_type": "Image"}, "label": {"names": names, "_type": "ClassLabel"}}
        if distilled.targets.ndim == 2:
            columns["scores"] = pa.array(distilled.targets.tolist(), pa.list_(pa.float32()))
            features["scores"] = {"feature": {"dtype": "float32", "_type": "Value"}, "_type": "Sequence"}
        told = {FEATURES: json.dumps({"info": {"features": features}})}
        parquet.write_table(pa.table(columns).replace_schema_metadata(told), out)
        return notes

    def read(self, path: Path, card: DataCard) -> Released:
        _, parquet = _pyarrow()
        try:
            told, size = parquet.read_metadata(path), path.stat().st_size
            check_unpacked(path, size, sum(told.row_group(i).total_byte_size for i in range(told.num_row_groups)))
            if told.num_rows > size:
                raise ValueError("it tells of more rows than bytes")
            table = parquet.read_table(path)
            rows = [row["bytes"] if isinstance(row, dict) else row for row in table["image"].to_pylist()]
            labels = torch.tensor(table["label"].to_pylist())
            known = json.loads((table.schema.metadata or {}).get(FEATURES.encode(), "{}"))
            names = known.get("info", {}).get("features", {}).get("label", {}).get("names")
            scores = torch.tensor(table["scores"].to_pylist()) if "scores" in table.column_names else None
            if not all(isinstance(row, bytes) for row in rows):
                raise ValueError("its images are not in the file")
            known_by = "the numbers of their classes"
            if names is not None:
                classes, known_by = numbered([str(name) for name in names], card)
                labels = torch.tensor(classes)[labels]
        except DdcoreError:
            raise
        except Exception as error:  # pyarrow has several for a damaged file, and columns may hold anything
            raise BadArtefact(
                f"{path} is no Parquet file with the columns image (the bytes of an image file) and label (a whole"
                f" number), or it is damaged ({error})."
            ) from error
        inputs = stacked(((f"{path}, row {i}", row) for i, row in enumerate(rows)), card)
        taken_for = f"a Parquet file of {len(rows)} pictures, known by {known_by}"
        return Released(inputs, labels if scores is None else scores, taken_for)

    def takes(self, path: Path) -> bool:
        return path.suffix == ".parquet"


def _pyarrow() -> tuple[Any, Any]:
    """pyarrow and its Parquet module. Raises RecipeRefused where it is not installed."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise RecipeRefused(
            "Parquet files need pyarrow, which is not installed: pip install 'ddcore[parquet]'."
        ) from None
    return pyarrow, parquet
