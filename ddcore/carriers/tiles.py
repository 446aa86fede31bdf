"""Images of tiles."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

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


def cut(images: Tensor, factor: int) -> Tensor:
    """The tiles of images (n, c, h, w) that :func:`joined` puts together again."""
    split = images.unflatten(3, (factor, -1)).unflatten(2, (factor, -1))
    return split.permute(0, 2, 4, 1, 3, 5).flatten(0, 2)


def enlarged(tiles: Tensor, size: tuple[int, int]) -> Tensor:
    """Tiles (n, c, h / factor, w / factor) as items of full ``size``, bilinearly and without aligned corners."""
    return F.interpolate(tiles, size=size, mode="bilinear", align_corners=False)
