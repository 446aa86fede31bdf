"""A pretrained network whose last layer is learned anew."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Generator, Tensor

from ddcore.bounds import FilePath
from ddcore.errors import RecipeRefused
from ddcore.networks.base import NetworkPlan
from ddcore.networks.convnet import ConvNet
from ddcore.tensors import read_tensors, write_tensors
from ddcore.types import Call, DataCard, Draw, Network, Params


@dataclass(frozen=True, eq=False)
class Headed(Network):
    """The features of ``backbone`` at ``start``, and a fresh linear layer on them.

    ``learned`` are the parameters of the backbone that are trained with it; all others stand among the buffers.
    """

    backbone: Network
    start: tuple[Params, Params]
    learned: frozenset[str]
    head: tuple[int, int]

    @property
    def per_sample(self) -> bool:
        return not self.learned or self.backbone.per_sample

    @property
    def stochastic(self) -> bool:
        return bool(self.learned) and self.backbone.stochastic

    def init(self, generator: Generator) -> tuple[Params, Params]:
        outputs, size = self.head
        params = {"weight": torch.randn(outputs, size, generator=generator) / size**0.5, "bias": torch.zeros(outputs)}
        buffers = {f"buffers.{name}": value.clone() for name, value in self.start[1].items()}
        for name, value in self.start[0].items():
            (params if name in self.learned else buffers)[f"params.{name}"] = value.clone()
        return params, buffers

    def apply(self, call: Call, x: Tensor) -> Tensor:
        held = {**call.params, **call.buffers}
        params, buffers = (
            {name.removeprefix(kind): value for name, value in held.items() if name.startswith(kind)}
            for kind in ("params.", "buffers.")
        )
        training = call.training and bool(self.learned)
        inner = replace(call, params=params, buffers=buffers, features=True, training=training)
        found = self.backbone.apply(inner, x)
        return found if call.features else found @ held["weight"].mT + held["bias"].unsqueeze(-2)


@dataclass(frozen=True)
class Pretrained(NetworkPlan):
    """A pretrained backbone under a fresh linear layer, which alone is learned unless the backbone is tuned with it.

    Any module with ``features`` can be the backbone: let the factory of a ``ModuleNetwork`` load its weights.
    """

    network: NetworkPlan = ConvNet()
    """The backbone."""
    weights: FilePath | None = None
    """A safetensors file of its weights, as :meth:`keep` writes it; the last layer's are not
    used. None where the network starts from its weights by itself."""
    frozen: bool = True
    """The linear layer alone is trained; false for fine-tuning."""

    def build(self, card: DataCard) -> Headed:
        network = self.network.ready(card)
        params, buffers = network.init(Generator().manual_seed(0))
        leaves = {name: value.detach().requires_grad_() for name, value in params.items()}
        features = network(leaves, buffers, torch.zeros(1, *card.shape), features=True, training=False)
        of_features = torch.autograd.grad(features.sum(), [*leaves.values()], allow_unused=True)
        used = {name for name, found in zip(leaves, of_features, strict=True) if found is not None}
        if self.weights is not None:
            held, _ = read_tensors(self.weights, RecipeRefused, "Name a file of the backbone's weights.")
            wanted = {f"params.{n}": params[n] for n in used} | {f"buffers.{n}": v for n, v in buffers.items()}
            if any(name not in held or held[name].shape != value.shape for name, value in wanted.items()):
                raise RecipeRefused(f"{self.weights} holds the weights of another network than {self.network}.")
            params |= {name: held[f"params.{name}"] for name in used}
            buffers = {name: held[f"buffers.{name}"] for name in buffers}
        learned = frozenset(() if self.frozen else used)
        return Headed(network, (params, buffers), learned, (card.outputs, features.shape[1]))

    @staticmethod
    def keep(path: Path, draw: Draw) -> str:
        """Write the weights of the first net of an ensemble that was trained, for ``weights``; where they are."""
        held = {f"params.{name}": value[0] for name, value in draw.params.items()}
        return str(write_tensors(path, held | {f"buffers.{name}": value[0] for name, value in draw.buffers.items()}))
