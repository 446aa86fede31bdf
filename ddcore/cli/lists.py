"""The commands that list, cite, compare and time."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterable
from dataclasses import asdict, is_dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, cast

import typer

from ddcore.cli.base import app, err, pairs, progress, say, screen, show
from ddcore.cli.options import Device, Options, Place, routed, spelled

if TYPE_CHECKING:
    from ddcore.catalogue import Entry


class What(StrEnum):
    methods = "methods"
    parts = "parts"
    networks = "networks"
    data = "data"
    protocols = "protocols"
    studies = "studies"
    zoo = "zoo"


@app.command(name="list")
def list_(
    what: Annotated[What, typer.Argument(help="What to list.")],
    name: Annotated[
        str | None,
        typer.Argument(
            help="Show all about this one and what can be set; of a file or folder of data, how it is read."
        ),
    ] = None,
    family: Annotated[
        str | None, typer.Option(help="Only methods of this family (gradient, trajectory ...), or parts of this kind.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List WHAT is installed (methods, parts, networks, data, protocols, studies or the zoo), where it comes from, and
    which plugins it needs besides. With a NAME, show all about that one.

    `ddcore list methods`, `ddcore list methods dm`, `ddcore list methods --family gradient`, `ddcore list parts pixels`
    """
    from ddcore.host import Host

    host = Host()
    if what is What.zoo:
        _zoo(name, as_json)
        return
    if name is not None:
        path = what is What.data and Path(name).exists() and name not in {e.name for e in _chosen(host, what)}
        (_read(host, name, as_json) if path else _one(host, what, name, as_json))
        return
    rows = _entries(host, what)
    if family is not None:
        rows = _of_family(rows, what, family)
    if as_json:
        print(json.dumps(rows, indent=2))
    elif rows:
        show(rows[0], (row.values() for row in rows))
    else:
        screen.print(f"No {what.value} are installed.")
    for problem in host.problems:
        err.print(f"Left out: {problem}", style="yellow", soft_wrap=True)


def _zoo(name: str | None, as_json: bool) -> None:
    """Print the sets that come with ddcore, or the card of the one of that ``name``."""
    from ddcore.experiment.reading import ZOO, file_at, zoo

    if name is not None:
        print(file_at(ZOO + name.removeprefix(ZOO)).with_suffix(".md").read_text())
        return
    from ddcore.artefact import DistilledSet

    rows = []
    for called, path in zoo().items():
        found = DistilledSet.load(path)
        size = path.stat().st_size
        rows.append(
            {
                **{"name": ZOO + called, "method": found.method, "data": found.data.name, "items": str(len(found))},
                **{"bits": str(found.bits or 32), "bytes": str(found.nbytes), "file": str(size)},
            }
        )
    if as_json:
        print(json.dumps(rows, indent=2))
    else:
        show(rows[0], (row.values() for row in rows))


def _entries(host, what: What) -> list[dict[str, str]]:
    rows = [
        {
            **({"kind": entry.kind} if what is What.parts else {}),
            **({"family": getattr(entry.maker, "family", "")} if what is What.methods else {}),
            "name": entry.name,
            "from": _origin(entry),
            "says": _first_sentence(inspect.getdoc(entry.maker) or ""),
        }
        for entry in _chosen(host, what)
    ]
    return sorted(rows, key=lambda row: row.get("family", ""))


def _origin(entry: Entry) -> str:
    """The distribution that brings it, and the plugins that it needs besides."""
    return " with ".join([entry.distribution, *getattr(entry.maker, "needs_plugins", ())])


def _first_sentence(text: str) -> str:
    paragraph = " ".join(text.partition("\n\n")[0].split()).replace("``", "")
    return re.split(r"(?<=[.!?]) (?=[A-Z])", paragraph)[0]


def _of_family(rows: list[dict[str, str]], what: What, family: str) -> list[dict[str, str]]:
    from ddcore.errors import RecipeRefused, UnknownName

    column = {What.methods: "family", What.parts: "kind"}.get(what)
    if column is None:
        raise RecipeRefused(f"--family is for methods and parts: {what.value} have none.")
    if found := [row for row in rows if row[column] == family]:
        return found
    raise UnknownName(f"{column} of {what.value}", family, {row[column] for row in rows})


def _chosen(host, what: What) -> list[Entry]:
    from ddcore.experiment.reading import presets

    kinds = {What.methods: "method", What.networks: "network", What.data: "data", What.studies: "study"}
    if what is What.protocols:
        return presets(host)
    if what in kinds:
        return host.catalogue.of(kinds[what])
    return [entry for entry in host.catalogue if isinstance(entry.maker, type)]


def _one(host, what: What, name: str, as_json: bool) -> None:
    """Print the docstring of ``name``, and its fields, or a method's recipe, with their defaults."""
    entries = _chosen(host, what)
    found = [e for e in entries if e.name == name] or _unknown(what, name, (e.name for e in entries))
    told = [{"kind": e.kind, "name": e.name, "from": _origin(e), **_all_of(e)} for e in found]
    if as_json:
        print(json.dumps(told, indent=2))
        return
    for one in told:
        text = f"{one['kind']} {one['name']}, from {one['from']}\n\n{one['says']}\n\n{one.get('recipe', '')}"
        screen.print(text, soft_wrap=True)
        if fields := one.get("fields"):
            show(fields[0], (row.values() for row in fields))


