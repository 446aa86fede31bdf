"""Speed: what ``ddcore bench`` measures, and how."""

from ddcore.bench.measuring import TOLERANCE, launches, main, measure
from ddcore.bench.rows import ROWS, Pair, benchmark, digits_as_mnist

__all__ = ["ROWS", "TOLERANCE", "Pair", "benchmark", "digits_as_mnist", "launches", "main", "measure"]
