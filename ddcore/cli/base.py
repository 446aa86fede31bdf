"""What the commands share: the application, its errors, its progress."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Distil data sets: turn a large real set into a tiny synthetic one on which networks learn almost as well.\n\n"
    "Begin with `ddcore distill dm --data digits --ipc 1`.",
)
screen = Console()
err = Console(stderr=True)

BARS = 8
"""Stages that are shown at a time, the latest."""
Told = Callable[[str, int, int], None]


@contextmanager
def sentences(resume: Path | None = None, again: bool = False) -> Iterator[None]:
    """Turn what ddcore or the file system refuses into one sentence and exit status 2.

    After an interrupt, say how to go on with the experiment in ``resume``, where it has begun, or that the same command
    goes on, where it does so ``again``.
    """
    from ddcore.errors import DdcoreError

    try:
        yield
    except DdcoreError as error:
        _refuse(" ".join([str(error), *getattr(error, "__notes__", ())]))
    except OSError as error:
        notes = "".join(f" {note}" for note in getattr(error, "__notes__", ()))
        _refuse(f"{error.filename or 'A file'} cannot be used: {error.strerror or error}.{notes}")
    except KeyboardInterrupt:
        begun = resume is not None and (resume / "recipe.toml").exists()
        how = f" Go on with: ddcore resume {resume}" if begun else " The same command goes on." if again else ""
        err.print(f"Stopped.{how}", markup=False, soft_wrap=True)
        raise typer.Exit(130) from None


def _refuse(sentence: str) -> NoReturn:
    err.print(f"Error: {sentence}", style="red", markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(2) from None


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f}/s" if task.speed else "-/s")


@contextmanager
def progress() -> Iterator[Told]:
    """A bar on a terminal; elsewhere a plain line at every tenth of the way."""
    if not err.is_terminal:
        yield _Lines()
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate())
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=err) as bar:
        tasks = {}

        def told(what: str, done: int, of: int) -> None:
            stage = what.partition(", loss")[0]
            if stage not in tasks:
                tasks[stage] = bar.add_task(what, total=of)
                for old in list(tasks.values())[:-BARS]:
                    bar.update(old, visible=False)
            bar.update(tasks[stage], description=what, completed=done)

        yield told


class _Lines:
    """The first and the last step of each stage; between them every tenth, once a second at most."""

    def __init__(self) -> None:
        self._stage, self._tenth = "", 0
        self._began = self._last = time.monotonic()

    def __call__(self, what: str, done: int, of: int) -> None:
        stage, tenth, now = what.partition(", loss")[0], 10 * done // of, time.monotonic()
        if new := stage != self._stage:
            self._stage, self._began = stage, now
        if new or done == of or (tenth != self._tenth and now - self._last >= 1):
            self._tenth, self._last, gone = tenth, now, now - self._began
            rate = f"{done / gone:.1f}/s, " if gone else ""
            left = gone * (of - done) / done
            print(f"{what}: {done}/{of}, {rate}{gone:.0f} s, ETA {left:.0f} s", file=sys.stderr, flush=True)


SHORT = 24
"""Characters of an entry that is kept on one line."""
LONG = 60
"""The same, of what a row is called."""


def show(head: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    """A table on the terminal; one of short entries alone keeps its width where the terminal is narrower."""
    rows = [list(row) for row in rows]
    told = [name.replace(" ±", "\n±").replace(" (", "\n(") for name in head]
    longest = [max((len(row[i]) for row in rows), default=0) for i in range(len(told))]
    natural = [max(size, *map(len, name.split("\n"))) + 3 for size, name in zip(longest, told, strict=True)]
    short = max(longest[1:], default=0) <= SHORT and longest[0] <= LONG
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name, size in zip(told, longest, strict=True):
        table.add_column(name, overflow="fold", no_wrap=short or size <= 12)
    for row in rows:
        table.add_row(*row)
    wide = short and sum(natural) > screen.width
    (Console(width=sum(natural)) if wide else screen).print(table)


def pairs(settings: Iterable[str]) -> dict[str, str]:
    """``PATH=VALUE`` texts as a dict. Raises RecipeRefused where there is no ``=``."""
    from ddcore.errors import RecipeRefused

    found = {}
    for text in settings:
        path, sign, value = text.partition("=")
        if not sign:
            raise RecipeRefused(f"--set {text}: wanted PATH=VALUE, such as --set update.lr.inputs=0.5.")
        found[path] = value
    return found
