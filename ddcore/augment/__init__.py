"""Augmentations: random changes that leave a label as it is."""

from ddcore.augment.affine import Affine
from ddcore.augment.crop import Crop
from ddcore.augment.jitter import Jitter
from ddcore.augment.siamese import Siamese

PARTS = (
    Affine,
    Crop,
    Jitter,
    Siamese,
)
