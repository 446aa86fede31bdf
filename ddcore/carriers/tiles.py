"""Images of tiles."""

from __future__ import annotations

from torch import Tensor

from ddcore.errors import RecipeRefused
from ddcore.types import DataCard


def tile_size(card: DataCard, factor: int) -> tuple[int, int]:
    """Height and width of the ``factor``^2 equal tiles of an image. Raises RecipeRefused where there are none."""
    if len(card.shape) != 3 or any(side % factor for side in card.shape[1:]):
        raise RecipeRefused(
            f"synthetic.factor = {factor} does not cut items of shape {card.shape} into equal tiles. Take one"
            " that divides both sides of the images, or synthetic.name = pixels."
        )
    return card.shape[1] // factor, card.shape[2] // factor


def joined(tiles: Tensor, factor: int) -> Tensor:
    """Images (n, c, h, w) of tiles (n factor^2, c, h / factor, w / factor), row by row."""
    split = tiles.unflatten(0, (-1, factor, factor))
    return split.permute(0, 3, 1, 4, 2, 5).flatten(4, 5).flatten(2, 3)
