"""Textures: one canvas per class whose opposite edges join, seen by networks in crops that wrap around its edges.

Shows that a canvas, learned by distribution matching through crops at places drawn anew at every step, tiles without a
seam, and what networks learn from 16 crops of it, beside random, herding and dm images of as many pixels and all 10 000
of a part of CIFAR-10 (--file takes any .npz file of images). The seam is the mean difference of neighbouring pixels
across the joined edges, over that within. Canvases lie in --out as PNG files that tile. The carrier `canvas` and the
method `texture` are parts of this file. Needs CIFAR10-subset/cifar10_subset.npz below --root.

    python scenarios/textures.py --root data     # about 15 minutes on one core; it goes on where it stopped
    python scenarios/textures.py --smoke         # scikit-learn's digits, a few steps: seconds

Seen, accuracy in percent, mean ± std over three seeds: whole 41.1 ± 0.9, herding 24.7 ± 1.7, dm 24.4 ± 4.0, random
20.8 ± 2.0, texture 16.5 ± 3.2. Canvases teach less than random images: they are to look at. Seams: texture 0.20 ± 0.02,
random 3.6 ± 0.5, dm 3.2 ± 0.5, herding 2.8 ± 0.1; of a canvas that starts from four real images side by side, in the
place of one mirrored image, eighty steps did not close the seams (4.7 ± 0.2).
"""

import argparse
import math
import sys
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from matplotlib import image
from torch import Tensor, nn
from torch.nn import functional as F

import ddcore
from ddcore import plugin as dd


@dataclass(frozen=True)
class Canvas(dd.Carrier):
    """One canvas (c, H, W) per class of as many pixels as ``ipc`` images, whose opposite edges join.

    Items are crops of the size of an image, at places drawn anew at every step; those of the last step are kept.
    """

    suits = frozenset({"image"})

    crops: dd.Count = 16
    """Items per class."""
    init: Literal["noise", "real"] = "noise"
    """``noise`` draws a standard normal; ``real`` mirrors a random real image, so that edges join."""

    @property
    def asks(self) -> frozenset[str]:
        return frozenset({"examples"} if self.init == "real" else ())

    def per_class(self, card: dd.DataCard) -> tuple[int, ...]:
        return (self.crops,) * card.classes

    def build(self, card: dd.DataCard) -> "CanvasModule":
        return CanvasModule(self, card)


