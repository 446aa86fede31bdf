"""What a network plan is held to."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from ddcore.data import RealData
from ddcore.host import Host
from ddcore.networks.base import NetworkPlan
from ddcore.networks.module import ModuleNetwork
from ddcore.networks.started import Started
from ddcore.store import Items, repeated
from ddcore.testing.base import Check
from ddcore.testing.contract import check_part
from ddcore.testing.trial import data_for, global_numbers
from ddcore.types import Network, Params

CLOSE = 1e-3
"""Share of the largest logit that rounding may change."""


@Check
def check_network(part: NetworkPlan, *, data: RealData | None = None, host: Host | None = None) -> Iterator[str]:
    """It keeps the contract of parts; it is built for the data, its start follows from the seed alone, what it says of
    itself (``per_sample``, ``stochastic``) is so, its logits are its head on its features, and nets side by side answer
    as each does alone."""
    name, host = part.part_name(), host or Host()
    yield from check_part.faults(part, host.catalogue)
    data = data or data_for((part,), host)
    card = data.card
    found = part.ready(card)
    said = part.fitted(card).build(card)
    if said.per_sample and not found.per_sample and type(said.unwrapped) is not ModuleNetwork:  # which finds it out
        yield (
            f"{name} says per_sample and lets items of a batch see each other in training: answer False, or normalise"
            " items by themselves (GroupNorm in the place of BatchNorm)."
        )
    if found.stochastic and not said.stochastic:
        yield f"{name} draws random numbers in training and does not say so: answer True from its property stochastic."
    with global_numbers() as drawn:
        starts = [found.init(torch.Generator().manual_seed(seed))[0] for seed in (0, 0, 1)]
        if drawn():
            yield f"{name} draws its start from the global generator: draw from the one that init is given."
    same, other = (any(not torch.equal(starts[0][key], each[key]) for key in each) for each in starts[1:])
    if same:
        yield f"{name} starts otherwise under the same seed: draw its start from torch's random numbers alone."
    if not other and not isinstance(said, Started):
        yield f"{name} starts the same under every seed: draw its start at random."
    store = data.test
    items = store.take(torch.arange(min(len(store), 24))).inputs
    if not found.stochastic:
        yield from _ensemble_faults(found, items, name)
    if "features" in found.gives and isinstance(items, Tensor):
        yield from _head_faults(found, items, card.outputs, name)


def _ensemble_faults(network: Network, items: Tensor | Items, name: str) -> Iterator[str]:
    starts = [network.init(torch.Generator().manual_seed(seed)) for seed in (0, 1)]
    params, buffers = ({key: torch.stack([s[i][key] for s in starts]) for key in starts[0][i]} for i in (0, 1))
    with torch.no_grad():
        together = network(params, buffers, repeated(items, 2), ensemble=2, training=False)
        alone = torch.stack([network(p, b, items, training=False) for p, b in starts])  # type: ignore[arg-type]
    if together.shape != alone.shape or not _close(together, alone):
        yield f"{name}: two nets side by side (ensemble=2) answer otherwise than each alone: treat axis 0 as the nets'."


def _head_faults(network: Network, items: Tensor, outputs: int, name: str) -> Iterator[str]:
    """Whether logits are an affine function of the features: those of random items, fitted on some, hold for others."""
    params, buffers = network.init(torch.Generator().manual_seed(0))
    width = _answers(network, params, buffers, items[:2], features=True).shape[1]
    count = 2 * width + 8
    if count > 2**11:
        return
    x = torch.randn(count, *items.shape[1:], generator=torch.Generator().manual_seed(1))
    features, logits = (_answers(network, params, buffers, x, features=f).double() for f in (True, False))
    design = torch.cat([features, torch.ones(count, 1, dtype=torch.float64)], 1)
    residual = logits - design @ torch.linalg.lstsq(design, logits, driver="gelsd").solution
    if float(residual.norm()) > CLOSE * float(logits.norm()) + 1e-6:
        yield (
            f"{name}: its logits are not a last layer on its features: let features(x) answer the flat input of"
            f" the linear layer that has the {outputs} outputs."
        )


def _answers(network: Network, params: Params, buffers: Params, x: Tensor, features: bool) -> Tensor:
    with torch.no_grad():
        parts = [network(params, buffers, p, features=features, training=False) for p in x.split(256)]
    return torch.cat(parts)


def _close(a: Tensor, b: Tensor) -> bool:
    return torch.allclose(a, b, rtol=0, atol=CLOSE * float(b.abs().max()) + 1e-6)
