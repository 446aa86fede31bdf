"""The options that commands share, and what they make of an experiment."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ddcore.datasets.base import DataSet
    from ddcore.experiment.plan import Settings
    from ddcore.host import Host

Data = Annotated[
    str | None,
    typer.Option(
        help="A data set by name (`ddcore list data`), an .npz file, or a folder with train/CLASS/ images."
        " `ddcore list data PATH` tells how a file or folder is read."
    ),
]
Root = Annotated[str | None, typer.Option(help="The folder where the data set's files lie.")]
Download = Annotated[bool, typer.Option("--download", help="Fetch missing files; nothing is fetched unasked.")]
Size = Annotated[int | None, typer.Option(help="Side to which a folder's images are resized and cropped.")]
Seed = Annotated[int, typer.Option(help="Same seed, same tensors.")]
Change = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="Set one field: of the recipe (objective.real=64, network.name=mlp), of the protocol (protocol.batch=32)"
        " or of the experiment (experiment.data.side=16).",
    ),
]
Named = Annotated[
    str | None,
    typer.Option("--protocol", help="How networks are trained: quick, dc, ... (`ddcore list protocols`)."),
]
Networks = Annotated[
    str | None, typer.Option(help="Networks to evaluate on: convnet,resnet18, or with fields: 'convnet(width=64),mlp'.")
]
Measures = Annotated[
    str | None, typer.Option(help="What is measured: accuracy,calibration_error; the first one chooses among rates.")
]
Repeats = Annotated[int | None, typer.Option(help="Fresh networks for each evaluation.")]
Rates = Annotated[
    str | None, typer.Option("--lr", help="Learning rates to try: 0.001,0.01. More than one needs --validation.")
]
Baselines = Annotated[
    str | None,
    typer.Option(
        help="Sets to stand beside: random,herding,whole, or none. By default all, and none in a private run."
    ),
]
Validation = Annotated[
    float | None, typer.Option(help="Share of the training set kept apart to choose on: 0.1. Test is never chosen on.")
]
Device = Annotated[str, typer.Option(help="cpu, or cuda.")]
Out = Annotated[Path | None, typer.Option(help="The folder to write; by default runs/DATA-METHOD-ipcIPC-SEED.")]
Checkpoint = Annotated[float, typer.Option(help="Seconds between two checkpoints.")]


def routed(changes: dict[str, str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What ``--set`` says of the recipe, and what it says of the settings beside it."""
    recipe, settings = {}, {}
    for path, value in changes.items():
        if path.split(".")[0] in ("protocol", "experiment"):
            settings[path.removeprefix("experiment.")] = value
        else:
            recipe[path] = value
    return recipe, settings


def laid_over(
    host: Host,
    settings: Settings,
    changes: dict[str, Any],
    protocol: str | None,
    networks: str | None,
    measures: str | None,
    repeats: int | None,
    rates: str | None,
    baselines: str | None,
    validation: float | None,
) -> Settings:
    """``settings`` with the options that are given, and the fields of ``changes``, in the place of theirs."""
    from ddcore.naming import parse_parts
    from ddcore.packing import overridden

    data = {path: value for path, value in changes.items() if path.startswith("data.")}
    settings = overridden(settings, data, host.catalogue)
    if protocol:
        settings = overridden(settings, {"protocol": protocol}, host.catalogue)
    if protocol or settings.protocol == type(settings.protocol)():
        settings = settings.suited(host.catalogue)
    given = {
        "protocol.networks": parse_parts(networks, "--networks") if networks else None,
        "protocol.measures": parse_parts(measures, "--measures") if measures else None,
        "protocol.repeats": repeats,
        "protocol.lr": f"[{rates}]" if rates else None,
        "baselines": _baselines(baselines),
        "validation": validation,
    }
    rest = {path: value for path, value in changes.items() if path not in data}
    return overridden(settings, {**{n: v for n, v in given.items() if v is not None}, **rest}, host.catalogue)


def _baselines(text: str | None) -> list[str] | None:
    from ddcore.errors import UnknownName
    from ddcore.experiment.plan import BASELINES

    if text is None:
        return None
    names = [] if text == "none" else text.split(",")
    for name in names:
        if name not in BASELINES:
            raise UnknownName("baseline", name, BASELINES)
    return names


def data_of(host: Host, base: DataSet, name: str | None, **fields: Any) -> DataSet:
    """``base`` with the fields that are given, or the data set ``name``."""
    from ddcore.experiment.reading import data_set
    from ddcore.packing import overridden

    if name:
        return data_set(host.catalogue, name, **fields)
    if fields["root"]:
        fields["root"] = str(Path(fields["root"]).expanduser().absolute())
    return overridden(base, {field: value for field, value in fields.items() if value is not None}, host.catalogue)