class CanvasModule(dd.DecodedModule):
    def __init__(self, plan: Canvas, card: dd.DataCard) -> None:
        super().__init__()
        self.plan, self.versions, self.size = plan, plan.crops, card.shape[1:]
        sides = [int(side * math.sqrt(plan.budget)) for side in self.size]
        self.register_buffer("classes", torch.arange(card.classes).repeat_interleave(plan.crops))
        self.register_buffer("places", torch.zeros(len(self.classes), 2, dtype=torch.long))
        self.canvas = nn.Parameter(torch.zeros(card.classes, card.shape[0], *sides))

    def start(self, ctx: dd.Context) -> None:
        self._move(ctx.rng["places"])
        with torch.no_grad():
            if self.plan.init == "noise":
                self.canvas.copy_(torch.randn(self.canvas.shape, generator=ctx.rng["init"]))
                return
            height, width = self.canvas.shape[2:]
            for c, canvas in enumerate(self.canvas):
                (batch,) = ctx.gate.examples([dd.Group((c,), 1)])
                quarter = F.interpolate(batch.inputs, size=((height + 1) // 2, (width + 1) // 2), mode="area")[0]
                half = torch.cat([quarter, quarter.flip(2)], 2)
                canvas.copy_(torch.cat([half, half.flip(1)], 1)[:, :height, :width])

    def follow(self, draw: dd.Draw, rng: torch.Generator) -> None:
        self._move(rng)

    def _move(self, rng: torch.Generator) -> None:
        sides = torch.tensor(self.canvas.shape[2:])
        self.places.copy_((torch.rand(self.places.shape, generator=rng) * sides).long())

    def forward(self, index: Tensor) -> Tensor:
        """Crops (n, c, h, w); what goes beyond an edge goes on at the opposite one."""
        rows, columns = (
            (self.places[index, axis][:, None] + torch.arange(side, device=index.device)) % of
            for axis, (side, of) in enumerate(zip(self.size, self.canvas.shape[2:], strict=True))
        )
        canvas = (index // self.versions)[:, None, None]
        return self.canvas[canvas, :, rows[:, :, None], columns[:, None, :]].movedim(3, 1)

    def project(self, into: dd.Transform) -> None:
        with torch.no_grad():
            self.canvas.copy_(into(self.canvas))

    def nbytes(self) -> int:
        return super().nbytes() + self.places.nbytes

    def latent(self) -> dict[str, Tensor]:
        return {**super().latent(), "places": self.places.cpu().clone()}

    def restore(self, latent: dict[str, Tensor]) -> None:
        self.places.copy_(latent["places"])
        super().restore({"canvas": latent["canvas"]})


@dd.method()
def texture(ipc: int = 4, iterations: int = 300) -> ddcore.Recipe:
    """Distribution matching of crops of one canvas per class.

    min_S sum_c || mean f(A(T_c)) - mean_j f(A(crop_j(S_c))) ||^2 over random networks f, as in ``dm``.
    """
    return replace(ddcore.recipe("dm", iterations=iterations), name="texture", synthetic=Canvas(ipc, init="real"))


@ddcore.hookimpl
def ddcore_parts() -> list:
    return [Canvas, texture]


def seam(canvas: Tensor) -> float:
    """The mean difference of neighbouring pixels across the joined edges of (n, c, h, w), over that within."""
    across, within = [], []
    for axis in (2, 3):
        steps = (canvas - canvas.roll(1, axis)).abs().movedim(axis, 0)
        across.append(steps[0].flatten())
        within.append(steps[1:].flatten())
    return float(torch.cat(across).mean() / torch.cat(within).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", default="data", help="the folder that holds CIFAR10-subset/cifar10_subset.npz")
    parser.add_argument("--file", help="another file of images")
    parser.add_argument("--out", default="runs/textures", help="where canvases and figures go")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="seeds")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--smoke", action="store_true", help="scikit-learn's digits, a few steps, one seed")
    options = parser.parse_args()
    out, host = Path(options.out), ddcore.Host({"textures": sys.modules[__name__]})
    file = Path(options.file or Path(options.root) / "CIFAR10-subset" / "cifar10_subset.npz")
    network = ddcore.ConvNet(width=4 if options.smoke else 16, depth=3)
    settings = {"network": {"width": network.width}, "objective": {"real": 32}}
    herding = {"network": {"width": network.width}, "synthetic": {"fit": {"steps": 2 if options.smoke else 100}}}
    grid = ddcore.Grid(
        data=dd.Digits() if options.smoke else dd.Npz(str(file.absolute())),
        methods=("texture", "dm", "random", "herding"),
        ipcs=(4,),
        seeds=tuple(options.seeds[: 1 if options.smoke else None]),
        iterations=2 if options.smoke else 80,
        overrides={"texture": settings, "dm": settings, "herding": herding},
        protocol=ddcore.Protocol(networks=(network,), steps=3 if options.smoke else 200, repeats=2),
        baselines=("whole",),
    )
    print(ddcore.run_study(grid, out, host=host, device=options.device))
    seams = defaultdict(list)
    for case in grid.cases(host):
        distilled = ddcore.load_distilled(out / "cases" / case.folder / "distilled.safetensors")
        pixels = distilled.latent.get("canvas", distilled.inputs)
        seen = dd.preprocess_of(distilled, host.catalogue).inverse(pixels).clamp(0, 1)
        seams[distilled.method].append(seam(seen))
        for c, canvas in enumerate(seen if "canvas" in distilled.latent else ()):
            shown = canvas.expand(3, -1, -1).permute(1, 2, 0).numpy()
            dd.replaced_whole(
                out / f"{distilled.data.called(c)}-{case.seed}.png",
                lambda path, shown=shown: image.imsave(path, shown, format="png"),
            )
    for method, values in seams.items():
        print(f"seam | {method} | {dd.plus_minus(**dd.spread(values), digits=2)}")


if __name__ == "__main__":
    ddcore.program(main)
