"""A recipe: one composition of parts that says everything about a distillation."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ddcore.augment.base import Augment
from ddcore.bounds import Positive, Whole
from ddcore.carriers.base import Carrier
from ddcore.catalogue import Catalogue
from ddcore.errors import RecipeRefused, UnknownName, installing
from ddcore.gate.base import GatePlan
from ddcore.gate.open import Open
from ddcore.gate.view import View
from ddcore.labels.base import Labels
from ddcore.labels.hard import Hard
from ddcore.memory import WithinMemory, fits
from ddcore.networks.base import NetworkPlan
from ddcore.networks.convnet import ConvNet
from ddcore.objectives.base import Objective
from ddcore.packing import from_dict, parse_toml, to_toml
from ddcore.parts import Part
from ddcore.policies.base import Policy
from ddcore.policies.fresh import Fresh
from ddcore.preprocess import Preprocess, Standardise
from ddcore.types import Citation, DataCard, Network
from ddcore.update import Update

P = TypeVar("P", bound=Part)

NEEDS = {
    "target": "a network's later weights to aim at (target)",
    "rival": "a second player next to the network (rival)",
    "trained_network": "networks that were trained on T (trained_network)",
    "teacher": "a network trained on T that can label (teacher)",
    "step_size": "a step size that S learns (step_size)",
    "student": "an objective that trains networks on S (student)",
    "learned_inputs": "inputs of S that learn (learned_inputs)",
    "blocks": "a network that shows the outputs of its blocks (blocks)",
    "batch_norm": "a network that shows BatchNorm layers (batch_norm)",
    "convolutions": "a network with convolutions (convolutions)",
    "features": "a network that shows its features (features)",
}
"""What parts may need, in words; a plugin's own needs speak for themselves."""
REMEDIES = {
    "step_size": "Give the recipe a step_size, such as 0.01.",
    "blocks": "Take a network of the core (network.name=convnet).",
    "batch_norm": "Take a network of the core that has them (network.norm=batch), which no private gate admits.",
    "convolutions": "Take one (network.name=convnet), or a distance that needs none"
    " (objective.distance.only_convolutions=false).",
    "features": "Give the module a method features(x) that answers the flat input (n, d) of its last layer.",
}
"""What helps where no part of the recipe gives a need."""


