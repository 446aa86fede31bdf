"""What a gate's answers have cost."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Spent:
    """What the answers of a gate have cost so far: (epsilon, delta)-differential privacy towards one item of T."""

    epsilon: float
    """May be infinite."""
    delta: float
    requests: int
    """How many were answered at a cost."""
