"""The private gate: it clips what each item says, adds noise, and keeps a ledger."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.metadata import version
from types import MappingProxyType

import torch
from torch.func import grad, vmap

from ddcore import plugin as dd
from ddcore_private.ledger import Ledger, noise_for

INSTEAD_OF_PRV = (
    "an upper bound: PRV gives nothing smaller, or would take minutes for so many requests or so much spent"
)


@dataclass(frozen=True)
class PrivateGate(dd.GatePlan):
    """(epsilon, delta)-differential privacy towards adding or removing one item of T.

    A request draws each item of its groups by itself with probability q (Poisson sampling), clips what the item
    says to a norm C, sums, adds Gaussian noise of deviation sigma C, and divides by the *expected* number of items:

        answer_g = ( sum_i x_i min(1, C / ||x_i||) + N(0, sigma^2 C^2 I) ) / B_g,    B_g = q_g n_g

    x_i is an item's loss gradient over all parameters, or its feature. The groups of a request are disjoint, so it
    costs what its largest q costs. An empty draw is noised and counted like any other. Either ``requests`` is given
    and sigma solved from it, or ``noise_multiplier`` (sigma), and the run stops in good order before the request
    that would exceed ``epsilon``.

    **Reference**: Abadi et al., CCS 2016, Algorithm 1, for gradients; features likewise.

    Counts and labels of the classes, shapes, the preprocessing's declared numbers and the recipe are public. How
    long a run takes and how much memory it needs is not covered, nor is what other runs on the same data have spent.
    """

    guards = True
    instead = MappingProxyType(
        {
            "examples": 'Start from noise (synthetic.init="noise"); images chosen from T can never be private.',
            "statistics": "Declare public numbers (preprocess.mean and preprocess.std), or fit on public data.",
        }
    )

    epsilon: dd.PositiveOrInfinite = 8.0
    """The budget, at ``delta``; infinite for no privacy, with ``noise_multiplier`` 0."""
    delta: dd.OpenShare = 1e-5
    """Probability that the guarantee does not hold; well below 1 / n for the n items of T."""
    noise_multiplier: dd.NotNegative | None = None
    """Deviation sigma of the noise in units of the clipping norm; None to solve it from ``requests``."""
    requests: dd.Count | None = None
    """Requests that the budget shall last for; by default one per update. Where several runs share the budget, as many
    in each of them."""
    max_gradient_norm: dd.PositiveOrInfinite = 0.1
    """Norm C that an item's gradient is clipped to."""
    max_feature_norm: dd.PositiveOrInfinite = 1.0
    """Norm C that an item's feature is clipped to."""
    signals: dd.Count | None = None
    """The first requests are answered anew, and from then on the same answers come again, in the same order, at no
    further cost. The networks and augmentations of the run come again with them."""

    def faults(self) -> Iterator[str]:
        if self.noise_multiplier is not None and self.requests is not None:
            yield ("noise_multiplier and requests are solved from each other: give one of them")
        if self.noise_multiplier == 0 and math.isfinite(self.epsilon):
            yield ("without noise nothing is private: noise_multiplier = 0 goes with epsilon = inf alone")
        if self.noise_multiplier is None and math.isinf(self.epsilon):
            yield ("an infinite epsilon says nothing about the noise: give noise_multiplier")
        if self.noise_multiplier != 0 and math.inf in (self.max_gradient_norm, self.max_feature_norm):
            yield ("unclipped items would need infinite noise: give max_gradient_norm and max_feature_norm")

    @property
    def serves(self) -> frozenset[str]:
        return frozenset({"gradient", "features", "fit"})

    def check(self, recipe, card, network) -> None:
        if not network.per_sample:
            raise dd.RecipeRefused(
                "The network uses batch statistics, or layers that torch cannot take item by item (vmap): one item"
                " could change what the others say, and none can be clipped by itself. Take a norm of single items"
                ' (network.norm="instance" or "group").'
            )
        if network.stochastic:
            raise dd.RecipeRefused(
                "The network draws random numbers as it is trained (dropout), which this gate, where each item has a"
                " network to itself, cannot draw from the run's seed. Take it without (a dropout of 0)."
            )
        items = sum(card.counts)
        if self.delta >= 1 / items:
            raise dd.RecipeRefused(
                f"plugins.private.delta = {self.delta} would allow one of {card.name}'s {items} items to be published:"
                f" it must be well below 1/n = {1 / items:.2g}."
            )
        if self.noise_multiplier is None and self.requests is None:
            raise dd.RecipeRefused(
                "The private gate needs requests or noise_multiplier; a recipe that names the plugin"
                " ([plugins.private]) has one request an update filled in."
            )

    def for_rounds(self, rounds: int) -> PrivateGate:
        """The budget for ``rounds`` runs: sigma is solved for the requests of all of them."""
        return self if self.requests is None else replace(self, requests=self.requests * rounds)

    def build(self, source, rng) -> LivePrivateGate:
        return LivePrivateGate(self, source, rng)