@dataclass(frozen=True)
class Recipe(Part, kind="recipe"):
    """A composition of parts that says everything about a distillation."""

    name: str
    """Name of the method, as it appears in reports."""
    synthetic: Carrier
    """How the inputs of S are represented."""
    objective: Objective | None = None
    """What S is learned by; None for methods that choose real items instead of learning."""
    policy: Policy = Fresh()
    """The networks at which S is compared with T."""
    labels: Labels = Hard()
    """What the targets of S are."""
    network: NetworkPlan = ConvNet()
    """The network that S is distilled on."""
    augment: Augment | None = None
    """Random changes of inputs that keep their labels; None for none."""
    gate: GatePlan = Open()
    """What stands before T."""
    views: tuple[View, ...] = ()
    """Changes of T within the gate, the first one applied first."""
    preprocess: Preprocess = Standardise()
    """What real inputs go through before a network sees them."""
    update: Update = Update()
    """How gradients move S."""
    step_size: Positive | None = None
    """First value of a learning rate that is learned with S and belongs to it; None for none."""
    iterations: Whole = 0
    """Updates of S; a method that steps several times per update counts one."""
    seed: Whole = 0
    """Seed of all that is drawn in the run."""
    plugins: dict[str, dict[str, Any]] = field(default_factory=dict)
    """The plugins whose hooks are called, in this order, with their options."""

    @property
    def ipc(self) -> int:
        return self.synthetic.ipc

    def faults(self) -> Iterator[str]:
        if not self.name.isprintable() or not 0 < len(self.name) <= 100 or {*self.name} & {*"/\\"}:
            yield f"name = {self.name!r} stands in the names of folders: take 1 to 100 printable signs without / and \\"

    def check(self, card: DataCard, catalogue: Catalogue | None = None) -> None:  # type: ignore[override]
        """Refuse what cannot work, before anything is built or read.

        What the parts ask is within what the gate serves, and they are itemwise where it guards; what they need, others
        give; they suit the kind of the items; and each part's own ``check`` is content. ``catalogue`` lets a refusal
        name the parts that would help.

        Raises:
            RecipeRefused: in a sentence that names the part and what would help.
        """
        self._check_asks()
        self._check_guard(card)
        check_suits(self, card, catalogue or Catalogue())
        fits(f"S of synthetic.ipc = {self.ipc}", sum(self.synthetic.per_class(card)) * math.prod(card.shape))
        network = self.network.ready(card)
        self._check_needs(network, catalogue or Catalogue())
        taken = self.objective.step_sizes if self.objective is not None else 0
        if self.step_size is not None and not taken:
            raise RecipeRefused(f"step_size = {self.step_size}, but {self.name} does not train at it: leave it out.")
        if self.objective is None and self.iterations:
            raise RecipeRefused(f"{self.name} has no objective, so it cannot make {self.iterations} iterations.")
        if self.objective is not None and not self.iterations:
            raise RecipeRefused(f"{self.name} learns S: iterations must be at least 1.")
        for where, part in self.within():
            if where:
                with WithinMemory(where):
                    part.check(self, card, network)

    def _check_asks(self) -> None:
        for where, part in self.parts():
            for ask in sorted(part.asks - self.gate.serves):
                instead = self.gate.instead.get(ask)
                raise RecipeRefused(
                    f"{where} = {part} asks {ask} of the real data, which the gate"
                    f" {self.gate.part_name()!r} does not serve (it serves {', '.join(sorted(self.gate.serves))})."
                    + (f" {instead}" if instead else "")
                )

    def _check_guard(self, card: DataCard) -> None:
        if self.gate.guards and not card.apart:
            raise RecipeRefused(
                f"gate = {self.gate.part_name()} bounds what is disclosed about single items, but those of {card.name}"
                " know each other (apart = false), so one shows through the others: take gate.name = open."
            )
        told = [column.name for column in (*card.columns, *([card.target] if card.target else [])) if column.summarises]
        if self.gate.guards and told:
            raise RecipeRefused(
                f"gate = {self.gate.part_name()} bounds what is disclosed of T, but medians of missing numbers, or the"
                f" mean and deviation of values to predict, were taken from it past the gate ({', '.join(told)}). Fill"
                " in and scale those columns by numbers that do not come from T, and hand them over as arrays"
                " (RealData.of)."
            )
        for where, part in self.parts() if self.gate.guards else ():
            if not part.itemwise:
                raise RecipeRefused(
                    f"{where} = {part} mixes items of T, or does not declare that it is itemwise, so the gate"
                    f" {self.gate.part_name()!r} could not bound what it tells of one. Take one that changes each item"
                    " by itself (cutmix = 0 where it trains a network)."
                )

    def _check_needs(self, network: Network, catalogue: Catalogue) -> None:
        given = network.gives | ({"step_size"} if self.step_size is not None else set())
        for where, part in self.within():
            if self.objective is not None or where.partition(".")[0] != "policy":
                given |= part.gives
        for where, part in self.within():
            for need in sorted(part.needs - given):
                raise RecipeRefused(
                    f"{where} = {part.part_name()} needs {NEEDS.get(need, need)}, which nothing in {self.name} gives."
                    f" {self._remedy(need, catalogue)}"
                )

    @staticmethod
    def _remedy(need: str, catalogue: Catalogue) -> str:
        if need in REMEDIES:
            return REMEDIES[need]
        names = [f"{entry.kind} {entry.name} ({entry.distribution})" for entry in catalogue.giving(need)]
        return f"What gives it: {', '.join(names)}." if names else "No installed part gives it."

    def options(self, plugin: str, plan: type[P]) -> P:
        """The options that the recipe gives ``plugin``, as the part ``plan`` that holds them.

        Raises:
            RecipeRefused: an option that ``plan`` does not have, or that cannot be so.
        """
        return from_dict(plan, self.plugins.get(plugin, {}), Catalogue(), f"plugins.{plugin}")

    def to_toml(self) -> str:
        return to_toml(self)

    @staticmethod
    def from_toml(text: str, catalogue: Catalogue, where: str = "the recipe") -> Recipe:
        """Raises RecipeRefused or UnknownName where the text is not a recipe."""
        return Recipe.from_table(parse_toml(text, where), catalogue)

    @staticmethod
    def from_table(table: dict[str, Any], catalogue: Catalogue) -> Recipe:
        """The same of what TOML is read to. A name that nothing answers to may be a missing plugin's, which is said."""
        try:
            return from_dict(Recipe, table, catalogue)
        except UnknownName as error:
            known = {entry.distribution.removeprefix("ddcore-") for entry in catalogue}
            for plugin in table.get("plugins", {}):
                if plugin.replace("_", "-") not in known:
                    error.add_note(
                        f"The recipe names the plugin {plugin}, which is not installed. {installing(plugin)}"
                    )
            raise


