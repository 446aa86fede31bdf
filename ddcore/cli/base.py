"""What the commands share: the application, its errors, its progress."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import typer
from click import ClickException, Context
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
from typer.core import TyperGroup

screen = Console(markup=False, emoji=False, highlight=False)
err = Console(stderr=True, markup=False, emoji=False, highlight=False)

UNKNOWN = "This error is unexpected: `ddcore --debug ...` or DDCORE_DEBUG=1 shows where it comes from."
BARS = 8
"""Stages that are shown at a time, those of which something was told last."""
Told = Callable[[str, int, int], None]


class Terminated(KeyboardInterrupt):
    """The process was asked to end by SIGTERM."""


class Commands(TyperGroup):
    """The commands; whatever one of them raises becomes a sentence and an exit status."""

    def invoke(self, ctx: Context) -> Any:
        with _terminable(), sentences(ctx.params["debug"]):
            answer = super().invoke(ctx)
            sys.stdout.flush()
            return answer


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Distil data sets: turn a large real set into a tiny synthetic one on which networks learn almost as well.\n\n"
    "Begin with `ddcore distill dm --data digits --ipc 1`.",
)


def by_one_process(command: str) -> None:
    """Raises RecipeRefused where torchrun has started several, each of which would do all of ``command``."""
    from ddcore.errors import RecipeRefused

    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise RecipeRefused(
            f"`{command}` is the work of one process: start it without torchrun, which is for distilling alone."
        )


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM ends the command as Ctrl-C does."""

    def terminate(number: int, frame: FrameType | None) -> None:
        raise Terminated

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def sentences(debug: bool = False) -> Iterator[None]:
    """Turn what is raised into one sentence and an exit status, under ``debug`` after its trace.

    2 for what ddcore or the file system refuses, 130 and 143 for Ctrl-C and SIGTERM, 1 for anything else.
    """
    from ddcore.errors import DdcoreError

    try:
        yield
    except (ClickException, typer.Exit, typer.Abort):
        raise
    except BrokenPipeError:  # the reader of the output has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(1) from None
    except (Exception, KeyboardInterrupt) as error:
        if debug:
            traceback.print_exc()
        notes = getattr(error, "__notes__", ())
        if isinstance(error, KeyboardInterrupt):
            err.print(" ".join(["Stopped.", *notes]), soft_wrap=True)
            raise typer.Exit(143 if isinstance(error, Terminated) else 130) from None
        if isinstance(error, DdcoreError):
            said, status = str(error), 2
        elif isinstance(error, OSError) and error.filename is not None:
            said, status = f"{error.filename} cannot be used: {error.strerror or error}.", 2
        else:
            text = " ".join(str(error).split()).rstrip(".") or "no further message"
            said, status = f"{type(error).__name__}: {text}. {UNKNOWN}", 1
        err.print(" ".join([f"Error: {said}", *notes]), style="red", soft_wrap=True)
        raise typer.Exit(status) from None


def program(main: Callable[[], None]) -> None:
    """Run ``main`` as a program of its own: what it raises becomes a sentence and an exit status, as of `ddcore`.

    DDCORE_DEBUG=1 shows where an error comes from, before the sentence.

    Raises:
        SystemExit: it did not come to its end: 2 for what ddcore or the file system refuses, 130 and 143 for Ctrl-C and
            SIGTERM, 1 for anything else.
    """
    try:
        with _terminable(), sentences(os.environ.get("DDCORE_DEBUG", "0") not in ("", "0")):
            main()
    except typer.Exit as ended:
        raise SystemExit(ended.exit_code) from None


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f}/s" if task.speed else "-/s")


@contextmanager
def progress() -> Iterator[Told]:
    """A bar on a terminal; elsewhere a plain line at every tenth of the way."""
    if not err.is_terminal:
        yield _Lines()
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), _Rate())
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=err) as bar:
        tasks = {}

        def told(what: str, done: int, of: int) -> None:
            stage = what.partition(", loss")[0]
            tasks[stage] = task = tasks.pop(stage) if stage in tasks else bar.add_task(what, total=of)
            for old in list(tasks.values())[:-BARS]:
                bar.update(old, visible=False)
            bar.update(task, description=what, completed=done, visible=True)

        yield told


class _Lines:
    """The first and the last step of each stage; between them every tenth, once a second at most."""

    def __init__(self) -> None:
        self._stages: dict[str, tuple[float, int, int]] = {}
        """Of each that has not ended: when it began, at which step, and the tenth that was shown last."""
        self._last = time.monotonic()

    def __call__(self, what: str, done: int, of: int) -> None:
        stage, tenth, now = what.partition(", loss")[0], 10 * done // of, time.monotonic()
        new = stage not in self._stages
        began, first, shown = self._stages.setdefault(stage, (now, done, tenth))
        if new or done == of or (tenth != shown and now - self._last >= 1):
            self._last, self._stages[stage] = now, (began, first, tenth)
            gone, rate = now - began, (done - first) / (now - began) if done > first and now > began else 0.0
            pace = f", {rate:.1f}/s, {gone:.0f} s, ETA {(of - done) / rate:.0f} s" if rate else ""
            print(f"{what}: {done}/{of}{pace}", file=sys.stderr, flush=True)
        if done == of:
            del self._stages[stage]


def say(sentences: Iterable[str]) -> None:
    """Each on a line of its own, however wide the terminal."""
    for sentence in sentences:
        screen.print(sentence, soft_wrap=True)


def warn(sentences: Iterable[str]) -> None:
    """What whoever is shown a set must read, each on a line of its own."""
    for sentence in sentences:
        screen.print(f"Warning: {sentence}", style="yellow", soft_wrap=True)


SHORT = 24
"""Characters of an entry that is kept on one line."""
LONG = 60
"""The same, of what a row is called."""


def show(head: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    """A table on the terminal. One that has only short entries keeps its width even where the terminal is narrower."""
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
            raise RecipeRefused(f"--set {text}: write PATH=VALUE, such as --set update.lr.inputs=0.5.")
        found[path] = value
    return found
