"""Folders of images larger than memory: DM on 10 000 and 100 000 made images, decoded as they are taken.

Shows that memory does not grow with the folder, and that a step does not either: before the run only headers are read,
and each step decodes the images that it draws. Needs nothing but the installation, and 1 GB of disk for the images,
which it makes in a temporary folder and takes away again; about 10 minutes on one core.

    python scenarios/streaming.py               # 10 000 and 100 000 images of 64x64
    python scenarios/streaming.py --smoke       # 1 000 images, two steps: seconds

Seen (64 MiB of decoded images kept, DM with 320 real images a step, ConvNet of width 16, a busy core):

    images    decoded     loading   process then   a step           process at its most
    9 000     105 MiB     7 s       529 MiB        1.4 ± 0.2 s      1235 MiB
    90 000    1055 MiB    66 s      574 MiB        1.9 ± 0.6 s      1257 MiB
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import mean, stdev

import torch
from PIL import Image

import ddcore

CLASSES, SIDE = 20, 64
FIELDS = ("images", "decoded_mib", "loading_seconds", "loaded_mib", "step_seconds", "step_std", "peak_mib")


def make(root: Path, images: int) -> None:
    """Coarse noise, another for each image, in the colour of its class."""
    generator = torch.Generator().manual_seed(0)
    colours = torch.rand(CLASSES, 3, generator=generator)
    for c, colour in enumerate(colours):
        folder = root / "train" / f"{c:02d}"
        folder.mkdir(parents=True)
        for i in range(images // CLASSES):
            coarse = (torch.rand(8, 8, 1, generator=generator) * colour * 255).byte().numpy()
            Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.NEAREST).save(folder / f"{i}.png")


def distil(root: Path, memory: int, steps: int) -> dict[str, float]:
    """What loading and DM take, with at most ``memory`` bytes of decoded images kept."""
    began = time.perf_counter()
    data = ddcore.plugin.ImageFolder(str(root), memory=memory).load()
    loaded, held = time.perf_counter() - began, ddcore.plugin.peak_mib()
    recipe = ddcore.recipe("dm", ipc=1, iterations=steps + 1, overrides={"objective.real": 16, "network.width": 16})
    run = ddcore.Host().start(recipe, data)
    run.run_until(1)
    seconds = []
    for step in range(2, steps + 2):
        began = time.perf_counter()
        run.run_until(step)
        seconds.append(time.perf_counter() - began)
    decoded = len(data.train) * 3 * SIDE * SIDE / 2**20
    found = (len(data.train), decoded, loaded, held, mean(seconds), stdev(seconds), ddcore.plugin.peak_mib())
    return dict(zip(FIELDS, found, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="runs/streaming", type=Path, help="where the figures go")
    parser.add_argument("--images", type=int, nargs="+", default=[10_000, 100_000], help="images of each folder")
    parser.add_argument("--memory", type=int, default=64, help="MiB of decoded images that are kept")
    parser.add_argument("--steps", type=int, default=20, help="steps that are timed")
    parser.add_argument("--smoke", action="store_true", help="1 000 images, two steps")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.smoke:
        options.images, options.steps, options.memory = [1000], 2, 1
    if options.folder:
        print(json.dumps(distil(options.folder, options.memory * 2**20, options.steps)))
        return
    found = []
    for images in options.images:
        with tempfile.TemporaryDirectory() as folder:
            make(Path(folder), images)
            words = ["--folder", folder, "--memory", str(options.memory), "--steps", str(options.steps)]
            done = subprocess.run([sys.executable, __file__, *words], check=True, stdout=subprocess.PIPE, text=True)
        found.append(json.loads(done.stdout.splitlines()[-1]))
        print(", ".join(f"{name} {value:.4g}" for name, value in found[-1].items()))
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "streaming.json").write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    ddcore.plugin.program(main)
