"""Formats: how sets lie in files that others write and read."""

from ddcore.exchange.parquet import Parquet
from ddcore.exchange.pictures import Pictures
from ddcore.exchange.rows import Csv
from ddcore.exchange.tensors import Tensors

PARTS = (
    Csv,
    Parquet,
    Pictures,
    Tensors,
)
