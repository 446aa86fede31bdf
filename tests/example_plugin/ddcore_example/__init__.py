"""A complete plugin in one file: what it brings, and where it steps in.

[plugins.example]
most_iterations = 100    # refuse recipes that want more
enough = 0.01            # stop once the loss is below this
"""

from dataclasses import dataclass, replace

import torch
from torch import nn

from ddcore import plugin as dd

ddcore_api = ">=1.0,<2"

SURVEY = dd.Citation(
    "lei2024survey",
    "Lei, Shiye and Tao, Dacheng",
    "A Comprehensive Survey of Dataset Distillation",
    "IEEE Transactions on Pattern Analysis and Machine Intelligence",
    2024,
    "article",
)


@dataclass(frozen=True)
class LabelNoise(dd.View):
    """A share of the items gets a label drawn at random."""

    itemwise = True

    share: dd.Share = 0.1
    """Probability that an item is relabelled."""

    def build(self, store, rng):
        return LiveLabelNoise(self, store.classes, rng["label_noise"])


class LiveLabelNoise(dd.LiveView):
    def __init__(self, plan, classes, generator):
        self.plan, self.classes, self.generator = plan, classes, generator

    def relabel(self, targets):
        hit = torch.rand(targets.shape, generator=self.generator) < self.plan.share
        return torch.where(hit, torch.randint(self.classes, targets.shape, generator=self.generator), targets)

    def facts(self):
        return {"label_noise": self.plan.share}


@dataclass(frozen=True)
class AbsoluteMatch(dd.LossObjective):
    """L = sum_c | mean f(T_c) - mean f(S_c) |, summed over the features."""

    real: dd.Count = 32
    """Items of T per class and step."""

    @property
    def asks(self):
        return frozenset({"features"})

    @property
    def needs(self):
        return frozenset({"learned_inputs"})

    def loss(self, draw, synthetic, ctx):
        groups = [dd.Group(classes=(c,), size=self.real) for c in range(ctx.card.classes)]
        real = ctx.gate.features(draw, groups)
        means = [draw(synthetic.take(synthetic.pick(group.classes))[0], features=True).mean(0) for group in groups]
        return (torch.stack(real) - torch.stack(means)).abs().sum()


class TinyModule(nn.Module):
    def __init__(self, inputs, classes):
        super().__init__()
        self.hidden, self.head = nn.Linear(inputs, 16), nn.Linear(16, classes)

    def features(self, x):
        return self.hidden(x.flatten(1)).relu()

    def forward(self, x):
        return self.head(self.features(x))


@dataclass(frozen=True)
class Tiny(dd.NetworkPlan):
    """An ordinary module of two linear layers."""

    def build(self, card):
        inputs = torch.Size(card.shape).numel()
        return dd.ModuleNetwork(lambda: TinyModule(inputs, card.classes))


@dd.method(SURVEY)
def absolute(ipc=1, iterations=50):
    """Mean features matched in absolute value, on tiny networks, with a little label noise."""
    return replace(
        dd.recipe("dm", ipc=ipc, iterations=iterations),
        name="absolute",
        objective=AbsoluteMatch(),
        network=Tiny(),
        augment=None,
        views=(LabelNoise(0.01),),
        plugins={"example": {}},
    )


@dataclass(frozen=True)
class Options(dd.Part, kind="options"):
    """The options below ``[plugins.example]``."""

    most_iterations: dd.Whole | None = None
    """Largest number of iterations that a recipe may have, None for no limit."""
    enough: dd.Number = 0.0
    """Loss below which a run ends."""


@dd.hookimpl
def ddcore_parts():
    return [LabelNoise, AbsoluteMatch, Tiny, absolute]


@dd.hookimpl(wrapper=True)
def ddcore_recipe(recipe, card):
    fitted = yield
    most = recipe.options("example", Options).most_iterations
    if most is not None and fitted.iterations > most:
        raise dd.RecipeRefused(f"plugins.example.most_iterations is {most}, the recipe wants {fitted.iterations}.")
    return fitted


@dd.hookimpl(wrapper=True)
def ddcore_distill(run):
    distilled = yield
    return distilled.with_facts(seen_by="example")


@dd.hookimpl(wrapper=True)
def ddcore_step(run):
    loss = yield
    if loss < run.recipe.options("example", Options).enough:
        raise dd.StopRun(f"the loss is {loss:.3g}, which is enough")
    return loss
