"""The command line: thin over what Python offers."""

import os
from typing import Annotated

import typer

from ddcore.cli import experiments as experiments
from ddcore.cli import lists as lists
from ddcore.cli.base import app as app


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
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and ctx.invoked_subcommand not in SHARED:
        from ddcore.errors import RecipeRefused

        raise RecipeRefused(
            f"`ddcore {ctx.invoked_subcommand}` is the work of one process: start it without torchrun, which is for"
            f" {', '.join(SHARED)}."
        )
