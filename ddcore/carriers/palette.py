"""Images of few colours."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge, Le
from torch import Generator, Tensor, nn

from ddcore.bounds import Count
from ddcore.carriers.base import Carrier, CarrierModule, classes_in_order
from ddcore.carriers.picking import cluster_centres, in_turn
from ddcore.chunking import chunk_bytes
from ddcore.context import Context
from ddcore.errors import RecipeRefused
from ddcore.levels import Bits, packed_numbers, stored_bytes, unpacked_numbers
from ddcore.types import DataCard, Draw, Group, Network, Transform


@dataclass(frozen=True)
class Palette(Carrier):
    """Images whose pixels are numbers of ``depth`` bits, each a colour of its class's palette; grey images have levels
    that are learned, not even.

    Pixels are learned in float32 and shown as the nearest colour, past which their gradients go straight through.
    Before each step a colour becomes the mean of the pixels that show it; one that none shows stays. There are as many
    images as fit the bytes of ``ipc`` images per class, the palettes counted; only colours take ``bits`` or ``coarse``.

    On a validation split of the digits (``dm``, real start, the bytes of one image per class, a rate of 3 per image,
    one seed, three networks) 15 images of four levels have 97.9 ± 0.4 and 6 of sixteen 96.5 ± 1.3, where 8 at even
    levels, ``synthetic.coarse=4``, have 97.0 ± 1.1: what helps is more images, not better levels.

    **Reference**: Yuan et al., AutoPalette, NeurIPS 2024, Eq. 4 and 5.

    **Differs**: the colour of a pixel is the nearest, not the choice of a network with losses that spread it over all
    colours (Eq. 6 and 7). A palette holds colours of all channels for all images of a class; published is one for each
    image and channel. Real images are drawn at random.
    """

    suits = frozenset({"image"})

    depth: Annotated[int, Ge(1), Le(8)] = 2
    """Bits per pixel: a palette has 2^depth colours. Published: 6."""
    init: Literal["noise", "real"] = "noise"
    """``noise`` draws standard normal pixels and colours, and asks nothing of T; ``real`` starts from random real
    images and the centres of clusters of their pixels. A class with fewer images than wanted uses them again."""
    most: Count = 500
    """Largest number of images per class; bytes beyond that stay unused."""

    @property
    def asks(self) -> frozenset[str]:
        return frozenset({"examples"} if self.init == "real" else ())

    def per_class(self, card: DataCard) -> tuple[int, ...]:
        """As many images for each class as fit. Raises RecipeRefused where not even one does."""
        palettes = stored_bytes(torch.empty(card.classes, card.shape[0], 2**self.depth), self.coarse)
        left = 4 * self.ipc * card.classes * math.prod(card.shape) - palettes
        found = left // (card.classes * _packed(self, card.shape[1:]))
        if found < 1:
            raise RecipeRefused(
                f"{self.ipc} images per class of {card.name} have no more bytes than palettes of {2**self.depth}"
                " colours and one image: take a smaller synthetic.depth, or a larger ipc."
            )
        return (min(found, self.most),) * card.classes

    def check(self, recipe: Any, card: DataCard, network: Network) -> None:
        """Raises RecipeRefused where not even one image fits, or real ones have fewer pixels than the palette colours.

        T may have fewer images than fit.
        """
        least = min(map(min, self.per_class(card), card.counts)) * math.prod(card.shape[1:])
        if self.init == "real" and least < 2**self.depth:
            raise RecipeRefused(
                f"The images of a class of {card.name} that a set starts from have {least} pixels, which cannot be put"
                f" into {2**self.depth} clusters: take a smaller synthetic.depth, or synthetic.init=noise."
            )

    def build(self, card: DataCard) -> PaletteModule:
        return PaletteModule(self, card)


def _packed(plan: Palette, sides: Sequence[int]) -> int:
    """Bytes of the numbers of one image of ``sides``."""
    return -(-math.prod(sides) * plan.depth // 8)


class PaletteModule(CarrierModule):
    """``pixels`` (n, c, h, w) are learned; ``palette`` (k, c, 2^depth) are the colours of each class."""

    palette: Tensor

    def __init__(self, plan: Palette, card: DataCard) -> None:
        super().__init__()
        self.plan = plan
        self.register_buffer("classes", classes_in_order(plan.per_class(card)))
        self.register_buffer("palette", torch.zeros(card.classes, card.shape[0], 2**plan.depth))
        self.pixels = nn.Parameter(torch.zeros(len(self.classes), *card.shape))

    @torch.no_grad()
    def start(self, ctx: Context) -> None:
        if self.plan.init == "noise":
            for drawn in (self.pixels, self.palette):
                drawn.copy_(torch.randn(drawn.shape, generator=ctx.rng["init"]))
            return
        for c, colours in enumerate(self.palette):
            mine = (self.classes == c).nonzero().flatten()
            (batch,) = ctx.gate.examples([Group((c,), len(mine))])
            self.pixels[mine] = in_turn(batch.inputs, len(mine))
            shown = batch.inputs.flatten(2).transpose(1, 2).flatten(0, 1)
            colours.copy_(cluster_centres(shown, colours.shape[1], ctx.rng["init"]).T)

    @torch.no_grad()
    def follow(self, draw: Draw, rng: Generator) -> None:
        classes, channels, colours = self.palette.shape
        places = (self.classes[:, None] * colours + self._numbers()).flatten()
        sums = self.palette.new_zeros(classes * colours, channels + 1)
        pixels = self.pixels.flatten(2).transpose(1, 2).flatten(0, 1)
        sums.index_add_(0, places, torch.cat([pixels, pixels.new_ones(len(pixels), 1)], 1))
        means, shown = (sums[:, :-1] / sums[:, -1:]).unflatten(0, (classes, -1)), sums[:, -1] > 0
        self.palette.copy_(means.transpose(1, 2).where(shown.view(classes, 1, -1), self.palette))

    @torch.no_grad()
    def _numbers(self, index: Tensor | slice = slice(None)) -> Tensor:
        """The colour (n, h w) nearest to each pixel, by its number in the palette."""
        pixels, classes, palette = self.pixels[index].flatten(2).transpose(1, 2), self.classes[index], self.palette
        room = max(1, chunk_bytes(palette.device) // (palette.element_size() * pixels.shape[1] * palette.shape[2]))
        found = [torch.empty(0, pixels.shape[1], dtype=torch.long, device=palette.device)]
        for part, of in zip(pixels.split(room), classes.split(room), strict=True):
            colours = palette[of]
            found.append((2 * part @ colours - colours.square().sum(1, keepdim=True)).argmax(2))
        return torch.cat(found)

    def _shown(self, numbers: Tensor, index: Tensor | slice = slice(None)) -> Tensor:
        colours = self.palette[self.classes[index]]
        shown = colours.gather(2, numbers[:, None].expand(-1, colours.shape[1], -1))
        return shown.view(-1, *self.pixels.shape[1:])

    def forward(self, index: Tensor) -> Tensor:
        pixels = self.pixels[index]
        return self._shown(self._numbers(index), index) + (pixels - pixels.detach())

    def project(self, into: Transform) -> None:
        with torch.no_grad():
            self.pixels.copy_(into(self.pixels))

    @contextmanager
    def in_bits(self, bits: Bits | None) -> Iterator[None]:
        numbers = self._numbers()
        with super().in_bits(bits):
            if bits:
                self.pixels.copy_(self._shown(numbers))
            yield

    def nbytes(self) -> int:
        return self.palette.nbytes + len(self.pixels) * _packed(self.plan, self.pixels.shape[2:])

    def latent(self) -> dict[str, Tensor]:
        numbers = packed_numbers(self._numbers(), self.plan.depth)
        return {"palette": self.palette.cpu().clone(), "numbers": numbers.cpu()}

    @torch.no_grad()
    def restore(self, latent: dict[str, Tensor]) -> None:
        self.palette.copy_(latent["palette"])
        numbers = unpacked_numbers(latent["numbers"], math.prod(self.pixels.shape[2:]), self.plan.depth)
        self.pixels.copy_(self._shown(numbers))
