"""DP-SGD by opacus: the control at equal epsilon, a private network instead of a private set."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from ddcore import plugin as dd
from ddcore_private.ledger import epsilon_of, noise_for


def convnet(card: dd.DataCard, width: int) -> nn.Module:
    """The ConvNet of the evaluation as a module that opacus takes: 3 x (3x3 convolution, norm, ReLU, mean of 2x2)."""
    layers, channels, side = [], card.shape[0], card.shape[1]
    for i in range(3):
        padding = 3 if i == 0 and side == 28 else 1
        layers += [nn.Conv2d(channels, width, 3, padding=padding), nn.GroupNorm(width, width), nn.ReLU()]
        layers += [nn.AvgPool2d(2)]
        channels, side = width, (side + 2 * padding - 2) // 2
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(width * side * side, card.classes))


@dataclass(frozen=True)
class DpSgd(dd.Part, kind="control"):
    """How opacus trains a network privately.

    **Reference**: Abadi et al., CCS 2016; opacus' PrivacyEngine with Poisson batches, PRV accountant.
    """

    epochs: dd.Count = 10
    """Epochs on T."""
    batch: dd.Count = 256
    """Expected number of items per step."""
    lr: dd.Positive = 0.5
    """Learning rate of SGD."""
    momentum: dd.Decay = 0.9
    """Momentum of SGD."""
    max_grad_norm: dd.Positive = 1.0
    """Norm that an item's gradient is clipped to."""
    width: dd.Count = 32
    """Channels of the network."""

    def train(
        self,
        inputs: torch.Tensor,
        targets: torch.Tensor,
        card: dd.DataCard,
        epsilon: float,
        delta: float,
        seed: int,
        progress: dd.Progress | None = None,
    ) -> tuple[nn.Module, float]:
        """A network trained on preprocessed ``inputs`` (n, ...) and ``targets`` (n,), and the epsilon it cost.

        ``seed`` decides its start; noise and batches come from secret streams.
        """
        from opacus import PrivacyEngine

        rng = dd.Streams(seed)
        with dd.forked(rng["nets"]):
            module = convnet(card, self.width).to(inputs.device)
        optimiser = torch.optim.SGD(module.parameters(), lr=self.lr, momentum=self.momentum)
        loader = DataLoader(TensorDataset(inputs, targets), min(self.batch, len(inputs)), shuffle=True)
        rate, steps = 1 / len(loader), self.epochs * len(loader)
        noise = noise_for(epsilon, delta, rate, steps)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # opacus' remarks on its random numbers, which are not used here
            made = PrivacyEngine().make_private(
                module=module,
                optimizer=optimiser,
                data_loader=loader,
                noise_multiplier=noise,
                max_grad_norm=self.max_grad_norm,
                noise_generator=rng.secret("noise"),
            )
            private, optimiser, loader = cast(Any, made)
            loader.batch_sampler.generator = rng.secret("poisson")
            for epoch in range(self.epochs):
                for x, y in loader:
                    optimiser.zero_grad()
                    nn.functional.cross_entropy(private(x), y).backward()
                    optimiser.step()
                if progress:
                    progress("DP-SGD", epoch + 1, self.epochs)
            return module.eval(), epsilon_of([(noise, rate, steps)], delta)

    def scored(
        self,
        data: dd.RealData,
        epsilon: float,
        delta: float,
        seed: int,
        *,
        items: int | None = None,
        progress: dd.Progress | None = None,
    ) -> tuple[float, float]:
        """The test accuracy in percent of a network trained on the first ``items`` of T, and the epsilon it cost.

        All of T by default. Inputs are standardised by the mean and deviation that the card of T states.
        """
        seen = dd.Standardise().fitted(data.card).start(data.card, dict)
        rows = torch.arange(items or len(data.train))
        inputs, targets = seen(data.train.take(rows).inputs), data.train.targets[rows]
        module, spent = self.train(inputs, targets, data.card, epsilon, delta, seed, progress)
        test = data.test.take(torch.arange(len(data.test)))
        with torch.no_grad():
            right = torch.cat([module(seen(x)).argmax(1) for x in test.inputs.split(500)]) == test.targets
        return 100 * float(right.float().mean()), spent
