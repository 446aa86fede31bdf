"""Sets as images of 8 bits."""

from __future__ import annotations

from collections.abc import Iterable
from io import BytesIO
from pathlib import Path

import torch
from torch import Tensor

from ddcore.artefact import DistilledSet
from ddcore.datasets.pictures import decoded
from ddcore.errors import BadArtefact
from ddcore.types import DataCard


def check_pictures(card: DataCard) -> None:
    """Raises BadArtefact where items of ``card`` are no pictures of classes."""
    if card.kind != "image" or card.shape[0] not in (1, 3) or card.values is not None:
        raise BadArtefact(
            f"The items of {card.name} are {card.kind}s of {card.shape}"
            + ("" if card.values is None else " with values to predict")
            + ": pictures are grey or RGB, and have classes. Take --format tensors."
        )


def as_png(distilled: DistilledSet) -> tuple[list[bytes], Tensor, list[str]]:
    """Each item as a PNG file, its class (n,), and what is lost by that, in sentences."""
    from PIL import Image

    check_pictures(distilled.data)
    images, lost = distilled.images(clamp=False), []
    beyond = ((images < -0.5 / 255) | (images > 255.5 / 255)).float().mean().item()
    if beyond:
        lost.append(f"{beyond:.1%} of the pixels lie outside of [0, 1], where pictures end: they are cut off there.")
    pixels = (images.clamp(0, 1) * 255).round().to(torch.uint8)
    files = []
    for image in pixels:
        file = BytesIO()
        Image.fromarray(image[0].numpy() if len(image) == 1 else image.permute(1, 2, 0).numpy()).save(file, "PNG")
        files.append(file.getvalue())
    if distilled.targets.ndim == 1:
        return files, distilled.targets, lost
    lost.append("Its labels are scores: the class of an item is that of the largest, and all stand beside it.")
    return files, distilled.targets.argmax(1), lost


def stacked(files: Iterable[tuple[str, Path | bytes]], card: DataCard) -> Tensor:
    """Images (n, c, h, w) uint8 of ``files``, each with its name, as those of ``card`` are.

    Raises:
        BadData: one is no image that can be read. BadArtefact: it has other sides, or there is none.
    """
    check_pictures(card)
    found = []
    for called, file in files:
        found.append(decoded(file, called, card.shape[0]))
        if found[-1].shape != card.shape:
            _, height, width = found[-1].shape
            raise BadArtefact(
                f"{called} is {width}x{height}, and the images of {card.name} are {card.shape[2]}x{card.shape[1]}."
                " Name the data that the set was made for (--data), with the --size of its images."
            )
    if not found:
        raise BadArtefact("There are no images to read.")
    return torch.stack(found)
