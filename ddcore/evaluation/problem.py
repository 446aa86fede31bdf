"""Whether what was made for one data set may be measured on another."""

from __future__ import annotations

from ddcore.errors import RecipeRefused
from ddcore.types import DataCard


def check_problem(made: DataCard, real: DataCard, by_number: bool = False) -> None:
    """Refuse to measure a set that was made for the card ``made`` on data of the card ``real``.

    Classes are compared by their names, where both have some; ``by_number`` leaves that out.

    Raises:
        RecipeRefused: their items are of other kinds or shapes, or their classes are others or numbered otherwise.
    """
    for what, mine, its in (
        ("items", f"{made.kind}s of {made.shape}", f"{real.kind}s of {real.shape}"),
        ("targets", _targets(made), _targets(real)),
    ):
        if mine != its:
            raise RecipeRefused(
                f"The set was made for {made.name}, whose {what} are {mine}; those of {real.name} are {its}. Name the"
                " data that it was made for (--data)."
            )
    mine, its = made.class_names, real.class_names
    if by_number or not mine or not its or mine == its:
        return
    c = next(c for c, (one, other) in enumerate(zip(mine, its, strict=True)) if one != other)
    alike = "in another order" if sorted(mine) == sorted(its) else "by other names"
    raise RecipeRefused(
        f"{real.name} has its classes {alike}: class {c} is {its[c]!r} there and {mine[c]!r} in the set, so scores"
        " would mean nothing. Number them as the set does; or, where they are the same classes all the same, say"
        " --by-number (by_number=True)."
    )


def _targets(card: DataCard) -> str:
    return f"{card.classes} classes" if card.values is None else f"{card.values} values per item"
