"""What a gate is held to."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ddcore.composition import Recipe
from ddcore.data import RealData
from ddcore.errors import RecipeRefused
from ddcore.gate.base import DISCLOSURES, Gate, GatePlan
from ddcore.gate.open import Open
from ddcore.host import Host
from ddcore.losses import LOSSES
from ddcore.rng import Streams
from ddcore.store import Store
from ddcore.testing.base import Check, Untried
from ddcore.testing.contract import check_part
from ddcore.testing.tiny import tiny_vectors
from ddcore.testing.trial import rated, run_faults, tiny_recipe, trial
from ddcore.types import Draw, Group

FAR = (1e4, 1e8)
"""Factors of an outlier: what a gate that guards tells of the one and of the other is the same."""
LEEWAY = 1e-3


@Check
def check_gate(
    plan: GatePlan,
    *,
    identity: GatePlan | None = None,
    recipe: Recipe | None = None,
    data: RealData | None = None,
    host: Host | None = None,
) -> Iterator[str]:
    """It keeps the contract of parts; it answers what it serves, in the shapes that parts expect, and refuses groups
    that overlap; one that guards counts each answer before it gives it, takes back its state and its ledger, and tells
    no more of an outlier however far out it lies. ``identity`` is the plan with settings that change nothing: its
    answers are those of the open gate.

    It is tried in ``recipe``, by default DM from noise.
    """
    name, host = plan.part_name(), host or Host()
    yield from check_part.faults(plan, host.catalogue)
    if unknown := sorted(plan.serves - {*DISCLOSURES}):
        yield f"{name} serves {', '.join(unknown)}, which nobody asks: a gate serves some of {', '.join(DISCLOSURES)}."
    probe = Probe(host, tiny_vectors())
    try:
        plan.check(tiny_recipe(data=probe.data, host=host), probe.data.card, probe.network)
    except RecipeRefused as refused:
        raise Untried(f"{name} could not be tried as it is: give the check other settings. ({refused})") from refused
    yield from _answer_faults(plan, probe, name)
    if identity is not None:
        yield from _identity_faults(identity, probe, name)
    if plan.guards:
        yield from _spending_faults(plan, probe, name)
        yield from _outlier_faults(plan, probe, name)
    recipe = recipe or _from_noise(plan, data, host)
    yield from run_faults(trial(plan, recipe, data, host), name)


def _from_noise(plan: GatePlan, data: RealData | None, host: Host) -> Recipe | None:
    """DM that begins with noise, where the gate shows no examples."""
    if "examples" in plan.serves:
        return None
    recipe = tiny_recipe(data=data, host=host, iterations=3, overrides={"synthetic.init": "noise"})
    return recipe if data is None else rated(recipe, data.card)


class Probe:
    """A question to gates: the gradients and features of each class, at one network."""

    def __init__(self, host: Host, data: RealData) -> None:
        self.data = data
        self.network = host.kind("vector").network.ready(data.card)
        self.params, self.buffers = self.network.init(torch.Generator().manual_seed(0))

    @property
    def draw(self) -> Draw:
        return Draw(self.network, self.params, {name: value.clone() for name, value in self.buffers.items()})

    def live(self, plan: GatePlan, store: Store | None = None, state: dict[str, Any] | None = None) -> Gate:
        """``plan`` at work on ``store``; its streams as in ``state``."""
        rng = Streams(0)
        gate = plan.live(store or self.data.train, (), rng, torch.device("cpu"))
        if state is not None:
            rng.load_state_dict(deepcopy(state))
        return gate

    def groups(self) -> list[Group]:
        return [Group(classes=(c,)) for c in range(self.data.card.classes)]

    def ask(self, gate: Gate, disclosure: str) -> list[dict[str, Tensor]]:
        if disclosure == "gradient":
            return gate.gradient(self.draw, self.groups(), LOSSES["cross_entropy"])
        if disclosure == "features":
            return [{"feature": feature} for feature in gate.features(self.draw, self.groups())]
        if disclosure == "statistics":
            return [gate.statistics()]
        return [{"inputs": b.inputs, "targets": b.targets.float()} for b in gate.examples(self.groups())]


def _asked(plan: GatePlan) -> list[str]:
    return sorted(plan.serves & {*DISCLOSURES} - {"fit"})


def _answer_faults(plan: GatePlan, probe: Probe, name: str) -> Iterator[str]:
    held = {key: value.clone() for key, value in probe.params.items()}
    for disclosure in _asked(plan):
        gate = probe.live(plan)
        answer = probe.ask(gate, disclosure)
        wanted = probe.ask(probe.live(Open()), disclosure)
        shapes = [[{key: tuple(t.shape) for key, t in one.items()} for one in told] for told in (answer, wanted)]
        if disclosure != "examples" and shapes[0] != shapes[1]:
            yield f"{name} answers {disclosure} in the shapes {shapes[0]}: parts expect {shapes[1]}."
        if any(t.requires_grad for one in answer for t in one.values()):
            yield f"{name}: what it tells of {disclosure} can be differentiated: detach it."
        if not all(bool(t.isfinite().all()) for one in answer for t in one.values()):
            yield f"{name}: what it tells of {disclosure} is not finite."
    if any(not torch.equal(value, held[key]) for key, value in probe.params.items()):
        yield f"{name} changes the parameters it is asked at: work on copies of draw.params."
    twice = [Group(classes=(0,)), Group(classes=(0, 1))]
    asks = {
        "gradient": lambda gate: gate.gradient(probe.draw, twice, LOSSES["cross_entropy"]),
        "features": lambda gate: gate.features(probe.draw, twice),
    }
    for disclosure in sorted(plan.serves & asks.keys()):
        try:
            asks[disclosure](probe.live(plan))
        except ValueError:
            continue
        yield f"{name} answers {disclosure} of groups that overlap: begin with dd.disjoint(groups)."


def _identity_faults(plan: GatePlan, probe: Probe, name: str) -> Iterator[str]:
    for disclosure in _asked(plan):
        answer, wanted = (probe.ask(probe.live(each), disclosure) for each in (plan, Open()))
        for told, open_ in zip(answer, wanted, strict=True):
            if any(not torch.allclose(told[key], open_[key], rtol=1e-4, atol=1e-6) for key in open_):
                yield (
                    f"{name}: with settings that change nothing, {plan}, its {disclosure} are not those of the open"
                    " gate: means are over the items of each group."
                )
                break


def _spending_faults(plan: GatePlan, probe: Probe, name: str) -> Iterator[str]:
    for disclosure in _asked(plan):
        gate = probe.live(plan)
        before, ledger = gate.spent(), deepcopy(gate.ledger())
        probe.ask(gate, disclosure)
        after = gate.spent()
        if before is None or after is None:
            yield f"{name} guards and keeps no account: let spent() answer a dd.Spent."
            return
        if after.requests <= before.requests or gate.ledger() == ledger:
            yield f"{name} tells {disclosure} and does not count it: enter it in spent() and ledger() before it leaves."
            continue
        twin = probe.live(plan, state=gate.rng.state_dict())
        twin.load_state_dict(deepcopy(gate.state_dict()))
        heir = probe.live(plan)
        heir.load_ledger(deepcopy(gate.ledger()))
        if twin.spent() != after or heir.spent() != after:
            yield f"{name} forgets what was spent: state_dict and ledger bring all of it back in a new gate."
        one, other = (probe.ask(each, disclosure) for each in (gate, twin))
        if any(not torch.equal(a[key], b[key]) for a, b in zip(one, other, strict=True) for key in a):
            yield f'{name} answers otherwise after a stop: draw all noise and samples from rng.secret("{name}").'


def _outlier_faults(plan: GatePlan, probe: Probe, name: str) -> Iterator[str]:
    """One item far out, and the same farther: under the same noise a bounded answer does not change."""
    state = probe.live(plan).rng.state_dict()
    for disclosure in _asked(plan):
        far = [probe.ask(probe.live(plan, _with_outlier(probe.data.train, f), state), disclosure) for f in FAR]
        for near, farther in zip(*far, strict=True):
            moved = max(float((near[key] - farther[key]).norm()) for key in near)
            size = max(float(near[key].norm()) for key in near)
            if not moved <= LEEWAY * (1 + size):
                yield (
                    f"{name} lets one item far out move its {disclosure} by {moved:.3g}: clip what each item says to a"
                    " norm before they are added up."
                )
                break


def _with_outlier(store: Store, factor: float) -> Store:
    """``store`` whose first item of class 0 lies ``factor`` times as far out."""
    inputs = store.inputs
    assert isinstance(inputs, Tensor)
    inputs = inputs.clone()
    inputs[0] *= factor
    return replace(store, inputs=inputs)
