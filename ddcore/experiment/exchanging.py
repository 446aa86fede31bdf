"""Sets for others, and sets of others."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, cast, get_args

import torch
from torch import Tensor

from ddcore.artefact import DistilledSet
from ddcore.carriers.tiles import cut, enlarged
from ddcore.catalogue import Catalogue
from ddcore.composition import Recipe
from ddcore.data import RealData
from ddcore.errors import BadArtefact, RecipeRefused
from ddcore.exchange.base import Format, shares
from ddcore.experiment.evaluating import fitted_to
from ddcore.files import PARTIAL, flush, naming
from ddcore.host import Host
from ddcore.levels import Bits, stored_bytes
from ddcore.losses import LossName
from ddcore.naming import part_named
from ddcore.preprocess import Preprocess
from ddcore.store import plain
from ddcore.tensors import LabelledTensors
from ddcore.types import DataCard

Scores = Literal["probabilities", "logits", "vectors"]
"""What rows of label values are: shares of the classes, what softmax makes such of, or what outputs are to equal."""
NOTES = "README.md"


@dataclass(frozen=True)
class Exported:
    """What must be known of a set that was written for others; its notes hold it too."""

    notes: Path
    said: tuple[str, ...]
    """How it lies there."""
    warnings: tuple[str, ...]
    """What is left out, and the set's own warnings."""


