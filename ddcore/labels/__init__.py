"""Labels: what the targets of S are."""

from ddcore.labels.expert import Expert
from ddcore.labels.hard import Hard
from ddcore.labels.soft import Soft
from ddcore.labels.taught import Taught
from ddcore.labels.vectors import Vectors

PARTS = (
    Expert,
    Hard,
    Soft,
    Taught,
    Vectors,
)
