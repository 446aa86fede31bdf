"""The commands that distil and evaluate."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ddcore.cli.base import app, by_one_process, pairs, progress, say, screen, show, warn
from ddcore.cli.options import Checkpoint, DataOptions, Device, Options, Place, Seed, Work, fields_of, routed, spelled

if TYPE_CHECKING:
    from ddcore.experiment.plan import Experiment
    from ddcore.host import Host
    from ddcore.study.engine import Engine


def _carry_out(experiment: Experiment, host: Host, work: Work) -> None:
    from ddcore.experiment.running import run_experiment

    if work.plan:
        by_one_process("ddcore ... --plan")
        from ddcore.experiment.forecast import duration, forecast

        told = forecast(experiment, host=host, device=work.device, seconds=work.plan_seconds)
        rows = [(s.name, f"{s.timed}", f"{s.of}", duration(s.seconds)) for s in told.stages]
        show(("stage", "steps timed", "steps", "time"), rows)
        say(told.sentences())
        return
    folder, seconds = work.out or experiment.folder(), work.checkpoint_seconds
    with progress() as told:
        metrics = run_experiment(
            experiment, folder, host=host, device=work.device, checkpoint_seconds=seconds, progress=told
        )
    _finish(metrics, folder)


def _finish(metrics: dict[str, Any], folder: Path) -> None:
    from ddcore.report.tables import results, warnings_of

    if not metrics:  # of a process that shares a run whose first one tells
        return
    say(metrics["notes"])
    show(*results(metrics))
    warn(warnings_of(metrics))
    screen.print(f"{metrics['bytes']} bytes, {metrics['seconds']['distilling']} s of distilling.")
    left = [
        name
        for name in ("report.md", "images.png", "distilled.safetensors", "metrics.json")
        if (folder / name).exists()
    ]
    screen.print(f"Written: {folder}/{', '.join(left)}", soft_wrap=True)


@app.command()
@spelled
def distill(
    method: Annotated[str, typer.Argument(help="A method: `ddcore list methods`.")],
    options: Options,
    work: Work,
    ipc: Annotated[int, typer.Option(help="Items per class.")] = 1,
    iterations: Annotated[
        int | None, typer.Option(help="Updates of the distilled set; by default the method's.")
    ] = None,
    seed: Seed = 0,
    bits: Annotated[
        int | None, typer.Option(help="Bits in which each number of the set is stored: 16, 8 or 4; by default 32.")
    ] = None,
    coarse: Annotated[
        int | None,
        typer.Option(help="The same, with as many numbers as the bytes of --ipc float32 images hold: 8 for 4 times."),
    ] = None,
) -> None:
    """Distil a data set, by default digits, by METHOD (`ddcore list methods`), and evaluate it beside random, herding
    and whole.

    `ddcore distill dm --data digits --ipc 1`

    `ddcore distill dsa --data mnist --root ~/data --ipc 10 --iterations 1000 --networks convnet,resnet18`

    `ddcore distill dm --data fashion --root ~/data --ipc 10 --coarse 8 --baselines random --set experiment.equal=bytes`
    """
    from ddcore.errors import RecipeRefused
    from ddcore.experiment.plan import Experiment, Settings
    from ddcore.host import Host

    host = Host()
    if method.endswith(".toml"):
        raise RecipeRefused(f"{method} is a recipe file, not a method: `ddcore run {method}`.")
    arguments = {"ipc": ipc} | ({"iterations": iterations} if iterations is not None else {})
    changes, of_settings = routed(pairs(options.change or []))
    settings = Settings(options.named(host, options.data or "digits"))
    settings = options.laid_over(host, settings, of_settings)
    stored = {"synthetic.bits": bits, "synthetic.coarse": coarse}
    given = {path: value for path, value in stored.items() if value is not None}
    overrides, kind = {"seed": seed, **given, **changes}, settings.data.item_kind()
    recipe = host.recipe(method, kind=kind, overrides=overrides, **arguments)
    _carry_out(Experiment(recipe, settings), host, work)


@app.command()
@spelled
def run(
    file: Annotated[Path, typer.Argument(help="A recipe file: a recipe with a table [experiment].")],
    options: Options,
    work: Work,
) -> None:
    """Run FILE, a recipe with a table [experiment], such as the recipe.toml of a run; options override what it says.

    `ddcore run runs/digits-dm-ipc1-0/recipe.toml --set seed=1`
    """
    from dataclasses import replace

    from ddcore.composition import Recipe
    from ddcore.errors import RecipeRefused
    from ddcore.experiment.plan import Experiment, Settings
    from ddcore.host import Host
    from ddcore.packing import overridden, parse_toml, read_toml

    host = Host()
    if not file.is_file():
        raise RecipeRefused(f"There is no recipe file {file}.")
    text = read_toml(file)
    if options.data and "experiment" not in parse_toml(text, str(file)):
        recipe = Recipe.from_toml(text, host.catalogue, str(file))
        settings = Settings(options.named(host, options.data)).suited(host.catalogue)
    else:
        found = Experiment.from_toml(text, host.catalogue, str(file))
        recipe, settings = found.recipe, found.settings
        settings = replace(settings, data=options.replaced(host, settings.data))
    changes, of_settings = routed(pairs(options.change or []))
    recipe = overridden(recipe, changes, host.catalogue)
    settings = options.laid_over(host, settings, of_settings)
    _carry_out(Experiment(recipe, settings), host, work)


@app.command()
def resume(
    folder: Annotated[Path, typer.Argument(help="The folder of an experiment that was stopped.")],
    device: Device = "cpu",
    checkpoint_seconds: Checkpoint = 30.0,
) -> None:
    """Continue the stopped experiment in FOLDER, bit for bit as if it had never stopped.

    `ddcore resume runs/digits-dm-ipc1-0`
    """
    with progress() as told:
        from ddcore.experiment.running import resume as resumed

        metrics = resumed(folder, device=device, checkpoint_seconds=checkpoint_seconds, progress=told)
    _finish(metrics, folder)


@app.command()
@spelled
def evaluate(
    place: Place,
    options: Options,
    device: Device = "cpu",
    json_file: Annotated[
        Path | None,
        typer.Option("--json", help="The file for the scores; by default evaluation-PROTOCOL.json next to the set."),
    ] = None,
    by_number: Annotated[
        bool,
        typer.Option(
            "--by-number", help="Match classes by their numbers: the data may give them other names than the set does."
        ),
    ] = False,
) -> None:
    """Evaluate a distilled set again: on other networks, under another protocol, with other measures.

    PLACE is the folder of a finished experiment, a .safetensors file, a set of the zoo, or one of the Hugging Face Hub.

    `ddcore evaluate runs/digits-dm-ipc1-0 --networks convnet,resnet18,vgg11 --repeats 3`

    `ddcore evaluate dsa.safetensors --data mnist --root ~/data --protocol dsa`
    """
    with progress() as told:
        from dataclasses import replace

        from ddcore.errors import RecipeRefused
        from ddcore.experiment.evaluating import evaluate_saved
        from ddcore.experiment.folder import Folder
        from ddcore.experiment.plan import Settings
        from ddcore.experiment.reading import address_stem, data_set_of, distilled_at, file_at
        from ddcore.files import check_target, json_bytes, write_whole
        from ddcore.host import Host
        from ddcore.report.tables import results, warnings_of

        host = Host()
        if json_file:
            check_target(json_file)
        changes, of_settings = routed(pairs(options.change or []))
        if changes:
            raise RecipeRefused(
                f"--set {', '.join(changes)}: the set is already made, so its recipe cannot change."
                " Set fields of the protocol (protocol.batch=32) or of the experiment."
            )
        stem = address_stem(place)
        place = file_at(place) if stem is not None else place
        bare = place.is_file() or place.suffix == ".safetensors"
        if bare:
            if options.data:
                chosen = options.named(host, options.data)
            else:
                chosen = data_set_of(distilled_at(place), host.catalogue, **options.given)
            settings = Settings(chosen).suited(host.catalogue)
        else:
            settings = Folder(place).experiment(host.catalogue).settings
            settings = replace(settings, data=options.replaced(host, settings.data))
        settings = options.laid_over(host, settings, of_settings)
        with nullcontext() if bare or json_file else Folder(place).held():
            metrics = evaluate_saved(place, settings, host=host, device=device, progress=told, by_number=by_number)
            file = f"evaluation-{metrics['preset'] or 'own'}.json"
            beside = Path(f"{stem}-{file}") if stem else place.with_name(f"{place.stem}-{file}")
            target = json_file or (beside if bare else place / file)
            write_whole(target, json_bytes(metrics))
    say(metrics["notes"])
    show(*results(metrics))
    warn(warnings_of(metrics))
    say(metrics["told"])
    screen.print(f"Written: {target}", soft_wrap=True)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
@spelled
def study(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="A study: `ddcore list studies`.")],
    options: DataOptions,
    change: Annotated[
        list[str] | None, typer.Option("--set", help="Set one field of the study: --set shadows=32.")
    ] = None,
    device: Device = "cpu",
    engine: Annotated[
        str | None,
        typer.Option(
            help="Where cases run: local (one after another), loky (processes), ray, dask, or with fields:"
            " 'dask(scheduler=\"tcp://node:8786\")'. By default local, and loky where --workers is more than 1."
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Cases at a time, each in a process on one thread; by default one per core."),
    ] = None,
    so_far: Annotated[
        bool, typer.Option("--so-far", help="Run nothing: sum up the cases that have ended, also while others run.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="The folder to write; by default runs/study-NAME.")] = None,
) -> None:
    """Run the study NAME (`ddcore list studies`), which sums up many runs. The same command continues a stopped one.

    The results do not depend on the engine, where as many threads compute. A case whose worker dies goes on with
    another.

    `ddcore study grid --set 'methods=["dm", "dc"]' --set seeds=[0,1,2] --workers 2`

    `ddcore study grid --set seeds=[0,1,2] --engine ray --workers 16`

    `ddcore study audit --set method=dm --set shadows=16`

    A table of a study that is not at its end, as far as its cases have come: the same command with --so-far.

    A field of the study is an option of its own too, with commas between several values:

    `ddcore study table --data digits --ipc 1,10 --methods dm,kfs --seeds 3 --minutes 1,5`
    """
    folder = out or Path("runs") / f"study-{name}"
    with progress() as told:
        from dataclasses import replace
        from typing import cast

        from ddcore.datasets.base import DataSet
        from ddcore.errors import RecipeRefused
        from ddcore.host import Host
        from ddcore.packing import from_dict, overridden
        from ddcore.study import running
        from ddcore.study.base import Study

        host = Host()
        plan = from_dict(cast(type[Study], host.catalogue.find("study", name).maker), {}, host.catalogue, name)
        base = getattr(plan, "data", None)
        if isinstance(base, DataSet):
            plan = replace(cast(Any, plan), data=options.replaced(host, base))
        elif isinstance(base, tuple) and options.data:
            plan = replace(cast(Any, plan), data=tuple(options.named(host, one) for one in options.data.split(",")))
        elif options.data or any(options.given.values()):
            raise RecipeRefused(f"The study {name} has no data set to choose.")
        plan = overridden(plan, {**fields_of(plan, ctx.args), **pairs(change or [])}, host.catalogue)
        if so_far:
            finding = running.so_far(plan, folder, host=host)
        else:
            where = _engine(host, engine, workers)
            finding = running.run_study(plan, folder, host=host, device=device, progress=told, engine=where)
    show(finding.head, finding.rows)
    screen.print(finding.says, soft_wrap=True)
    screen.print(f"Written: {folder}/report.md, finding.json, finding.csv, finding.tex", soft_wrap=True)


def _engine(host: Host, text: str | None, workers: int | None) -> Engine:
    from typing import cast

    from ddcore.errors import RecipeRefused
    from ddcore.naming import parse_parts
    from ddcore.packing import from_dict
    from ddcore.study.engine import Engine

    match parse_parts(text or ("local" if workers in (None, 1) else "loky"), "--engine"):
        case [{"name": "local"}] if workers not in (None, 1):
            raise RecipeRefused(
                f"--workers {workers}: the engine local runs one case at a time. Name loky, ray or dask."
            )
        case [{"name": name, **given}]:
            given |= {"workers": workers} if workers and name != "local" else {}
            return from_dict(cast(type[Engine], host.catalogue.find("engine", name).maker), given, host.catalogue, name)
    raise RecipeRefused(f"--engine {text}: name one engine.")
