"""A part at work: a small recipe in which it stands, on small data."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar, cast

import torch
from torch import Generator, Tensor

from ddcore.artefact import DistilledSet
from ddcore.composition import Recipe
from ddcore.data import RealData
from ddcore.errors import DdcoreError, RecipeRefused
from ddcore.host import Host
from ddcore.parts import Part
from ddcore.run import Run
from ddcore.synthetic import SyntheticSet
from ddcore.testing.base import Untried
from ddcore.testing.shrinking import sample, smaller
from ddcore.testing.tiny import tiny_data, tiny_vectors
from ddcore.types import DataCard

P = TypeVar("P", bound=Part)
STEPS = 3
"""Steps that a part is tried for."""
SLOTS = {
    **{"carrier": "synthetic", "objective": "objective", "policy": "policy", "labels": "labels", "network": "network"},
    **{"augment": "augment", "gate": "gate", "preprocess": "preprocess", "view": "views", "update": "update"},
}
"""The field of a recipe in which a part of each kind stands."""


def tiny_recipe(
    *parts: Part,
    method: str = "dm",
    data: RealData | None = None,
    host: Host | None = None,
    iterations: int = 5,
    overrides: Mapping[str, Any] | None = None,
) -> Recipe:
    """The recipe of ``method``, made small, with each of ``parts`` at its place."""
    host = host or Host()
    data = data or data_for(parts, host)
    recipe = _method(host, method, data.card.kind, iterations, overrides)
    for part in parts:
        recipe = placed(recipe, part)
    return rated(recipe, data.card)


def tiny_run(
    *parts: Part,
    method: str = "dm",
    data: RealData | None = None,
    host: Host | None = None,
    iterations: int = 5,
    overrides: Mapping[str, Any] | None = None,
) -> DistilledSet:
    """What ``method``, made small, distils of small data in a few real steps, with each of ``parts`` at its place.

    ``tiny_run(MyObjective())``, ``tiny_run(MyView(), method="dc", overrides={"plugins.mine.share": 0.5})``.
    """
    host = host or Host()
    data = data or data_for(parts, host)
    recipe = tiny_recipe(*parts, method=method, data=data, host=host, iterations=iterations, overrides=overrides)
    return host.distill(recipe, data)


def data_for(parts: tuple[Part, ...], host: Host) -> RealData:
    """Small data of a kind of items that suits all of ``parts``: images where they do."""
    kinds = [part.suits for part in parts if part.suits is not None]
    common = frozenset.intersection(*kinds) if kinds else frozenset({"image"})
    if not common:
        raise RecipeRefused(f"{', '.join(part.part_name() for part in parts)} suit no kind of items in common.")
    if any(part.values_only for part in parts):
        return tiny_vectors(values=2)
    return tiny_data("image" if "image" in common else min(common), host)


def placed(recipe: Recipe, part: Part) -> Recipe:
    """``recipe`` with ``part`` where one of its class stands, else in the field for its kind."""
    if any(type(inner) is type(part) for where, inner in recipe.within() if where):
        return cast(Recipe, _exchanged(recipe, part))
    slot = SLOTS[part.kind]
    return replace(recipe, **{slot: (*recipe.views, part) if slot == "views" else part})


def _exchanged(whole: Any, part: Part) -> Any:
    """``whole`` with ``part`` in the place of each part of its class."""
    if type(whole) is type(part):
        return part
    if isinstance(whole, tuple):
        return tuple(_exchanged(value, part) for value in whole)
    if not isinstance(whole, Part):
        return whole
    return replace(whole, **{name: _exchanged(getattr(whole, name), part) for name in dict(whole.parts())})


def rated(recipe: Recipe, card: DataCard) -> Recipe:
    """``recipe`` with a step size where it is needed, and a rate for all that it learns."""
    if recipe.objective is None:
        return recipe
    taken = recipe.objective.step_sizes
    recipe = replace(recipe, step_size=(recipe.step_size or 0.01) if taken else None)
    fitted = recipe.fitted(card)
    carrier = fitted.synthetic.ready(card)
    labels = fitted.labels.build(card, carrier)
    groups = SyntheticSet(carrier, labels, recipe.step_size, max(1, taken)).groups()
    rates = {name: recipe.update.lr.get(name, 1e-2) for name in groups}
    return replace(recipe, update=replace(recipe.update, lr=rates))


def _method(host: Host, name: str, kind: str, iterations: int, overrides: Mapping[str, Any] | None = None) -> Recipe:
    recipe = smaller(host.recipe(name, kind=kind, overrides=overrides))
    synthetic = replace(recipe.synthetic, ipc=min(2, recipe.ipc))
    return replace(recipe, synthetic=synthetic, iterations=iterations if recipe.objective else 0, seed=3)


@dataclass(frozen=True)
class Trial:
    """A small recipe that can run, on the data it is run on."""

    recipe: Recipe
    data: RealData
    host: Host

    def start(self) -> Run:
        return self.host.start(self.recipe, self.data)


def trial(part: Part, recipe: Recipe | None, data: RealData | None, host: Host | None) -> Trial:
    """``part`` in ``recipe``, or in DM, or in the first installed method that has such a part and can run.

    Raises:
        Untried: there is none.
    """
    host = host or Host()
    data = data or data_for((part,), host)
    if recipe is not None:
        return Trial(rated(placed(recipe, part), data.card), data, host)
    refusals = []
    for name, recipe in _recipes_for(part, host, data):
        try:
            found = Trial(rated(placed(recipe, part), data.card), data, host)
            found.start()
        except DdcoreError as refused:
            refusals.append(f"{name}: {refused}")
        else:
            return found
    raise Untried(
        f"No installed method could be run with {part.part_name()} in it: give the check recipe=, a small recipe of"
        f" yours, or other settings of the part. ({refusals[0]})"
    )


def _recipes_for(part: Part, host: Host, data: RealData) -> Iterator[tuple[str, Recipe]]:
    """DM; the installed methods that have such a part; DM with what gives what the part needs."""
    kind = data.card.kind
    plain = _method(host, "dm", kind, STEPS)
    yield "dm", plain
    for name in _methods_with(part, host, kind):
        yield name, _method(host, name, kind, STEPS)
    for need in sorted(part.needs):
        for entry in host.catalogue.giving(need):
            if entry.kind in SLOTS and entry.kind != part.kind:
                yield "dm", placed(plain, smaller(sample(cast(type[Part], entry.maker))))


def _methods_with(part: Part, host: Host, kind: str) -> Iterator[str]:
    for entry in host.catalogue.of("method"):
        try:
            recipe = host.recipe(entry.name, kind=kind)
        except (DdcoreError, TypeError):
            continue
        if any(type(inner) is type(part) for _, inner in recipe.within()):
            yield entry.name


def tensors(run: Run) -> list[Tensor]:
    """All that S holds, and what is made of it."""
    inputs, targets = run.synthetic.everything()
    plain = inputs if isinstance(inputs, Tensor) else inputs.plain()
    return [plain.detach().clone(), targets.detach().clone(), *(p.detach().clone() for p in run.synthetic.parameters())]


@contextmanager
def global_numbers() -> Iterator[Callable[[], bool]]:
    """Tells whether random numbers were drawn from torch's global generator since."""
    before = torch.random.get_rng_state()
    yield lambda: not torch.equal(before, torch.random.get_rng_state())


