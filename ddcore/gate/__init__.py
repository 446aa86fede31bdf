"""The gate: the one door to the real data T."""

from ddcore.gate.fit import Fit
from ddcore.gate.open import Open

PARTS = (
    Fit,
    Open,
)
