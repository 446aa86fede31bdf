"""The commands that distil and evaluate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ddcore.cli.base import app, pairs, progress, screen, sentences, show

if TYPE_CHECKING:
    from ddcore.datasets.base import DataSet
    from ddcore.evaluation.protocol import Protocol
    from ddcore.experiment.plan import Experiment, Settings
    from ddcore.host import Host

Data = Annotated[
    str | None,
    typer.Option(help="A data set by name (`ddcore list data`), an .npz file, or a folder with train/CLASS/ images."),
]
Root = Annotated[str | None, typer.Option(help="The folder where the data set's files lie.")]
Download = Annotated[bool, typer.Option("--download", help="Fetch missing files; nothing is fetched unasked.")]
Size = Annotated[int | None, typer.Option(help="Side of the images, for a folder of images.")]
Seed = Annotated[int, typer.Option(help="Same seed, same tensors.")]
Change = Annotated[
    list[str] | None,
    typer.Option("--set", help="Set one field of the recipe: --set objective.real=64 --set network.name=mlp."),
]
Named = Annotated[
    str | None,
    typer.Option("--protocol", help="How networks are trained: quick, dc, ... (`ddcore list protocols`)."),
]
Networks = Annotated[str | None, typer.Option(help="Networks to evaluate on: convnet,resnet18,vgg11.")]
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


def _protocol(
    host: Host,
    kind: str,
    base: Protocol,
    name: str | None,
    networks: str | None,
    repeats: int | None,
    rates: str | None,
) -> Protocol:
    from ddcore.packing import overridden

    protocol = host.kind(kind).adapted(type(base).named(name)) if name else base
    changes: dict[str, Any] = {}
    if networks:
        for network in networks.split(","):
            host.catalogue.find("network", network)
        changes["networks"] = [{"name": network} for network in networks.split(",")]
    if repeats is not None:
        changes["repeats"] = repeats
    if rates:
        changes["lr"] = f"[{rates}]"
    return overridden(protocol, changes, host.catalogue)


def _baselines(text: str | None, default: tuple[str, ...] | None) -> tuple[Any, ...] | None:
    from ddcore.errors import UnknownName
    from ddcore.experiment.plan import BASELINES

    if text is None:
        return default
    names = () if text == "none" else tuple(text.split(","))
    for name in names:
        if name not in BASELINES:
            raise UnknownName("baseline", name, BASELINES)
    return names


def _laid_over(
    host: Host,
    settings: Settings,
    protocol: str | None,
    networks: str | None,
    repeats: int | None,
    rates: str | None,
    baselines: str | None,
    validation: float | None,
) -> Settings:
    """``settings`` with the options that are given in the place of theirs."""
    from dataclasses import replace

    return replace(
        settings,
        protocol=_protocol(host, settings.data.item_kind(), settings.protocol, protocol, networks, repeats, rates),
        baselines=_baselines(baselines, settings.baselines),
        validation=settings.validation if validation is None else validation,
    )


def _data(host: Host, base: DataSet, name: str | None, **fields: Any) -> DataSet:
    """``base`` with the fields that are given, or the data set ``name``."""
    from ddcore.experiment.reading import data_set
    from ddcore.packing import overridden

    if name:
        return data_set(host.catalogue, name, **fields)
    if fields["root"]:
        fields["root"] = str(Path(fields["root"]).expanduser().absolute())
    return overridden(base, {field: value for field, value in fields.items() if value is not None}, host.catalogue)


def _preset(protocol: Protocol) -> str:
    """The preset that ``protocol`` is, whatever its networks and repeats; ``own`` for none."""
    from dataclasses import replace

    from ddcore.evaluation.protocols import PRESETS

    presets = {name: type(protocol).named(name) for name in PRESETS}
    same = (
        n for n, p in presets.items() if replace(p, networks=protocol.networks, repeats=protocol.repeats) == protocol
    )
    return next(same, "own")


def _carry_out(experiment: Experiment, host: Host, out: Path | None, device: str, checkpoint_seconds: float) -> None:
    from ddcore.experiment.running import run_experiment

    folder = out or experiment.folder()
    with sentences(resume=folder), progress() as told:
        metrics = run_experiment(
            experiment, folder, host=host, device=device, checkpoint_seconds=checkpoint_seconds, progress=told
        )
    _finish(metrics, folder)


def _finish(metrics: dict[str, Any], folder: Path) -> None:
    from ddcore.report.tables import results

    show(*results(metrics))
    screen.print(f"{metrics['bytes']} bytes, {metrics['seconds']['distilling']} s of distilling.", highlight=False)
    picture = "images.png, " if (folder / "images.png").exists() else ""
    written = f"Written: {folder}/report.md, {picture}distilled.safetensors, metrics.json"
    screen.print(written, highlight=False, soft_wrap=True)


@app.command()
def distill(
    method: Annotated[str, typer.Argument(help="A method: `ddcore list methods`.")],
    data: Data = "digits",
    root: Root = None,
    download: Download = False,
    size: Size = None,
    ipc: Annotated[int, typer.Option(help="Items per class.")] = 1,
    iterations: Annotated[int | None, typer.Option(help="Updates of the images; by default the method's.")] = None,
    seed: Seed = 0,
    change: Change = None,
    protocol: Named = None,
    networks: Networks = None,
    repeats: Repeats = None,
    rates: Rates = None,
    baselines: Baselines = None,
    validation: Validation = None,
    device: Device = "cpu",
    out: Out = None,
    checkpoint_seconds: Checkpoint = 30.0,
) -> None:
    """Distil a data set, and evaluate it beside random, herding and whole.

    `ddcore distill dm --data digits --ipc 1`

    `ddcore distill dsa --data mnist --root ~/data --ipc 10 --iterations 1000 --networks convnet,resnet18`
    """
    with sentences():
        from ddcore.errors import RecipeRefused
        from ddcore.experiment.plan import Experiment, Settings
        from ddcore.experiment.reading import data_set
        from ddcore.host import Host

        host = Host()
        if method.endswith(".toml"):
            raise RecipeRefused(f"{method} is a recipe file, not a method: `ddcore run {method}`.")
        arguments = {"ipc": ipc} | ({"iterations": iterations} if iterations is not None else {})
        settings = Settings(data_set(host.catalogue, data or "digits", root=root, download=download or None, size=size))
        settings = settings.suited(host.catalogue)
        overrides, kind = {"seed": seed, **pairs(change or [])}, settings.data.item_kind()
        recipe = host.recipe(method, kind=kind, overrides=overrides, **arguments)
        settings = _laid_over(host, settings, protocol, networks, repeats, rates, baselines, validation)
    _carry_out(Experiment(recipe, settings), host, out, device, checkpoint_seconds)


@app.command()
def run(
    file: Annotated[Path, typer.Argument(help="A recipe file: a recipe with a table [experiment].")],
    data: Data = None,
    root: Root = None,
    download: Download = False,
    size: Size = None,
    change: Change = None,
    protocol: Named = None,
    networks: Networks = None,
    repeats: Repeats = None,
    rates: Rates = None,
    baselines: Baselines = None,
    validation: Validation = None,
    device: Device = "cpu",
    out: Out = None,
    checkpoint_seconds: Checkpoint = 30.0,
) -> None:
    """Run a recipe file, such as the recipe.toml that every run leaves; options override what it says.

    `ddcore run runs/digits-dm-ipc1-0/recipe.toml --set seed=1`
    """
    with sentences():
        from dataclasses import replace

        from ddcore.composition import Recipe
        from ddcore.errors import RecipeRefused
        from ddcore.experiment.plan import Experiment, Settings
        from ddcore.experiment.reading import data_set
        from ddcore.host import Host
        from ddcore.packing import overridden, parse_toml

        host = Host()
        if not file.is_file():
            raise RecipeRefused(f"There is no recipe file {file}.")
        try:
            text = file.read_text()
        except UnicodeDecodeError:
            raise RecipeRefused(f"{file} is not text, so it is no recipe file.") from None
        fields = {"root": root, "download": download or None, "size": size}
        if data and "experiment" not in parse_toml(text, str(file)):
            recipe = Recipe.from_toml(text, host.catalogue, str(file))
            settings = Settings(data_set(host.catalogue, data, **fields)).suited(host.catalogue)
        else:
            found = Experiment.from_toml(text, host.catalogue, str(file))
            recipe, settings = found.recipe, found.settings
            settings = replace(settings, data=_data(host, settings.data, data, **fields))
        recipe = overridden(recipe, pairs(change or []), host.catalogue)
        settings = _laid_over(host, settings, protocol, networks, repeats, rates, baselines, validation)
    _carry_out(Experiment(recipe, settings), host, out, device, checkpoint_seconds)


@app.command()
def resume(
    folder: Annotated[Path, typer.Argument(help="The folder of an experiment that was stopped.")],
    device: Device = "cpu",
    checkpoint_seconds: Checkpoint = 30.0,
) -> None:
    """Go on with a stopped experiment, bit for bit as if it had never stopped.

    `ddcore resume runs/digits-dm-ipc1-0`
    """
    with sentences(resume=folder), progress() as told:
        from ddcore import experiment

        metrics = experiment.resume(folder, device=device, checkpoint_seconds=checkpoint_seconds, progress=told)
    _finish(metrics, folder)


@app.command()
def evaluate(
    place: Annotated[Path, typer.Argument(help="The folder of a finished experiment, or a .safetensors file.")],
    data: Data = None,
    root: Root = None,
    download: Download = False,
    size: Size = None,
    protocol: Named = None,
    networks: Networks = None,
    repeats: Repeats = None,
    rates: Rates = None,
    baselines: Baselines = None,
    validation: Validation = None,
    device: Device = "cpu",
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Where the scores go; by default evaluation-PROTOCOL.json beside.")
    ] = None,
) -> None:
    """Evaluate a distilled set anew: on other networks, under another protocol.

    `ddcore evaluate runs/digits-dm-ipc1-0 --networks convnet,resnet18,vgg11 --repeats 3`

    `ddcore evaluate dsa.safetensors --data mnist --root ~/data --protocol dsa`
    """
    with sentences(), progress() as told:
        from dataclasses import replace

        from ddcore.artefact import DistilledSet
        from ddcore.experiment.folder import Folder
        from ddcore.experiment.plan import Settings
        from ddcore.experiment.reading import data_set
        from ddcore.experiment.running import evaluate_saved
        from ddcore.files import write_whole
        from ddcore.host import Host
        from ddcore.report.tables import results

        host = Host()
        fields = {"root": root, "download": download or None, "size": size}
        bare = place.is_file() or place.suffix == ".safetensors"
        if bare:
            settings = Settings(data_set(host.catalogue, data or DistilledSet.load(place).data.name, **fields))
            settings = settings.suited(host.catalogue)
        else:
            settings = Folder(place).experiment(host.catalogue).settings
            settings = replace(settings, data=_data(host, settings.data, data, **fields))
        settings = _laid_over(host, settings, protocol, networks, repeats, rates, baselines, validation)
        metrics = evaluate_saved(place, settings, host=host, device=device, progress=told)
        beside = f"evaluation-{_preset(settings.protocol)}.json"
        target = json_file or (place.with_name(f"{place.stem}-{beside}") if bare else place / beside)
        write_whole(target, (json.dumps(metrics, indent=2) + "\n").encode())
    show(*results(metrics))
    screen.print(f"Written: {target}", highlight=False, soft_wrap=True)


@app.command()
def study(
    name: Annotated[str, typer.Argument(help="A study: `ddcore list studies`.")],
    data: Data = None,
    root: Root = None,
    download: Download = False,
    size: Size = None,
    change: Annotated[
        list[str] | None, typer.Option("--set", help="Set one field of the study: --set shadows=32.")
    ] = None,
    device: Device = "cpu",
    out: Annotated[Path | None, typer.Option(help="The folder to write; by default runs/study-NAME.")] = None,
) -> None:
    """Carry out a study, an experiment with a protocol of its own; the same command goes on with a stopped one.

    `ddcore study audit --set method=dm --set shadows=16`
    """
    folder = out or Path("runs") / f"study-{name}"
    with sentences(again=True), progress() as told:
        from dataclasses import replace
        from typing import cast

        from ddcore.datasets.base import DataSet
        from ddcore.errors import RecipeRefused
        from ddcore.host import Host
        from ddcore.packing import from_dict, overridden
        from ddcore.study import Study, run_study

        host = Host()
        plan = from_dict(cast(type[Study], host.catalogue.find("study", name).maker), {}, host.catalogue, name)
        given = {"root": root, "download": download or None, "size": size}
        if isinstance(base := getattr(plan, "data", None), DataSet):
            plan = replace(cast(Any, plan), data=_data(host, base, data, **given))
        elif data or any(given.values()):
            raise RecipeRefused(f"The study {name} has no data set to choose.")
        plan = overridden(plan, pairs(change or []), host.catalogue)
        finding = run_study(plan, folder, host=host, device=device, progress=told)
    show(finding.head, finding.rows)
    screen.print(finding.says, highlight=False, soft_wrap=True)
    screen.print(f"Written: {folder}/report.md, finding.json", highlight=False, soft_wrap=True)
