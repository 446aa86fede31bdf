"""The commands for plugins: list, check, trace, new."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from ddcore.cli.base import app, err, say, screen, show

plugins = typer.Typer(no_args_is_help=True, help="List, check and trace plugins, and begin a new one.")
app.add_typer(plugins, name="plugins")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@plugins.command(name="list")
def list_(as_json: AsJson = False) -> None:
    """List the plugins that are installed: what they bring, where they step in, and whether they can be used.

    `ddcore plugins list`
    """
    from ddcore.host import Host

    rows = _rows(Host())
    if as_json:
        print(json.dumps(rows, indent=2))
    elif rows:
        columns = ("name", "distribution", "version", "hooks", "parts", "status", "remedy")
        show(columns, ([_cell(row[column]) for column in columns] for row in rows))
    else:
        screen.print("No plugins are installed.")


def _cell(value: Any) -> str:
    return str(len(value)) if isinstance(value, dict) else ", ".join(value) if isinstance(value, list) else str(value)


def _rows(host: Any) -> list[dict[str, Any]]:
    from ddcore.catalogue import name_of

    found = []
    for plugin in host.plugins.values():
        parts: dict[str, list[str]] = {}
        for maker in plugin.brings:
            parts.setdefault(getattr(maker, "kind", ""), []).append(name_of(maker))
        lacking = " and ".join(plugin.lacking)
        found.append(
            {
                **{"name": plugin.name, "distribution": plugin.distribution, "version": plugin.version},
                **{"api": getattr(plugin.module, "ddcore_api", ""), "hooks": plugin.hooks, "parts": parts},
                "needs": sorted({need for maker in plugin.brings for need in getattr(maker, "needs_plugins", ())}),
                "status": f"can run, but lacks {lacking}" if lacking else "can run",
                "remedy": f"pip install '{lacking}'" if lacking else "",
            }
        )
    for problem in host.problems:
        found.append(
            {
                **{"name": problem.name, "distribution": problem.distribution, "version": problem.version},
                **{"api": "", "hooks": [], "parts": {}, "needs": [], "status": problem.cause, "remedy": problem.remedy},
            }
        )
    return sorted(found, key=lambda row: row["name"])


@plugins.command()
def check(
    what: Annotated[str, typer.Argument(metavar="PATH|NAME", help="The folder of a plugin, or an installed plugin.")],
) -> None:
    """Hold a plugin to the rules: its names, its requirements, its hooks, and each part in small runs.

    A folder need not be installed. The exit status is 0 where all is well, and 1 where something is told.

    `ddcore plugins check .`
    """
    from ddcore.testing.distribution import inspect_folder, inspect_installed

    folder = Path(what)
    found = inspect_folder(folder) if folder.is_dir() else inspect_installed(what)
    for part in found.untried:
        screen.print(f"Not tried: {part}", style="yellow", soft_wrap=True)
    for fault in found.faults:
        err.print(fault, soft_wrap=True)
    if found.faults:
        count = len(found.faults)
        err.print(f"{count} {'thing' if count == 1 else 'things'} to mend in {what}.", style="red")
        raise typer.Exit(1)
    screen.print(f"{what} keeps the rules.", soft_wrap=True)


@plugins.command()
def trace(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run.")], as_json: AsJson = False
) -> None:
    """Show what each plugin did in RUN: hook, calls, its own seconds, and what it asked of the data.

    `ddcore plugins trace runs/digits-dm-ipc1-0`
    """
    from dataclasses import asdict

    from ddcore.errors import BadCheckpoint
    from ddcore.experiment.folder import Folder
    from ddcore.trace import read_trace

    path = Folder(folder).trace
    if not path.exists():
        raise BadCheckpoint(f"{folder} holds no trace: there is no {path.name}, which a run writes at its checkpoints.")
    calls = read_trace(path)
    if as_json:
        print(json.dumps([asdict(each) for each in calls], indent=2))
        return
    show(
        ("hook", "plugin", "calls", "seconds", "asked"),
        (
            (
                c.hook,
                c.plugin,
                str(c.calls),
                f"{c.seconds:.3f}",
                ", ".join(f"{n} {k}" for k, n in c.asked.items()) or "-",
            )
            for c in calls
        ),
    )


@plugins.command()
def new(
    name: Annotated[str, typer.Argument(help="What the plugin is called, without ddcore: fourier, my_gate.")],
    kind: Annotated[
        str,
        typer.Option(
            help="Kinds of which an example is written, with commas between: objective, carrier, gate, view, policy,"
            " network, data, measure, protocol, study, method, hook."
        ),
    ] = "objective",
    out: Annotated[Path, typer.Option(help="The folder in which the new one is made.")] = Path("."),
) -> None:
    """Write a new plugin, the folder ddcore-NAME: a distribution with a worked example of each kind, and its tests.

    `ddcore plugins new fourier --kind objective,measure`
    """
    from ddcore.template.new import new_plugin

    folder = new_plugin(name, [word.strip() for word in kind.split(",")], out)
    say(
        [
            f"Written: {folder}",
            f"Next: pip install -e '{folder}[test]' && pytest {folder} && ddcore plugins check {folder}",
        ]
    )
