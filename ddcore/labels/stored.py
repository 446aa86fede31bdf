"""What labels share: first values, bytes of classes, answers of a network."""

from __future__ import annotations

import torch
from torch import Tensor

from ddcore.chunking import slices
from ddcore.errors import RecipeRefused
from ddcore.synthetic import CarrierModule
from ddcore.types import DataCard, Draw, Params


def check_values(card: DataCard, carrier: CarrierModule) -> None:
    """Raises RecipeRefused where the targets of T are values, and ``carrier`` begins its items with none."""
    if card.values is not None and carrier.values is None:
        raise RecipeRefused(
            f"{type(carrier).__name__} begins its items without values, and the targets of {card.name} are values: take"
            " synthetic.name = pixels, or give the labels as whole numbers where they are classes."
        )


def class_bytes(carrier: CarrierModule) -> int:
    """One byte a stored thing up to 256 classes, else two: what is made of one has its class."""
    return len(carrier.origin.unique()) * (1 if int(carrier.classes.max()) < 256 else torch.int16.itemsize)


def answers(draw: Draw, params: Params, inputs: Tensor, chunk: int) -> Tensor:
    """The network's logits (n, k) at ``params``, ``chunk`` items at a time; with batch statistics where it has them."""
    training = not draw.network.per_sample
    return torch.cat([draw(inputs[part], params, training=training) for part in slices(len(inputs), chunk)])
