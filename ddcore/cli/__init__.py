"""The command line: thin over what Python offers."""

from typing import Annotated

import typer

from ddcore.cli import exchange as exchange
from ddcore.cli import experiments as experiments
from ddcore.cli import lists as lists
from ddcore.cli import plugins as plugins
from ddcore.cli.base import app as app
from ddcore.cli.base import by_one_process


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"ddcore {version('ddcore')}")
        raise typer.Exit


SHARED = ("distill", "run", "resume")
"""The commands whose work several processes share."""


@app.callback()
def main(
    ctx: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", envvar="DDCORE_DEBUG", help="Show where an error comes from.")
    ] = False,
) -> None:
    if ctx.invoked_subcommand not in SHARED:
        by_one_process(f"ddcore {ctx.invoked_subcommand}")
