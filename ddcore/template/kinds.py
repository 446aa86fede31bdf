"""The kinds of which a new plugin may have an example, and what is written for each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Example:
    """One worked example, in a file of its own."""

    noun: str
    """What its file brings."""
    check: str
    """The test of it, in which ``{noun}`` is what it is called."""
    use: str = ""
    """How it is used on the command line; ``{name}`` is its name there."""
    slot: bool = False
    """It can take part in one small run beside the others."""


def _checked(kind: str, made: str = "{noun}()") -> str:
    return f"testing.check_{kind}({made}, host=HOST)"


EXAMPLES: Mapping[str, Example] = {
    "objective": Example("RootMatch", _checked("objective"), "distill dm --set objective.name={name}", True),
    "carrier": Example(
        "Mirrored", _checked("carrier", "{noun}(ipc=2)"), "distill dm --set synthetic.name={name}", True
    ),
    "gate": Example(
        "Rationed", _checked("gate", "{noun}(), identity={noun}()"), "distill dm --set gate.name={name}", True
    ),
    "view": Example("Foggy", _checked("view"), "distill dm --set 'views=[\"{name}\"]'", True),
    "policy": Example("Lasting", _checked("policy"), "distill dm --set policy.name={name}", True),
    "network": Example("OneHidden", _checked("network"), "distill dm --networks {name}", True),
    "data": Example("Rings", _checked("data_set"), "distill dm --data {name}"),
    "measure": Example("Confidence", _checked("measure"), "distill dm --measures accuracy,{name}"),
    "protocol": Example("short", _checked("protocol", "{noun}"), "distill dm --protocol {name}"),
    "study": Example(
        "Sizes", _checked("study", "{noun}(ipcs=(1, 2), seeds=(0,), steps=2)"), "study {name} --set seeds=[0,1,2]"
    ),
    "method": Example("plain", _checked("recipe", "{noun}"), "distill {name} --ipc 1"),
    "hook": Example("ddcore_step", "", "distill dm --set plugins.PLUGIN.enough=0.01"),
}
