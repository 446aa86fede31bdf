"""What the commands share: the application, its errors, its progress."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import typer
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

Told = Callable[[str, int, int], None]


@contextmanager
def sentences(resume: str | None = None) -> Iterator[None]:
    """Turn what ddcore refuses into one sentence and exit status 2; say how to go on after an interrupt."""
    from ddcore.errors import DdcoreError

    try:
        yield
    except DdcoreError as error:
        err.print(f"Error: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        err.print(f"Stopped. Go on with: ddcore resume {resume}" if resume else "Stopped.")
        raise typer.Exit(130) from None


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
            bar.update(tasks[stage], description=what, completed=done)

        yield told


class _Lines:
    def __init__(self) -> None:
        self._began = time.monotonic()
        self._said: tuple[str, int] = ("", -1)

    def __call__(self, what: str, done: int, of: int) -> None:
        stage, tenth = what.partition(", loss")[0], 10 * done // of
        if stage != self._said[0]:
            self._began = time.monotonic()
        if (stage, tenth) != self._said:
            gone = time.monotonic() - self._began
            print(
                f"{what}: {done}/{of}, {gone:.0f} s, ETA {gone * (of - done) / done:.0f} s", file=sys.stderr, flush=True
            )
            self._said = (stage, tenth)


def show(head: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    """A table on the terminal."""
    table = Table(*head)
    for row in rows:
        table.add_row(*row)
    screen.print(table)


def pairs(settings: Iterable[str]) -> dict[str, str]:
    """``PATH=VALUE`` texts as a dict. Raises BadParameter where there is no ``=``."""
    found = {}
    for text in settings:
        path, sign, value = text.partition("=")
        if not sign:
            raise typer.BadParameter(f"--set {text}: wanted PATH=VALUE, such as --set update.lr.inputs=0.5")
        found[path] = value
    return found