class LivePrivateGate(dd.Gate):
    """Answers gradients and features with clipped, noised means, and counts each answer."""

    def __init__(self, plan: PrivateGate, source: dd.Source, rng: dd.Streams) -> None:
        super().__init__(source, rng)
        self.plan = plan
        self.account = Ledger(plan.epsilon, plan.delta)
        self.noise_multiplier = plan.noise_multiplier
        self._asked = 0
        self._kept: list[dict] = []

    def gradient(self, draw, groups, loss):
        draw, together = self.source.asked(draw)
        per_item = item_gradients(draw, loss)
        return self._answered(replace(draw, loss=loss), together, groups, per_item, self.plan.max_gradient_norm)

    def features(self, draw, groups):
        draw, together = self.source.asked(draw)
        answers = self._answered(draw, together, groups, item_features(draw), self.plan.max_feature_norm)
        return [answer["features"] for answer in answers]

    def clip_features(self, features):
        """S's features are clipped as T's are: norms of at most ``max_feature_norm``, differentiably."""
        limit = self.plan.max_feature_norm
        return (
            features if math.isinf(limit) else features * (limit / features.norm(dim=1, keepdim=True).clamp_min(limit))
        )

    def _answered(self, draw, together, groups, per_item, limit):
        """The noised means of a request; from the ``signals``-th request on those that were kept.

        Each of the processes ``together`` clips its share of the items; the noise, which is the same in all of them,
        is added once to their sum.
        """
        dd.disjoint(groups)
        if any(group.mixing is not None for group in groups):
            raise dd.RecipeRefused("A request mixes items, so no item's share can be clipped.")
        signals, number = self.plan.signals, self._asked
        if signals is not None and number >= signals:
            kept = self._kept[number % signals]
            if kept["network"] != fingerprint(draw.params):
                raise dd.RecipeRefused(
                    "plugins.private.signals gives kept answers again, but this network is not the one they were asked"
                    " for: take a policy whose networks do not depend on S (policy fresh), and one request an update."
                )
            self._asked += 1
            return kept["answers"]
        sizes = [self._size(group) for group in groups]
        rate = max(rate for rate, _ in sizes)
        if self.noise_multiplier is None:
            assert self.plan.requests is not None, "its check says so"
            self.noise_multiplier = noise_for(self.plan.epsilon, self.plan.delta, rate, self.plan.requests)
            self.account.allow(self.noise_multiplier, rate, self.plan.requests)
        self.account.spend(self.noise_multiplier, rate)
        silence = self._silence(per_item)
        sums = [
            self._clipped_sum(draw, together, group, share, per_item, limit, silence)
            for group, (share, _) in zip(groups, sizes, strict=True)
        ]
        answers = [
            self._noised(total, limit, expected)
            for total, (_, expected) in zip(together.summed(sums), sizes, strict=True)
        ]
        if signals is not None:
            self._kept.append({"network": fingerprint(draw.params), "answers": answers})
        self._asked += 1
        return answers

    def _size(self, group):
        """The sampling rate of ``group`` and the expected number of its items: both public."""
        counts = self.source.store.counts
        there = sum(counts if group.classes is None else (counts[c] for c in group.classes))
        if not there:
            raise ValueError(f"The classes {group.classes} have no item.")
        rate = 1.0 if group.size is None else min(1.0, group.size / there)
        return rate, rate * there

    def _clipped_sum(self, draw, together, group, rate, per_item, limit, silence):
        """The sum of what this process's share of the drawn items says, each clipped to ``limit``; ``silence`` where
        there is none."""
        rows = self.source.store.sample(self.rng.secret("poisson"), group.classes, rate)
        total = {name: value.clone() for name, value in silence.items()}
        if len(rows):
            batch = self.source.take(rows, draw, group)
            batch = batch[together.share(len(batch))]
            size = self.source.chunk(draw, tuple(batch.inputs.shape[1:]))
            for part in dd.slices(len(batch), size) if len(batch) else ():
                items = per_item(batch.inputs[part], batch.targets[part])
                for name, value in clipped_sum(items, limit).items():
                    total[name] += value
        return total

    def _silence(self, per_item):
        """Zeros in the shape of what an item says, so that an empty draw looks like any other."""
        nothing = torch.zeros(1, *self.source.store.inputs.shape[1:], device=self.source.device)
        target = torch.zeros(1, dtype=torch.long, device=self.source.device)
        said = per_item(self.source.preprocess(nothing), target)
        return {name: torch.zeros_like(value[0]) for name, value in said.items()}

    def _noised(self, total, limit, expected):
        sigma, generator = self.noise_multiplier, self.rng.secret("noise")
        if sigma:
            total = {
                name: value + sigma * limit * gaussian(value.shape, generator).to(value)
                for name, value in total.items()
            }
        return {name: value / expected for name, value in total.items()}

    def spent(self):
        return dd.Spent(self.account.spent(), self.plan.delta, self.account.requests)

    def facts(self):
        plan, history = self.plan, self.account.history
        epsilon, by_prv = self.account.accounted()
        opacus = f"of opacus {version('opacus')}"
        return {
            "privacy": {
                "mechanism": "Poisson sampling, each item clipped, Gaussian noise on the sum",
                "epsilon": _written(epsilon),
                "epsilon_by_rdp": _written(self.account.spent("rdp")),
                "delta": plan.delta,
                "budget": _written(plan.epsilon),
                "accountant": f"PRV {opacus}" if by_prv else f"RDP {opacus}, {INSTEAD_OF_PRV}",
                "neighbouring": "one item added or removed",
                "noise_multiplier": self.noise_multiplier or 0.0,
                "sampling_rates": sorted({rate for _, rate, _ in history}),
                "requests": self.account.requests,
                "max_gradient_norm": _written(plan.max_gradient_norm),
                "max_feature_norm": _written(plan.max_feature_norm),
                "public": ["item shape", "class counts", "preprocessing numbers", "recipe and its seed"],
                "not_covered": ["how long the run took and how much memory it needed", "other runs on the same data"],
            }
        }

    def state_dict(self):
        return {
            "ledger": self.account.state_dict(),
            "noise_multiplier": self.noise_multiplier,
            "asked": self._asked,
            "kept": self._kept,
        }

    def load_state_dict(self, state):
        self.account.load_state_dict(state["ledger"])
        self.noise_multiplier = state["noise_multiplier"]
        self._asked, self._kept = state["asked"], state["kept"]

    def ledger(self):
        return {"ledger": self.account.state_dict(), "noise_multiplier": self.noise_multiplier}

    def load_ledger(self, before):
        """What was spent before counts as spent, and sigma, once solved, stays: ``requests`` are of all runs."""
        self.account.load_state_dict(before["ledger"])
        if self.plan.noise_multiplier is None:
            self.noise_multiplier = before["noise_multiplier"]