def export(
    distilled: DistilledSet,
    out: str | os.PathLike[str],
    format: Format | str = "tensors",
    *,
    host: Host | None = None,
) -> Exported:
    """Write ``distilled`` at ``out``, where nothing may be, in a ``format`` that others read (``ddcore list parts``).

    Beside it, or in it where it is a folder, stand notes: what was left out, and the warnings of the set.

    Raises:
        BadArtefact: the format has no way to write such items. RecipeRefused: something is at ``out``.
    """
    host, out = host or Host(), Path(out)
    plan = format if isinstance(format, Format) else part_named(Format, format, host.catalogue, "--format")
    beside = out.with_name(f"{out.name}.md")
    for path in (out, beside):
        if path.exists():
            raise RecipeRefused(f"{path} is there already. Name another place, or remove it.")
    with naming(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.", suffix=PARTIAL) as folder:
            made = Path(folder, out.name)
            said = plan.write(distilled, made)
            lost = [*_left_out(distilled, plan), *distilled.warnings]
            notes = made / NOTES if made.is_dir() else Path(folder, beside.name)
            notes.write_text(_notes(distilled, plan, said, lost), "utf-8")
            for file in (path for path in Path(folder).rglob("*") if path.is_file()):
                flush(file)
            for path in Path(folder).iterdir():
                path.rename(out.parent / path.name)
    return Exported(out / NOTES if out.is_dir() else beside, tuple(said), tuple(lost))


def coarsened(distilled: DistilledSet, bits: int, *, host: Host | None = None) -> DistilledSet:
    """``distilled`` in ``bits`` per number, 16, 8 or 4, with the inputs that its coarse latent tensors decode to.

    Raises:
        RecipeRefused: there are no such bits, or what decodes its latent tensors is not known.
        BadArtefact: its numbers are stored in fewer.
    """
    if bits not in get_args(Bits):
        raise RecipeRefused(f"A set is stored in {', '.join(map(str, get_args(Bits)))} bits per number, not in {bits}.")
    found = distilled.at(cast(Bits, bits))
    beside = distilled.nbytes - sum(stored_bytes(value, distilled.bits) for value in distilled.latent.values())
    if not distilled.latent or beside >= stored_bytes(distilled.inputs, distilled.bits):  # stored as they are
        return found
    recipe = Recipe.from_toml(distilled.recipe, (host or Host()).catalogue)
    carrier = recipe.synthetic.ready(distilled.data)
    carrier.restore(found.latent)
    with torch.no_grad():
        inputs = plain(carrier(torch.arange(len(distilled))))
    return replace(found, tensors=replace(found.tensors, inputs=inputs))


def _left_out(distilled: DistilledSet, plan: Format) -> Iterator[str]:
    """What of ``distilled`` has no place in the format, in sentences."""
    if distilled.latent:
        yield (
            f"What its inputs are made from ({', '.join(distilled.latent)}) is left out, with any links between them:"
            f" the inputs stand there by themselves, and {distilled.nbytes} bytes count what is left out."
        )
    if distilled.teaching:
        yield "What it teaches networks by is left out: they learn from its labels alone."
    if distilled.order is not None:
        yield f"The order of its {len(distilled.order)} training steps, for which it was made, is left out."
    if distilled.step_sizes is not None and "step_sizes" not in plan.holds:
        yield f"Its step sizes ({len(distilled.step_sizes)}), at which networks were to be trained, are left out."
    if distilled.loss == "squared":
        yield "Its labels are values, made for half the squared distance and not for cross-entropy."
    elif distilled.targets.ndim == 2 and not shares(distilled.targets):
        yield "Its labels are shares of the classes that do not sum to 1."


def _notes(distilled: DistilledSet, plan: Format, said: list[str], lost: list[str]) -> str:
    card, state = distilled.data, distilled.preprocess_state
    numbers = {name: value.tolist() for name, value in state.items() if value.numel() <= 16}
    lines = [
        f"# {distilled.method}, {card.name}",
        "",
        f"{len(distilled)} items {card.shape}, {card.classes} classes, in the format {plan.part_name()}, by ddcore"
        f" {version('ddcore')}.",
        f"Networks see inputs through {distilled.preprocess}{f' {numbers}' if numbers else ''}: tensors here have been"
        " through it, pictures have not.",
        *said,
        *(f"**Warning:** {sentence}" for sentence in lost),
        "",
        *("```toml", distilled.recipe.strip(), "```"),
    ]
    return "\n".join(lines) + "\n"


def read_released(
    path: str | os.PathLike[str],
    data: RealData,
    *,
    format: Format | str | None = None,
    preprocess: Preprocess | str | None = None,
    raw: bool | None = None,
    scores: Scores | None = None,
    factor: int = 1,
    host: Host | None = None,
) -> DistilledSet:
    """The set that others released in files at ``path``, made from ``data``; runs no code of the files'.

    ``format`` follows from the files where it is None. ``preprocess`` is what networks take items after, by default
    standardised; the files' items have been through it, unless they are ``raw`` pixels in [0, 1]. Where neither is
    said, items that all lie in [0, 1] are raw. ``scores`` says what rows of label values are; None where they are
    plainly probabilities or their logarithms. Images of IDC and NCFM are cut into ``factor``^2 tiles, each an item.

    The set's ``facts["warnings"]`` tell what the files were taken for.

    Raises:
        BadArtefact, BadData: the files are damaged, of no format that is read, or not made from such data.
        RecipeRefused: a preprocessing that reads files.
    """
    host, path, card = host or Host(), Path(path), data.card
    plan = preprocess or host.recipe("random", kind=card.kind).preprocess
    if isinstance(plan, str):
        plan = part_named(Preprocess, plan, host.catalogue, "--preprocess")
    for field in plan.files("preprocess"):
        raise RecipeRefused(f"{field} names a file, which a set that stands alone may not: leave it out.")
    found = _format(path, format, host.catalogue).read(path, card)
    shape = tuple(found.inputs.shape[1:])
    if shape != card.shape or not found.inputs.numel():
        raise BadArtefact(
            f"{path} holds {len(found.inputs) if shape else 'no'} items of {shape}, and those of {card.name} are"
            f" {card.shape}. Name the data that it was made for (--data, --size)."
        )
    if found.raw:
        inputs, untouched = found.inputs.float(), True
    else:
        inputs, untouched = _inputs(found.inputs, raw if raw is not None or preprocess is None else False)
    targets, loss = _targets(found.labels, card, scores)
    stored = found.inputs.nbytes + (0 if found.step_sizes is None else found.step_sizes.nbytes)
    stored += targets.nbytes if targets.ndim == 2 else len(targets) * (1 if card.classes <= 256 else 2)
    if factor > 1:
        inputs, targets = _untiled(inputs, factor, card), targets.repeat_interleave(factor**2, 0)
    fitted = fitted_to(plan, data.train, data, torch.device("cpu"))
    ipc = max(1, len(found.inputs) // card.classes)
    recipe = replace(host.recipe("random", kind=card.kind, ipc=ipc), name="released", preprocess=plan)
    warning = (
        f"Others released it: its files were taken for {found.taken_for}, with"
        f" {_untouched(card) if untouched else 'items that had been through'} {plan.part_name()}, and"
        f" {'classes' if targets.ndim == 1 else 'rows for the loss ' + loss} for labels. How it was made, and whether"
        " it was tampered with, is not known."
    )
    return DistilledSet(
        tensors=LabelledTensors(fitted(inputs) if untouched else inputs, targets, loss, found.step_sizes),
        data=card,
        method="released",
        recipe=recipe.fitted(card).to_toml(),
        nbytes=stored,
        preprocess=plan.part_name(),
        preprocess_state=fitted.state_dict(),
        versions={"ddcore": version("ddcore"), "torch": torch.__version__},
        facts={"released": True, "warnings": [warning]},
    )


def _untouched(card: DataCard) -> str:
    return f"{'pixels in [0, 1]' if card.kind == 'image' else f'{card.kind}s as they are'}, taken through"


def _format(path: Path, format: Format | str | None, catalogue: Catalogue) -> Format:
    """The format that is named, or the one that what lies at ``path`` looks like."""
    if not path.exists():
        raise BadArtefact(f"There is no file or folder {path}.")
    if isinstance(format, Format):
        return format
    if format is not None:
        return part_named(Format, format, catalogue, "--format")
    every = [cast(type[Format], entry.maker)() for entry in catalogue.of("format")]
    suited = [plan for plan in every if plan.takes(path)]
    if len(suited) != 1:
        names = ", ".join(plan.part_name() for plan in suited or every)
        raise BadArtefact(
            f"{path} looks like {'several formats' if suited else 'no format'}. Name one (--format): {names}."
        )
    return suited[0]


def _inputs(found: Tensor, raw: bool | None) -> tuple[Tensor, bool]:
    """The items as floats, and whether they are pixels in [0, 1]; found out where ``raw`` is None."""
    if found.dtype == torch.uint8:
        return found.float() / 255, True
    inputs = found.float()
    low, high = float(inputs.min()), float(inputs.max())
    if raw and not 0 <= low <= high <= 1:
        raise BadArtefact(
            f"The items go from {low:.3g} to {high:.3g}, so they are no raw pixels in [0, 1]. Say what they have been"
            " through (--preprocess)."
        )
    return inputs, 0 <= low <= high <= 1 if raw is None else raw


def _targets(labels: Tensor, card: DataCard, scores: Scores | None) -> tuple[Tensor, LossName]:
    """Labels as targets, and the loss that goes with them; that they are those of ``card`` is checked with the set."""
    if card.values is not None and labels.ndim in (1, 2):
        return labels.float().reshape(len(labels), -1), "squared"
    if labels.ndim == 2 and labels.shape[1] > 1:
        rows = labels.float()
        plain = "probabilities" if shares(rows) else "logits" if shares(rows.exp()) else None
        if scores == "vectors":
            return rows, "squared"
        if (scores or plain) == "logits":
            return rows.softmax(1), "cross_entropy"
        if plain == "probabilities":
            return rows, "cross_entropy"
        raise BadArtefact(
            "The labels are rows of scores that do not make up 1. Say whether they are logits, or vectors that outputs"
            " are to equal: --scores logits, or vectors."
        )
    classes = labels.flatten().long()
    if labels.ndim not in (1, 2) or not torch.equal(classes.to(labels.dtype), labels.flatten()):
        raise BadArtefact(
            f"The labels are {labels.dtype} {tuple(labels.shape)}. Wanted: one class per item, or one row of"
            f" {card.outputs} scores."
        )
    return classes, "cross_entropy"


def _untiled(images: Tensor, factor: int, card: DataCard) -> Tensor:
    if len(card.shape) != 3 or any(side % factor for side in card.shape[1:]):
        raise BadArtefact(
            f"Items of {card.shape} cannot be cut into {factor}x{factor} equal tiles: take another --factor."
        )
    return enlarged(cut(images, factor), (card.shape[1], card.shape[2]))
