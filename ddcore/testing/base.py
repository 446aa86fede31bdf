"""A check: the rules of one kind of part, as sentences or as an assertion."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from functools import update_wrapper
from pathlib import Path
from typing import Generic, ParamSpec

from ddcore.errors import DdcoreError, RecipeRefused

P = ParamSpec("P")
CORE = Path(__file__).resolve().parents[1]


class Untried(RecipeRefused):
    """No small run could be made of a part as it is; the message says what its author may give."""


class Check(Generic[P]):
    """The rules of one kind of part, as a generator of sentences: what a part breaks, each with the fix.

    Called, it raises AssertionError with all of them, which is what a test wants.

    Raises:
        Untried: no small run could be made.
    """

    def __init__(self, rules: Callable[P, Iterator[str]]) -> None:
        self._rules = rules
        update_wrapper(self, rules)

    def faults(self, *args: P.args, **kwargs: P.kwargs) -> list[str]:
        """What breaks the rules, in sentences; what the part itself raises is one of them."""
        return self._tried(*args, **kwargs)[0]

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> None:
        __tracebackhide__ = True
        found, error = self._tried(*args, **kwargs)
        if found:
            raise AssertionError("\n".join(found)) from error

    def _tried(self, *args: P.args, **kwargs: P.kwargs) -> tuple[list[str], Exception | None]:
        found: list[str] = []
        try:
            found.extend(self._rules(*args, **kwargs))
        except Untried:
            raise
        except Exception as error:  # an author's code: anything may come out of it
            return [*found, in_a_sentence(error)], error
        return found, None


def in_a_sentence(error: Exception) -> str:
    """What ``error`` says; where it is none of ddcore's own, also its kind and the author's line."""
    if isinstance(error, DdcoreError):
        return str(error)
    said = " ".join(str(error).split()).rstrip(".") or "no further message"
    lines = [frame for frame in traceback.extract_tb(error.__traceback__) if CORE not in Path(frame.filename).parents]
    own = [frame for frame in lines if "site-packages" not in frame.filename and "/lib/python" not in frame.filename]
    where = f" at {own[-1].filename}:{own[-1].lineno}" if own else ""
    return f"{type(error).__name__}{where}: {said}."
