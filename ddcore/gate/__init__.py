"""The gate: the one door to the real data T."""

from ddcore.gate.curriculum import Curriculum
from ddcore.gate.fit import Fit
from ddcore.gate.open import Open

PARTS = (
    Curriculum,
    Fit,
    Open,
)