def check_suits(whole: Part, card: DataCard, catalogue: Catalogue) -> None:
    """Raises RecipeRefused where ``whole``, or a part within it, does not suit the kind of the items of ``card``."""
    for where, part in whole.within():
        if part.suits is not None and card.kind not in part.suits:
            others = [entry.name for entry in catalogue.suited(part.kind, card.kind)]
            instead = f"Take {where}.name = {' or '.join(others)}" if others else "Take another"
            raise RecipeRefused(
                f"{where} = {part.part_name()} is for items of the kind {' or '.join(sorted(part.suits))}, and"
                f" those of {card.name} are of the kind {card.kind}. {instead}, or {where} = none where it may be"
                " left out."
            )
        if card.values is not None and part.classes_only:
            others = [entry.name for entry in catalogue.of(part.kind) if getattr(entry.maker, "values_only", False)]
            raise RecipeRefused(
                f"{where} = {part.part_name()} is for classes, and the targets of {card.name} are values: take"
                f" {' or '.join(others) or f'another {part.kind}'}, or give the labels as whole numbers where they are"
                " classes."
            )
        if card.values is None and part.values_only:
            raise RecipeRefused(
                f"{where} = {part.part_name()} is for values, and the targets of {card.name} are classes: take another"
                f" {part.kind}, or give the labels as floats where they are values."
            )
        for name, off in part.image_fields.items():
            if card.kind != "image" and getattr(part, name) != off:
                path = f"{where}.{name}".lstrip(".")
                raise RecipeRefused(
                    f"{path} = {getattr(part, name)} is for images, and the items of {card.name} are of the kind"
                    f" {card.kind}: set {path} = {str(off).lower()}."
                )


M = TypeVar("M", bound=Callable[..., Recipe])


def method(*cites: Citation, family: str | None = None, needs: tuple[str, ...] = ()) -> Callable[[M], M]:
    """Mark a function that returns a recipe as a published method, with its papers.

    ``family``: what it is listed under; by default the name of its module, or of its package for ``recipes``.
    ``needs``: the other plugins whose parts or hooks it names, which `ddcore list methods` shows.
    """

    def mark(function: M) -> M:
        package, _, module = function.__module__.rpartition(".")
        function.kind = "method"  # type: ignore[attr-defined]
        function.cites = cites  # type: ignore[attr-defined]
        function.needs_plugins = needs  # type: ignore[attr-defined]
        function.family = family or (package if module == "recipes" else module)  # type: ignore[attr-defined]
        return function

    return mark
