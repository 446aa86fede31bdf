"""Formats: how sets lie in files that others write and read."""

from ddcore.exchange.parquet import Parquet
from ddcore.exchange.pictures import Pictures
from ddcore.exchange.tensors import Tensors

PARTS = (
    Parquet,
    Pictures,
    Tensors,
)
