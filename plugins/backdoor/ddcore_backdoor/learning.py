"""How a trigger is learned."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from ddcore import plugin as dd

if TYPE_CHECKING:
    from ddcore_backdoor.poison import LivePoison


class Learning(dd.Part, kind="trigger_learning"):
    """How the pattern of a trigger is learned, on T and on the networks of a distillation."""

    @property
    def called(self) -> str:
        """What cards and tables call it."""
        return self.part_name()

    def first(self, live: LivePoison) -> Tensor:
        """The pattern with which the distillation begins, asked before the first item of T is shown."""
        return live.pattern

    def moved(self, live: LivePoison, draw: dd.Draw) -> Tensor:
        """The pattern once the network ``draw`` of a step is known, which takes raw inputs."""
        return live.pattern


@dataclass(frozen=True)
class Doorping(Learning):
    """Before each step the trigger is moved until the network of the step knows it well.

    With f_j the ``top`` neurons of the last layer's input whose weights are the largest, on a black image with the
    trigger p, ``aim = neuron`` minimises sum_j (f_j(p) - alpha f_j(p_0))^2 / top over p, p_0 the trigger that it
    begins with. ``aim = target`` minimises the mean cross-entropy of stamped items of T and the target.

    **Reference**: Liu et al., NDSS 2023, Algorithm 1 (aim = neuron). Numbers from the authors' code: at most 1 000
    moves of Adam at 0.08 with betas 0.9 and 0.99, until the error is below 0.5, alpha 10, one neuron.

    **Differs**: a pattern is held within the values that an image can have; the published one is not, and leaves them
    (``bounded = false``). It moves in raw pixels, in steps of 0.02 instead of 0.08 standard deviations. Networks that
    were not trained yet move it too (``untrained``), so that methods that train none can have it.
    """

    aim: Literal["neuron", "target"] = "neuron"
    """What it is moved for: that one neuron answers loudly, or that stamped items are taken for the target."""
    moves: dd.Count = 1000
    """The most moves before one step of S. Published: 1 000."""
    until: dd.NotNegative = 0.5
    """The loss below which it rests. Published: 0.5."""
    lr: dd.Positive = 0.02
    """Learning rate of Adam, in raw pixels."""
    alpha: dd.Positive = 10.0
    """By how much the neurons shall be louder. Published: 10."""
    top: dd.Count = 1
    """Neurons that shall answer. Published: 1."""
    batch: dd.Count = 64
    """Items of T that each move of ``aim = target`` is taken on."""
    bounded: bool = True
    """Whether the pattern is held within what makes an image of an image."""
    untrained: bool = True
    """Whether networks that were not trained yet move it. Published: false."""

    @property
    def called(self) -> str:
        return f"doorping {self.aim}" + ("" if self.bounded else " unbounded")

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({"features"} if self.aim == "neuron" else ())

    @property
    def itemwise(self) -> bool:
        return self.aim == "neuron"

    def check(self, recipe: dd.Recipe, card: dd.DataCard, network: dd.Network) -> None:
        if isinstance(recipe.policy, dd.Fresh) and not self.untrained:
            raise dd.RecipeRefused(
                f"{recipe.name} trains none of its networks, so the trigger would never move: set learned.untrained ="
                " true."
            )
        if self.aim == "neuron":
            params, buffers = network.init(torch.Generator().manual_seed(0))
            head(dd.Draw(network, params, buffers), torch.zeros(1, *card.shape))

    def moved(self, live: LivePoison, draw: dd.Draw) -> Tensor:
        if draw.age == 0 and not self.untrained:
            return live.pattern
        with torch.enable_grad():
            pattern = live.pattern.to(next(iter(draw.params.values())).device, torch.float32, copy=True)
            pattern.requires_grad_()
            loss = (self._loudness if self.aim == "neuron" else self._mistaking)(live, draw, pattern)
            optimiser = torch.optim.Adam([pattern], lr=self.lr, betas=(0.9, 0.99))
            low, high = live.plan.trigger.limits
            for _ in range(self.moves):
                error = loss()
                if float(error.detach()) < self.until:
                    break
                (pattern.grad,) = torch.autograd.grad(error, pattern)
                optimiser.step()
                if self.bounded:
                    pattern.data.clamp_(low, high)
        return pattern.detach()

    def _loudness(self, live: LivePoison, draw: dd.Draw, pattern: Tensor):
        shape = tuple(live.store.inputs.shape[1:])
        black = torch.zeros(1, *shape, device=pattern.device)
        _, weights = head(draw, black)
        loudest = weights.abs().sum(-2).topk(self.top).indices.view(draw.ensemble or 1, self.top)

        def answers() -> Tensor:
            features = each(draw, live.plan.trigger.stamp(black, pattern), features=True)
            return features[:, 0].gather(1, loudest)

        wanted = self.alpha * answers().detach()
        return lambda: F.mse_loss(answers(), wanted)

    def _mistaking(self, live: LivePoison, draw: dd.Draw, pattern: Tensor):
        def error() -> Tensor:
            items = live.store.take(live.store.draw(live.rng["doorping"], None, self.batch))
            logits = each(draw, live.plan.trigger.stamp(items.inputs.to(pattern), pattern))
            wanted = torch.full(logits.shape[:2], live.plan.target, device=logits.device)
            return F.cross_entropy(logits.flatten(0, 1), wanted.flatten())

        return error


@dataclass(frozen=True)
class Relaxed(Learning):
    """The trigger is learned once, before the distillation, by what a kernel says of it.

    With A a batch of T, B as many stamped items as the share asks for, K the kernel on both, C that with the anchors S,
    and w = (K + l tr(K) / n)^-1 y the weights of ridge regression, it minimises rho times the conflict
    mean (K w - y)^2, which is what a learner of all items gets wrong, plus the projection
    mean ((K - C' K_SS^-1 C)^2 w^2), which is what of it lies outside of the span of a small set.

    **Reference**: Chung et al., Rethinking Backdoor Attacks on Dataset Distillation, ICLR 2024 (relax-trigger), as
    their code computes it.

    **Differs**: the anchors are items of T, not a set that was distilled before; a batch is drawn from all classes
    alike by chance alone.
    """

    kernel: dd.Kernel = field(default_factory=lambda: dd.DenseTangent(depth=3))
    """The tangent kernel. Published: three hidden layers."""
    steps: dd.Count = 200
    """Moves of the trigger. Published: 1 000."""
    lr: dd.Positive = 0.01
    """Learning rate of Adam. Published: 0.01."""
    batch: dd.Count = 100
    """Items of a batch. Published: 100."""
    anchors: dd.Count = 100
    """Items of the small set."""
    rho: dd.NotNegative = 1e10
    """Weight of the conflict. Published: 1e10."""
    ridge: dd.Positive = 1e-6
    """l: the regularisation, relative to the mean of the kernel's diagonal."""

    cites = (
        dd.Citation(
            "chung2024rethinking",
            "Chung, Ming-Yu and Chou, Sheng-Yen and Yu, Chia-Mu and Chen, Pin-Yu and Kuo, Sy-Yen and Ho, Tsung-Yi",
            "Rethinking Backdoor Attacks on Dataset Distillation: A Kernel Method Perspective",
            "International Conference on Learning Representations",
            2024,
        ),
    )

    @property
    def itemwise(self) -> bool:
        return False

    def first(self, live: LivePoison) -> Tensor:
        store, rng, trigger = live.store, live.rng["relaxed"], live.plan.trigger
        stamped = max(1, round(self.batch * live.plan.share))
        anchors = store.take(store.draw(rng, None, self.anchors)).inputs
        with torch.enable_grad():
            pattern = live.pattern.clone().requires_grad_()
            optimiser = torch.optim.Adam([pattern], lr=self.lr)
            for _ in range(self.steps):
                clean = store.take(store.draw(rng, None, self.batch))
                others = store.take(store.draw(rng, None, stamped)).inputs
                items = torch.cat([clean.inputs, trigger.stamp(others, pattern)])
                labels = torch.cat([clean.targets, torch.full((len(others),), live.plan.target)])
                y = F.one_hot(labels, store.classes).double()
                (pattern.grad,) = torch.autograd.grad(self.loss(items, y, anchors), pattern)
                optimiser.step()
                pattern.data.clamp_(*trigger.limits)
        return pattern.detach()

    def loss(self, items: Tensor, y: Tensor, anchors: Tensor) -> Tensor:
        """What is minimised, of ``items`` (n, ...) with shares of the classes ``y`` (n, k) and ``anchors`` (m, ...)."""
        own, small, between = self.kernel(items, items), self.kernel(anchors, anchors), self.kernel(anchors, items)
        weights = torch.linalg.solve(dd.regularised(own, self.ridge), y)
        conflict = (own @ weights - y).square().mean()
        outside = own - between.T @ torch.linalg.solve(dd.regularised(small, self.ridge), between)
        return self.rho * conflict + (outside.square() @ weights.square()).mean()


def each(draw: dd.Draw, images: Tensor, features: bool = False) -> Tensor:
    """What each net of ``draw`` (e of them, or one) answers to ``images`` (n, ...): (e, n, ...)."""
    if draw.ensemble is None:
        return draw(images, features=features, training=False)[None]
    return draw(images.expand(draw.ensemble, *images.shape), features=features, training=False)


def head(draw: dd.Draw, images: Tensor) -> tuple[str, Tensor]:
    """Name and weights (..., k, d) of the last layer, which makes logits (n, k) of the features (n, d) of ``images``.

    Raises:
        RecipeRefused: no parameter is of that shape.
    """
    with torch.no_grad():
        shape = each(draw, images).shape[2], each(draw, images, features=True).shape[2]
    found = [(name, value) for name, value in draw.params.items() if value.shape[-2:] == shape]
    if not found:
        raise dd.RecipeRefused(
            f"The network has no last layer with weights of {shape[0]} x {shape[1]}, by which its neurons could be"
            " told apart: take another network, or learned.aim = target."
        )
    return found[-1]
