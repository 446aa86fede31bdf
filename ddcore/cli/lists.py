"""The commands that tell and compare."""

from __future__ import annotations

import inspect
import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ddcore.cli.base import app, err, screen, sentences, show


class What(StrEnum):
    methods = "methods"
    parts = "parts"
    networks = "networks"
    data = "data"
    protocols = "protocols"
    studies = "studies"
    plugins = "plugins"


@app.command(name="list")
def list_(
    what: Annotated[What, typer.Argument(help="What to list.")],
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """What there is, which distribution brings it, and whether it can run.

    `ddcore list methods`
    """
    with sentences():
        from ddcore.evaluate import TOLD
        from ddcore.host import Host

        host = Host()
        if what is What.protocols:
            rows = [{"name": name, "says": told} for name, told in TOLD.items()]
        else:
            rows = _plugins(host) if what is What.plugins else _entries(host, what)
    if as_json:
        print(json.dumps(rows, indent=2))
    elif rows:
        show(rows[0], (row.values() for row in rows))
    else:
        screen.print(f"No {what.value} are installed.")
    if what is not What.plugins:
        for problem in host.problems:
            err.print(f"Left out: {problem}", style="yellow", markup=False, highlight=False, soft_wrap=True)


def _plugins(host) -> list[dict[str, str]]:
    usable = [
        {"name": p.name, "distribution": p.distribution, "version": p.version, "status": "can run", "remedy": ""}
        for p in host.plugins.values()
    ]
    broken = [
        {"name": p.name, "distribution": p.distribution, "version": p.version, "status": p.cause, "remedy": p.remedy}
        for p in host.problems
    ]
    return sorted(usable + broken, key=lambda row: row["name"])


def _entries(host, what: What) -> list[dict[str, str]]:
    kinds = {What.methods: {"method"}, What.networks: {"network"}, What.data: {"data"}, What.studies: {"study"}}.get(
        what
    )
    return [
        {
            **({"kind": entry.kind} if kinds is None else {}),
            "name": entry.name,
            "from": entry.distribution,
            "says": (inspect.getdoc(entry.maker) or "").partition("\n")[0].replace("``", ""),
        }
        for entry in host.catalogue
        if (entry.kind in kinds if kinds else entry.kind != "method")
    ]


@app.command()
def cite(method: Annotated[str, typer.Argument(help="A method: `ddcore list methods`.")]) -> None:
    """BibTeX of a method and of the parts it uses.

    `ddcore cite dm`
    """
    with sentences():
        from ddcore import experiment

        print("\n".join(paper.bibtex().strip() for paper in experiment.cite(method)))


@app.command()
def compare(
    folders: Annotated[list[Path], typer.Argument(help="Folders of finished experiments.")],
    into: Annotated[Path, typer.Option("--out", help="Where compare.md, compare.csv and compare.png go.")] = Path("."),
) -> None:
    """Runs side by side: a table, and accuracy against stored bytes. Runs that differ by their seed alone are one row.

    `ddcore compare runs/* --out comparison`
    """
    with sentences():
        from ddcore import report
        from ddcore.files import write_whole

        found = report.compare(folders)
        write_whole(into / "compare.md", found.markdown().encode())
        write_whole(into / "compare.csv", found.csv().encode())
        found.plot(into / "compare.png")
    show(*found.table())
    screen.print(f"Written: {into / 'compare.md'}, compare.csv, compare.png", highlight=False, soft_wrap=True)


@app.command()
def bench(
    rows: Annotated[
        list[str], typer.Argument(help="What to measure: dm dsa dc unroll evaluate, or a row that a plugin brings.")
    ],
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures there as well.")] = None,
    rounds: Annotated[int, typer.Option(help="Rounds of plain and fast in turn, at least 7.")] = 7,
    threads: Annotated[int, typer.Option(help="Threads of the arithmetic.")] = 1,
) -> None:
    """Speed as ratios against the plain path, after checking that both agree. Needs a checkout.

    `ddcore bench dm dsa dc unroll evaluate --json bench.json`
    """
    with sentences():
        from ddcore import bench as benchmark

        benchmark.main(rows, json_file, rounds, threads)