def _read(host, path: str, as_json: bool) -> None:
    """Print how the file or folder at ``path`` is read."""
    from ddcore.experiment.reading import data_set

    notes = data_set(host.catalogue, path).load().notes
    if as_json:
        print(json.dumps({"name": path, "notes": notes}, indent=2))
        return
    say(notes)


def _all_of(entry: Entry) -> dict[str, Any]:
    from ddcore.packing import field_cards, to_toml

    says = {"says": inspect.getdoc(entry.maker) or ""}
    if not isinstance(entry.maker, type):
        return says | {"recipe": to_toml(entry.maker())}
    found = field_cards(cast(Any, entry.maker)) if is_dataclass(cast(object, entry.maker)) else []
    return says | {"fields": [asdict(card) for card in found]}


def _unknown(what: What, name: str, names: Iterable[str]) -> NoReturn:
    from ddcore.errors import UnknownName

    raise UnknownName("study" if what is What.studies else what.value.removesuffix("s"), name, names)


@app.command()
def cite(method: Annotated[str, typer.Argument(help="A method: `ddcore list methods`.")]) -> None:
    """Print the BibTeX entries of a METHOD (`ddcore list methods`) and of the parts it uses.

    `ddcore cite dm`
    """
    from ddcore.experiment.reading import cite as papers

    print("\n".join(paper.bibtex().strip() for paper in papers(method)))


@app.command()
def compare(
    folders: Annotated[list[Path], typer.Argument(help="Folders of finished experiments.")],
    into: Annotated[Path, typer.Option("--out", help="The folder for compare.md, compare.csv and compare.png.")] = Path(
        "."
    ),
) -> None:
    """Compare the runs in FOLDERS: a table, and a plot of the scores against stored bytes.

    Runs that differ only in their seed share a row.

    `ddcore compare runs/* --out comparison`
    """
    from ddcore.files import held, write_whole
    from ddcore.report.comparison import compare as compared

    found = compared(folders)
    with held(into):
        write_whole(into / "compare.md", found.markdown().encode())
        write_whole(into / "compare.csv", found.csv().encode())
        found.plot(into / "compare.png")
    show(*found.table())
    say(found.warnings())
    screen.print(f"Written: {into / 'compare.md'}, compare.csv, compare.png", soft_wrap=True)


@app.command()
@spelled
def card(
    place: Place,
    options: Options,
    device: Device = "cpu",
    into: Annotated[
        Path | None, typer.Option("--out", help="The folder for the card's files; by default NAME-card beside the set.")
    ] = None,
) -> None:
    """The fair card of a distilled set: hard labels, soft labels and a teacher on the fly, each beside random, el2n and
    herding at the same stored bytes and beside whole; label-robust and augmentation-robust scores.

    `ddcore card runs/digits-dm-ipc1-0 --networks convnet,mlp`

    `ddcore card dm8.safetensors --data mnist --root ~/data`
    """
    from ddcore.errors import RecipeRefused

    with progress() as told:
        from ddcore.experiment.fair import fair_card
        from ddcore.experiment.folder import Folder
        from ddcore.experiment.plan import Settings
        from ddcore.experiment.reading import address_stem, data_set_of, distilled_at
        from ddcore.files import held
        from ddcore.host import Host

        host = Host()
        distilled = distilled_at(place)
        changes, of_settings = routed(pairs(options.change or []))
        if changes:
            raise RecipeRefused(f"--set {', '.join(changes)}: the set is already made, so its recipe cannot change.")
        if options.data:
            settings = Settings(options.named(host, options.data)).suited(host.catalogue)
        elif place.is_dir():
            settings = Folder(place).experiment(host.catalogue).settings
        else:
            settings = Settings(data_set_of(distilled, host.catalogue, **options.given)).suited(host.catalogue)
        settings = options.laid_over(host, settings, of_settings)
        data = settings.load(distilled.facts.get("seed", 0))
        found = fair_card(distilled, data, settings.protocol, host=host, device=device, progress=told)
        folder = into or (place / "card" if place.is_dir() else Path(f"{address_stem(place) or place.stem}-card"))
        folder.mkdir(parents=True, exist_ok=True)
        with held(folder):
            found.write(folder)
    screen.print(found.markdown(), soft_wrap=True)
    screen.print(f"Written: {folder / 'card.md'}, card.html, card.json, card.png", soft_wrap=True)


@app.command()
def bench(
    rows: Annotated[
        list[str],
        typer.Argument(
            help="What to measure: dm compiled dsa dc sre2l unroll evaluate, or a row that a plugin brings."
        ),
    ],
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Also write the figures, and this command, to a file.")
    ] = None,
    rounds: Annotated[
        int, typer.Option(min=7, help="How often the plain and the fast path are timed in turn, at least 7.")
    ] = 7,
    threads: Annotated[int, typer.Option(min=1, help="Threads to compute on.")] = 1,
    device: Device = "cpu",
) -> None:
    """Measure speed as a ratio to the plain path, after checking that both give the same result.

    ROWS are what to measure: dm compiled dsa dc sre2l unroll evaluate, or a row that a plugin brings.

    `ddcore bench dm dsa dc unroll evaluate --json bench.json`
    """
    from ddcore import bench as benchmark

    benchmark.main(rows, json_file, rounds, threads, device)
