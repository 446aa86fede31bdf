"""A plugin from outside: a measure, a protocol, a study, a network, a data set of vectors and a view, each by name."""

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
class Margin(dd.Measure):
    """The mean distance of the largest logit from the next one."""

    digits = 2

    def __call__(self, draw, data, chunk):
        total = torch.zeros(draw.ensemble)
        for logits, _ in dd.predictions(draw, data, chunk):
            first, second = logits.topk(2, 2).values.unbind(2)
            total += (first - second).sum(1)
        return total / len(data)


@dd.preset(SURVEY)
def brief():
    """Forty steps of Adam on the plugin's own network, without augmentation; accuracy and margin."""
    return dd.Protocol(
        steps=40, lr=(0.01,), augment=None, repeats=2, networks=(Perceptron(),), measures=(dd.Accuracy(), Margin())
    )


class Layers(nn.Module):
    def __init__(self, inputs, width, classes):
        super().__init__()
        self.hidden, self.head = nn.Linear(inputs, width), nn.Linear(width, classes)

    def features(self, x):
        return self.hidden(x.flatten(1)).relu()

    def forward(self, x):
        return self.head(self.features(x))


@dataclass(frozen=True)
class Perceptron(dd.NetworkPlan):
    """An ordinary module with one hidden layer."""

    width: dd.Count = 16
    """Units of the hidden layer."""

    def build(self, card):
        inputs = torch.Size(card.shape).numel()
        return dd.ModuleNetwork(lambda: Layers(inputs, self.width, card.classes))


@dataclass(frozen=True)
class Wine(dd.DataSet):
    """scikit-learn's 178 wines of three cultivars, by 13 measurements; every fifth one is for testing."""

    def item_kind(self):
        return "vector"

    def load(self):
        from sklearn.datasets import load_wine

        wine = load_wine()
        held = torch.arange(len(wine.target)) % 5 == 0
        x, y = torch.from_numpy(wine.data).float(), torch.from_numpy(wine.target)
        return dd.RealData.of("wine", (x[~held], y[~held]), (x[held], y[held]))


@dataclass(frozen=True)
class Stretch(dd.View):
    """Items times a factor that each step draws anew; the last one is kept across a stop and stands on the card."""

    most: dd.Positive = 1.1
    """The largest factor."""

    itemwise = True

    def build(self, store, rng):
        return LiveStretch(self.most, rng["stretch"])


class LiveStretch(dd.LiveView):
    def __init__(self, most, generator):
        self.most, self.generator, self.factor = most, generator, 1.0

    def follow(self, draw):
        self.factor = 1 + (self.most - 1) * float(torch.rand((), generator=self.generator))

    def apply(self, batch, draw):
        return replace(batch, inputs=batch.inputs * self.factor)

    def facts(self):
        return {"stretched": self.factor}

    def state_dict(self):
        return {"factor": self.factor}

    def load_state_dict(self, state):
        self.factor = state["factor"]


@dataclass(frozen=True)
class Widths(dd.Study):
    """How accuracy depends on the width of the network that learns from random wines."""

    widths: tuple[dd.Count, ...] = (2, 16)
    """The widths that are compared."""
    seeds: tuple[dd.Whole, ...] = (0, 1)
    """Seeds of the choice and of the training."""

    def cases(self, host):
        return [dd.Case(f"width {w}", seed, {"network": Perceptron(w)}) for seed in self.seeds for w in self.widths]

    def run(self, case, folder, host, device, progress):
        data = dd.loaded(Wine())
        chosen = host.distill(host.recipe("random", kind="vector", ipc=5), data, seed=case.seed, device=device)
        protocol = replace(brief(), networks=(case.description["network"],))
        (score,) = dd.evaluate(chosen, data, protocol, seed=case.seed, host=host)["accuracy"].values()
        return {"accuracy": score.mean}

    def summarise(self, found):
        rows = []
        for group in dd.over_seeds(found):
            accuracy = dd.spread([one.numbers["accuracy"] for one in group])
            rows.append([group[0].case.label, dd.plus_minus(**accuracy)])
        return dd.Finding(["network", "accuracy"], rows, {"rows": rows})


@dd.hookimpl
def ddcore_parts():
    return [Margin, brief, Perceptron, Wine, Stretch, Widths]
