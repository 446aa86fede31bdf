"""Networks that begin round the weights that all clients share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Generator, Tensor

from ddcore import plugin as dd


@dataclass(frozen=True)
class Around(dd.NetworkPlan):
    """``network``, whose every start is the shared weights w plus a Gaussian direction of norm ``radius``."""

    network: dd.NetworkPlan = field(default_factory=dd.ConvNet)
    """The network that clients share."""
    radius: dd.NotNegative = 0.0
    """Norm of the direction; with 0 every start is w."""
    weights: dd.FilePath | None = None
    """Safetensors file that holds w; None for what the network's own start draws under ``seed``, which is the same for
    all who know the seed."""
    classes: tuple[dd.Whole, ...] | None = None
    """Which of the outputs of w this network has, in which order: a shard's own classes, numbered as the shard numbers
    them, then the others, where there are to be any. None for all of them as they are."""
    seed: dd.Whole = 0
    """Seed of w where no file gives it."""

    def faults(self) -> Iterator[str]:
        if self.classes is not None and (not self.classes or len(set(self.classes)) < len(self.classes)):
            yield f"classes = {self.classes}: name each output once, and at least one"

    def build(self, card: dd.DataCard) -> dd.Started:
        """Reads the weights, of which an artefact or a checkpoint of the run holds no copy.

        Raises:
            RecipeRefused: a file that is not there or holds other weights, or a network with buffers.
        """
        outputs = self.classes or tuple(range(card.classes))
        if len(outputs) < card.classes:
            raise dd.RecipeRefused(f"network.classes = {outputs} are fewer than {card.name}'s {card.classes}.")
        network = self.network.build(replace(card, classes=len(outputs)))
        if self.weights is not None:
            whole = read_weights(self.weights)
        elif set(outputs) == set(range(len(outputs))):
            whole = network.init(dd.Streams(self.seed)["weights"])[0]
        else:
            raise dd.RecipeRefused(
                f"network.classes = {outputs} leaves outputs of the shared start out, so it must be given: set"
                " network.weights."
            )
        centre = self._with_outputs(whole, outputs, network, card)

        def start(generator: Generator) -> tuple[dd.Params, dd.Params]:
            return within(centre, self.radius, generator), {}

        return dd.Started(network, start)

    def _with_outputs(
        self, whole: dd.Params, outputs: Sequence[int], network: dd.Network, card: dd.DataCard
    ) -> dd.Params:
        params, buffers = network.init(Generator())
        if buffers:
            raise dd.RecipeRefused(
                f"{self.network} keeps running statistics, which no client sends: take a norm of single items"
                ' (network.norm = "instance" or "group").'
            )
        one_more = self.network.build(replace(card, classes=len(outputs) + 1)).init(Generator())[0]
        centre = {}
        for name, like in params.items():
            found = whole.get(name, torch.zeros(0))
            of_outputs = like.shape != one_more[name].shape
            value = found[torch.tensor(outputs)] if of_outputs and len(found) > max(outputs) else found
            if value.shape != like.shape or (of_outputs and len(found) <= max(outputs)):
                raise dd.RecipeRefused(
                    f"The shared weights are not those of {self.network} with the outputs {tuple(outputs)}: {name} is"
                    f" {tuple(found.shape) if name in whole else 'not there'} and should give {tuple(like.shape)}."
                )
            centre[name] = value
        return centre


def within(centre: dd.Params, radius: float, generator: Generator) -> dd.Params:
    """``centre`` plus a Gaussian direction, over all of its tensors, of norm ``radius``."""
    if not radius:
        return {name: value.clone() for name, value in centre.items()}
    direction = {name: torch.randn(value.shape, generator=generator) for name, value in centre.items()}
    scale = radius / norm(direction)
    return {name: value + scale * direction[name] for name, value in centre.items()}


def norm(params: dd.Params) -> Tensor:
    """The Euclidean norm () over all tensors."""
    return torch.stack([value.square().sum() for value in params.values()]).sum().sqrt()


def finite(params: dd.Params) -> bool:
    """No tensor holds NaN or infinity."""
    return all(bool(value.isfinite().all()) for value in params.values())


def write_weights(path: str | Path, weights: dd.Params) -> None:
    """The weights as safetensors; an old file is replaced only by a whole new one."""
    dd.write_tensors(path, {name: value.float() for name, value in weights.items()})


def read_weights(path: str | Path) -> dd.Params:
    """Raises RecipeRefused where the file is not there, not whole, or holds NaN or infinity."""
    weights, _ = dd.read_tensors(path, dd.RecipeRefused, "network.weights names the weights that all share.")
    if bad := [name for name, value in weights.items() if not bool(value.isfinite().all())]:
        raise dd.RecipeRefused(f"network.weights = {str(path)!r}: {bad[0]} holds NaN or infinity.")
    return weights


def around(recipe: dd.Recipe, weights: str | Path | None, classes: Sequence[int], k: int) -> dd.Recipe:
    """``recipe`` as a client runs it whose shard has ``classes`` of k, at the shared ``weights``.

    Its network begins at these weights, or as far round them as its own :class:`Around` says. The outputs of the other
    classes stay behind those of the shard's own, so that losses are over all classes; where labels are what a network
    says, of those it was told apart by, they are left out.
    """
    plan = recipe.network if isinstance(recipe.network, Around) else Around(recipe.network)
    others = () if isinstance(recipe.labels, _SAID) else tuple(c for c in range(k) if c not in set(classes))
    path = None if weights is None else str(weights)
    return replace(recipe, network=replace(plan, weights=path, classes=(*classes, *others)))


_SAID = (dd.Soft, dd.Expert, dd.Taught)
"""Labels that a network says."""
