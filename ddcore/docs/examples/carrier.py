"""A carrier that starts from T: a centre per class, and what each item adds to it."""

from dataclasses import dataclass, replace

import torch
from torch import nn

import ddcore
from ddcore import plugin as dd
from ddcore import testing


@dataclass(frozen=True)
class Centred(dd.Carrier):
    """x_i = m_c + d_i. A centre m and ``ipc`` - 1 differences d per class have the bytes of ``ipc`` items."""

    real: dd.Whole = 20
    """Real items per class whose mean is the first centre; 0 asks nothing of T, and centres start from zero."""

    @property
    def asks(self):
        return frozenset({"examples"} if self.real else ())

    def per_class(self, card):
        return (self.budget - 1,) * card.classes

    def check(self, recipe, card, network):
        super().check(recipe, card, network)
        if self.budget < 2:
            raise dd.RecipeRefused("synthetic.ipc = 1 leaves no bytes beside the centres: take at least 2.")

    def build(self, card):
        return CentredModule(self, card)


class CentredModule(dd.DecodedModule):
    def __init__(self, plan, card):
        super().__init__()
        self.plan = plan
        items = torch.tensor(plan.per_class(card))
        self.register_buffer("classes", torch.arange(card.classes).repeat_interleave(items))
        self.centres = nn.Parameter(torch.zeros(card.classes, *card.shape))
        self.differences = nn.Parameter(torch.zeros(len(self.classes), *card.shape))

    def groups(self):
        return {"inputs": [self.differences], "centres": [self.centres]}

    def start(self, ctx):
        with torch.no_grad():
            self.differences.copy_(torch.randn(self.differences.shape, generator=ctx.rng["centred"]))
            if self.plan.real:
                groups = [dd.Group(classes=(c,), size=self.plan.real) for c in range(ctx.card.classes)]
                for c, batch in enumerate(ctx.gate.examples(groups)):
                    self.centres[c] = batch.inputs.mean(0)

    def forward(self, index):
        return self.centres[self.classes[index]] + self.differences[index]


recipe = ddcore.recipe("dm", ipc=3, iterations=5)
update = replace(recipe.update, lr={"inputs": 1.0, "centres": 0.1})
recipe = replace(recipe, synthetic=Centred(ipc=3), update=update)
distilled = ddcore.distill(recipe, ddcore.load("digits"))
print(distilled.inputs.shape, {name: tuple(value.shape) for name, value in distilled.latent.items()})
testing.check_carrier(Centred(ipc=3), recipe=recipe)
