"""Every error says what was wrong, where, and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


class DdcoreError(Exception):
    """Base of all errors that ddcore raises on purpose: the message is a sentence for the user."""


class UnknownName(DdcoreError):
    """A name that nothing answers to; the message lists the near ones."""

    def __init__(self, what: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        near = get_close_matches(name, names, n=3, cutoff=0.5)
        hint = f"Did you mean {' or '.join(near)}?" if near else f"Known: {', '.join(names) or 'none'}."
        super().__init__(f"There is no {what} named {name!r}. {hint}")


class MissingPlugin(UnknownName):
    """A plugin that is named and not installed; the message says what to install."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        super().__init__("plugin installed", name, known)
        self.args = (f"{self.args[0]} {installing(name)}",)


def installing(plugin: str) -> str:
    """What to install for ``plugin``, whose distribution is called as all of them are."""
    return f"What brings {plugin} is installed by `pip install ddcore-{plugin.replace('_', '-')}`."


class RecipeRefused(DdcoreError):
    """A recipe that cannot or must not run, refused before anything is built or read."""


class BadData(DdcoreError):
    """Real data that cannot be used: NaN, an empty class, a label out of range, a wrong shape."""


class BadArtefact(DdcoreError):
    """A file that is not a distilled set, is truncated, or holds what it must not hold."""


class BadCheckpoint(DdcoreError):
    """A checkpoint that is damaged or belongs to another recipe or other data."""


class FolderHeld(DdcoreError):
    """A folder that another process is at work in."""


class LossDiverged(DdcoreError):
    """The loss is no longer a finite number."""


class PluginBroken(DdcoreError):
    """A plugin that was named, or met under the strict switch, cannot be used."""


class CasesFailed(DdcoreError):
    """Some cases of a study did not come to their end; the others are kept."""


class RankLost(DdcoreError):
    """Another of the processes that share a run has ended."""


class StopRun(Exception):
    """Raised by a plugin or a gate to end a run in good order; what was distilled so far is kept."""


def fields_at_fault(error: ValidationError) -> str:
    """The first three fields that ``error`` names, and what is wrong with each."""
    return "; ".join(f"{'.'.join(map(str, e['loc'])) or 'it'}: {e['msg']}" for e in error.errors()[:3])
