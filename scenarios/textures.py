"""Textures: one canvas per class whose opposite edges join, seen by networks in crops that wrap around its edges.

Shows that a canvas, learned by distribution matching through crops at places drawn anew at every step, tiles without a
seam, and what networks learn from 16 crops of it, beside random, herding and dm images of as many pixels and all 10 000
of a part of CIFAR-10 (--file takes any .npz file of images). The seam is the mean difference of neighbouring pixels
across the joined edges, over that within. Canvases lie in --out as PNG files that tile. The method `texture` is a part
of this file. Needs CIFAR10-subset/cifar10_subset.npz below --root.

    python scenarios/textures.py --root data     # about 15 minutes on one core; it goes on where it stopped
    python scenarios/textures.py --smoke         # scikit-learn's digits, a few steps: seconds

Seen, accuracy in percent, mean ± std over three seeds: whole 41.1 ± 0.9, herding 24.7 ± 1.7, dm 24.4 ± 4.0, random
20.8 ± 2.0, texture 16.5 ± 3.2. Canvases teach less than random images: they are to look at. Seams: texture 0.20 ± 0.02,
random 3.6 ± 0.5, dm 3.2 ± 0.5, herding 2.8 ± 0.1; of a canvas that starts from four real images side by side, in the
place of one mirrored image, eighty steps did not close the seams (4.7 ± 0.2).
"""

import argparse
import sys
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import torch
from matplotlib import image
from torch import Tensor

import ddcore
from ddcore import plugin as dd


@dd.method()
def texture(ipc: int = 4, iterations: int = 300) -> ddcore.Recipe:
    """Distribution matching of crops of one canvas per class.

    min_S sum_c || mean f(A(T_c)) - mean_j f(A(crop_j(S_c))) ||^2 over random networks f, as in ``dm``.
    """
    return replace(ddcore.recipe("dm", iterations=iterations), name="texture", synthetic=dd.Canvas(ipc, init="real"))


@ddcore.hookimpl
def ddcore_parts() -> list:
    return [texture]


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
    dd.program(main)