def _written(number: float) -> float | str:
    """JSON has no infinity."""
    return "infinite" if math.isinf(number) else number


def item_gradients(draw: dd.Draw, loss: dd.ItemLoss):
    """A function of inputs (n, ...) and targets (n, ...): each item's loss gradient, (n, ...) by parameter."""

    def of_one(params, x, y):
        return loss(draw(x[None], params), y[None]).sum()

    each = vmap(grad(of_one), in_dims=(None, 0, 0), randomness="different")
    params = {name: value.detach() for name, value in draw.params.items()}
    return lambda inputs, targets: each(params, inputs, targets)


def item_features(draw: dd.Draw):
    """A function of inputs (n, ...) and targets: each item's feature, by itself whatever the network does: (n, d)."""
    each = vmap(lambda x: draw(x[None], features=True)[0], randomness="different")

    def features(inputs, targets):
        with torch.no_grad():
            return {"features": each(inputs)}

    return features


def clipped_sum(items: dd.Params, limit: float) -> dd.Params:
    """sum_i x_i min(1, limit / ||x_i||), the norm taken over all tensors of item i; items (n, ...).

    An item that is not finite says nothing.
    """
    norms = torch.stack([value.flatten(1).square().sum(1) for value in items.values()]).sum(0).sqrt()
    factors = torch.where(norms.isfinite(), (limit / norms).clamp(max=1), 0)
    if not bool(norms.isfinite().all()):
        items = {name: value.nan_to_num(0, 0, 0) for name, value in items.items()}
    return {name: torch.tensordot(factors, value, 1) for name, value in items.items()}


def gaussian(shape: torch.Size, generator: torch.Generator) -> torch.Tensor:
    """Standard normal numbers, each the half of a sum of four.

    A single floating-point draw betrays by its last bits what was added to it; of a sum of four, guessing them all
    is out of reach. Reference: Holohan and Braghin, Secure Random Sampling in Differential Privacy, ESORICS 2021.
    """
    return torch.randn((4, *shape), generator=generator).sum(0) / 2


def fingerprint(params: dd.Params) -> str:
    digest = hashlib.sha256()
    for value in params.values():
        digest.update(value.detach().cpu().numpy().tobytes())
    return digest.hexdigest()