def run_faults(found: Trial, who: str) -> Iterator[str]:
    """What is wrong of a whole small run: its draws, its S, its going on after a stop, its artefact."""
    steps = found.recipe.iterations
    with global_numbers() as drawn:
        losses: list[float] = []
        straight = found.start()
        straight.on_step = lambda run, record: losses.append(record["loss"])
        straight.start()
        before = tensors(straight)
        straight.run_until(until=1)
        buffer = io.BytesIO()
        torch.save(straight.state_dict(), buffer)
        straight.run_until()
        if drawn():
            yield f'{who} draws from torch\'s global generator: give it generator=ctx.rng["{who}"] (or rng[...]).'
    if not all(map(math.isfinite, losses)):
        yield f"{who}: the loss of a small run is not finite: {losses}."
    if steps and all(map(torch.equal, before, tensors(straight))):
        yield f"{who}: nothing of S has moved in {steps} steps: does the gradient reach synthetic.take(...)?"
    buffer.seek(0)
    try:
        state = torch.load(buffer, weights_only=True)
    except Exception as error:
        yield f"{who} remembers what no checkpoint holds: keep tensors, numbers, texts, lists and dicts ({error})."
        return
    again = found.start()
    again.load_state_dict(state)
    again.run_until()
    if steps and not all(map(torch.equal, tensors(again), tensors(straight))):
        yield (
            f"{who} goes on otherwise after a stop: keep all that changes from step to step in its state, in S, or in"
            " ctx.rng."
        )
    yield from artefact_faults(straight, who)


def artefact_faults(run: Run, who: str) -> Iterator[str]:
    with TemporaryDirectory() as folder:
        made = run.export()
        read = DistilledSet.load(made.save(Path(folder) / "tiny.safetensors"))
    for name in ("inputs", "targets"):
        if not torch.equal(getattr(made, name), getattr(read, name)):
            yield f"{who}: the {name} of its set are others once saved and loaded: they are float32, or whole numbers."
    if read.latent.keys() != made.latent.keys() or read.facts != made.facts or read.nbytes != made.nbytes:
        yield f"{who}: the card or the latent tensors of its set are others once saved and loaded."


def undeclared(asked: Mapping[str, int], allowed: frozenset[str], who: str) -> Iterator[str]:
    """What was asked of the gate that no part declares."""
    for ask in sorted(asked.keys() - allowed):
        yield (
            f'{who} asks {ask} of the gate and does not say so: return frozenset({{"{ask}"}}) from its property asks,'
            " by which gates refuse before a run."
        )


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)
