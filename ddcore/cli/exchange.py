"""The commands that write sets for others, and read theirs."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from ddcore.cli.base import app, say, screen, warn
from ddcore.cli.options import DataOptions, Format, Place, spelled

RAW = "raw"


class Scores(StrEnum):
    probabilities = "probabilities"
    logits = "logits"
    vectors = "vectors"


@app.command()
@spelled
def export(
    place: Place,
    out: Annotated[Path, typer.Argument(help="The folder or file to write; nothing may be there.")],
    format: Format = "tensors",
) -> None:
    """Write a distilled set for other programs: tensors (DD-Ranking's inputs, plain .pt), pictures (PNG files by class)
    or parquet (Hugging Face datasets).

    `ddcore export runs/digits-dm-ipc1-0 dm --format tensors`

    `ddcore export runs/digits-dm-ipc1-0 dm.parquet --format parquet`
    """
    from ddcore.experiment.exchanging import export as exported
    from ddcore.experiment.reading import distilled_at

    found = exported(distilled_at(place), out, format or "tensors")
    say(found.said)
    warn(found.warnings)
    screen.print(f"Written: {out}, {found.notes}", soft_wrap=True)


@app.command()
def coarsen(
    place: Place,
    out: Annotated[Path, typer.Argument(help="The .safetensors file to write; nothing may be there.")],
    bits: Annotated[int, typer.Option(help="Bits per number: 16, 8 or 4.")] = 8,
) -> None:
    """Store a distilled set in fewer bits per number, spread over the range of each tensor.

    `ddcore coarsen runs/digits-dm-ipc1-0 dm8.safetensors --bits 8`

    `ddcore evaluate dm8.safetensors` measures what is left of it.
    """
    from ddcore.errors import RecipeRefused
    from ddcore.experiment.exchanging import coarsened
    from ddcore.experiment.reading import distilled_at
    from ddcore.files import check_target

    check_target(out)
    if out.exists():
        raise RecipeRefused(f"{out} is there already. Name another place, or remove it.")
    found = distilled_at(place)
    small = coarsened(found, bits)
    warn(small.warnings)
    screen.print(f"{small.nbytes} bytes, where it took {found.nbytes}.")
    screen.print(f"Written: {small.save(out)}", soft_wrap=True)


@app.command(name="import")
@spelled
def import_(
    path: Annotated[Path, typer.Argument(help="The file or folder that others released.")],
    options: DataOptions,
    out: Annotated[Path, typer.Option(help="The .safetensors file to write.")],
    format: Format = None,
    preprocess: Annotated[
        str | None,
        typer.Option(
            help="What the files' items have been through: standardise, zca(eps=0.1), identity, or raw, for pixels in"
            " [0, 1], which are standardised then. What pictures are to go through. By default found out."
        ),
    ] = None,
    scores: Annotated[Scores | None, typer.Option(help="What labels are that are rows of numbers.")] = None,
    factor: Annotated[
        int, typer.Option(min=1, help="Cut each image into so many tiles per side, as IDC and NCFM do.")
    ] = 1,
) -> None:
    """Read a distilled set that others released, made from --data, so that `ddcore evaluate` takes it: .pt files of DC,
    DSA, DM, DataDAM, MTT, IDC and NCFM, folders of pictures by class, Parquet files.

    `ddcore import CIFAR10_10ipc --data cifar10 --root data --preprocess zca --out mtt.safetensors`

    `ddcore import data_best.pt --data cifar10 --root data --preprocess raw --factor 2 --out idc.safetensors`
    """
    from ddcore.errors import RecipeRefused
    from ddcore.experiment.exchanging import read_released
    from ddcore.files import check_target
    from ddcore.host import Host

    if options.data is None:
        raise RecipeRefused("Say with --data from which data the set was made.")
    check_target(out)
    host = Host()
    how: dict[str, Any] = {"raw": True} if preprocess == RAW else {"preprocess": preprocess}
    how |= {"format": format, "scores": scores and scores.value, "factor": factor, "host": host}
    found = read_released(path, options.named(host, options.data).load(), **how)
    warn(found.warnings)
    screen.print(f"{len(found)} items, {found.nbytes} bytes.")
    screen.print(f"Written: {found.save(out)}", soft_wrap=True)


@app.command()
def push(
    place: Place,
    address: Annotated[str, typer.Argument(help="Where it goes: hf:OWNER/NAME.")],
    private: Annotated[bool, typer.Option("--private", help="Only you, and whom you let in, may read it.")] = False,
    license: Annotated[
        str | None, typer.Option(help="What you publish it under, as the Hub names it: cc-by-4.0, mit, other ...")
    ] = None,
    card: Annotated[
        Path | None,
        typer.Option(help="The folder that `ddcore card` wrote; by default card in that of the experiment."),
    ] = None,
) -> None:
    """Put a distilled set on the Hugging Face Hub, with a page: what it is, its scores and fair card, what it states of
    privacy and poison, how to load and cite it. Needs `pip install 'ddcore[hub]'` and `hf auth login`.

    `ddcore push runs/digits-dm-ipc1-0 hf:me/digits-dm --private`

    `ddcore evaluate hf:me/digits-dm` takes it from there.
    """
    from ddcore.experiment.pushing import push as pushed

    found = pushed(place, address, private=private, license=license, card=card)
    warn(found.warnings)
    screen.print(f"Pushed: {found.page}", soft_wrap=True)
    screen.print(f"Load it with {found.address}", soft_wrap=True)
