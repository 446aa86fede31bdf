"""The options that commands share, and what they make of an experiment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import partial, wraps
from inspect import Parameter, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_type_hints

import typer

if TYPE_CHECKING:
    from ddcore.datasets.base import DataSet
    from ddcore.experiment.plan import Settings
    from ddcore.host import Host
    from ddcore.parts import Part


def _given(value: str | None) -> str | None:
    if value == "":
        raise typer.BadParameter("it is empty: leave the option out, or give a value.")
    return value


_text = partial(typer.Option, callback=_given)

Data = Annotated[
    str | None,
    _text(
        help="A data set by name (`ddcore list data`), an .npz file, or a folder with train/CLASS/ images."
        " `ddcore list data PATH` shows how a file or folder is read."
    ),
]
Root = Annotated[str | None, _text(help="The folder with the data set's files.")]
Download = Annotated[
    bool, typer.Option("--download", help="Download missing files. Without it, nothing is downloaded.")
]
Size = Annotated[int | None, typer.Option(help="Side to which a folder's images are resized and cropped.")]
Place = Annotated[
    Path,
    typer.Argument(
        help="The folder of a finished experiment, a .safetensors file, a set of the zoo (zoo:NAME), or of the Hugging"
        " Face Hub (hf:OWNER/NAME@REVISION)."
    ),
]
Format = Annotated[
    str | None,
    _text(help="How the set lies in files: tensors, pictures, parquet, or with fields: 'tensors(experiment=2)'."),
]
Seed = Annotated[int, typer.Option(help="Seed of all that is random: the same seed gives the same tensors.")]
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
    _text("--protocol", help="How networks are trained: quick, dc, ... (`ddcore list protocols`)."),
]
Networks = Annotated[
    str | None, _text(help="Networks to evaluate on: convnet,resnet18, or with fields: 'convnet(width=64),mlp'.")
]
Measures = Annotated[
    str | None,
    _text(help="Measures to report: accuracy,calibration_error. The first one chooses among learning rates."),
]
Repeats = Annotated[int | None, typer.Option(help="How many fresh networks are trained in each evaluation.")]
Rates = Annotated[
    str | None, _text("--lr", help="Learning rates to try: 0.001,0.01. More than one needs --validation.")
]
Baselines = Annotated[
    str | None,
    _text(
        help="Baselines to compare with: random,herding,el2n,whole, or none. By default all but el2n, none in a private"
        " run. They have as many items per class as the set; --set experiment.equal=bytes gives them as many bytes."
    ),
]
Validation = Annotated[
    float | None,
    typer.Option(help="Share of the training set to hold out for choosing: 0.1. Nothing is chosen on the test set."),
]
Device = Annotated[str, typer.Option(help="cpu, or cuda.")]
Out = Annotated[Path | None, typer.Option(help="The folder to write; by default runs/DATA-METHOD-ipcIPC-SEED.")]
Plan = Annotated[
    bool,
    typer.Option(
        "--plan", help="Do a few steps of everything, say what the whole will take of time, memory and T, and end."
    ),
]
PlanSeconds = Annotated[float, typer.Option(help="The most that --plan gives a stage before the first step.")]
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


def fields_of(plan: Part, words: Sequence[str]) -> dict[str, Any]:
    """``--NAME VALUE`` for fields of ``plan``, as an override of each; a list may have commas between its values.

    Raises:
        RecipeRefused: a word that belongs to no option, or an option that is no field.
    """
    from ddcore.errors import RecipeRefused, UnknownName
    from ddcore.packing import read_value

    found, left = {}, list(words)
    names = {f.name: getattr(plan, f.name) for f in fields(plan)}
    while left:
        word = left.pop(0)
        name, sign, value = word.removeprefix("--").replace("-", "_").partition("=")
        if not word.startswith("--"):
            raise RecipeRefused(f"{word} belongs to no option. Write --NAME VALUE, or --set NAME=VALUE.")
        if name not in names:
            raise RecipeRefused(str(UnknownName("option", f"--{name}", [f"--{name}" for name in names])))
        value = word.partition("=")[2] if sign else left.pop(0) if left else None
        if value is None:
            raise RecipeRefused(f"--{name} needs a value.")
        listed = isinstance(names[name], tuple) and not value.startswith("[")
        found[name] = [read_value(one, name) for one in value.split(",")] if listed else value
    return found


@dataclass(frozen=True)
class DataOptions:
    """The options that say which data are taken."""

    data: Data = None
    root: Root = None
    download: Download = False
    size: Size = None

    @property
    def given(self) -> dict[str, Any]:
        """The fields of a data set, None where nothing is said of one."""
        return {"root": self.root, "download": self.download or None, "size": self.size}

    def named(self, host: Host, name: str) -> DataSet:
        """The data set ``name``, or the file or folder of that path."""
        from ddcore.experiment.reading import data_set

        return data_set(host.catalogue, name, **self.given)

    def replaced(self, host: Host, base: DataSet) -> DataSet:
        """The data set that is named, or ``base`` with the fields that are given."""
        from ddcore.packing import overridden

        if self.data:
            return self.named(host, self.data)
        given = {field: value for field, value in self.given.items() if value is not None}
        if self.root:
            given["root"] = str(Path(self.root).expanduser().absolute())
        return overridden(base, given, host.catalogue)


@dataclass(frozen=True)
class Options(DataOptions):
    """The options of whatever distils or evaluates."""

    change: Change = None
    protocol: Named = None
    networks: Networks = None
    measures: Measures = None
    repeats: Repeats = None
    rates: Rates = None
    baselines: Baselines = None
    validation: Validation = None

    def laid_over(self, host: Host, settings: Settings, changes: dict[str, Any]) -> Settings:
        """``settings`` with the options that are given, and the fields of ``changes``, in the place of theirs."""
        from ddcore.evaluation.preset import preset_on
        from ddcore.naming import parse_parts
        from ddcore.packing import overridden

        data = {path: value for path, value in changes.items() if path.startswith("data.")}
        settings = overridden(settings, data, host.catalogue)
        if self.protocol:
            meant = preset_on(self.protocol, settings.data.part_name(), host.catalogue)
            settings = overridden(settings, {"protocol": meant}, host.catalogue)
        if self.protocol or settings.protocol == type(settings.protocol)():
            settings = settings.suited(host.catalogue)
        given = {
            "protocol.networks": parse_parts(self.networks, "--networks") if self.networks else None,
            "protocol.measures": parse_parts(self.measures, "--measures") if self.measures else None,
            "protocol.repeats": self.repeats,
            "protocol.lr": _rates(self.rates),
            "baselines": _baselines(self.baselines),
            "validation": self.validation,
        }
        rest = {path: value for path, value in changes.items() if path not in data}
        return overridden(settings, {**{n: v for n, v in given.items() if v is not None}, **rest}, host.catalogue)


@dataclass(frozen=True)
class Work:
    """Where and how an experiment is carried out."""

    device: Device = "cpu"
    out: Out = None
    checkpoint_seconds: Checkpoint = 30.0
    plan: Plan = False
    plan_seconds: PlanSeconds = 30.0


def spelled(command: Callable[..., None]) -> Callable[..., None]:
    """``command`` with the fields of each of its arguments that is a class of options as options of their own."""
    hints = get_type_hints(command, include_extras=True)
    held = {name: hint for name, hint in hints.items() if hint in (DataOptions, Options, Work)}
    options: list[Parameter] = []
    for name, parameter in signature(command).parameters.items():
        if name in held:
            own = get_type_hints(held[name], include_extras=True)
            named = [(f.name, f.default, own[f.name]) for f in fields(held[name])]
        else:
            named = [(name, parameter.default, hints[name])]
        options += [Parameter(n, Parameter.KEYWORD_ONLY, default=d, annotation=hint) for n, d, hint in named]

    @wraps(command)
    def called(**given: Any) -> None:
        groups = {name: kind(**{f.name: given.pop(f.name) for f in fields(kind)}) for name, kind in held.items()}
        command(**groups, **given)

    called.__signature__ = signature(command).replace(parameters=options)  # type: ignore[attr-defined]
    called.__annotations__ = {option.name: option.annotation for option in options}
    return called


def _rates(text: str | None) -> list[float] | None:
    from ddcore.errors import RecipeRefused

    try:
        return None if text is None else [float(rate) for rate in text.split(",")]
    except ValueError:
        raise RecipeRefused(f"--lr {text}: write one number, or several with commas between: 0.001,0.01.") from None


def _baselines(text: str | None) -> list[str] | None:
    from ddcore.errors import UnknownName
    from ddcore.experiment.plan import Baseline

    if text is None:
        return None
    names = [] if text == "none" else text.split(",")
    for name in names:
        if name not in get_args(Baseline):
            raise UnknownName("baseline", name, get_args(Baseline))
    return names
