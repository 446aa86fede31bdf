"""Experts: networks whose way through training on T is kept."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from ddcore.augment.siamese import Siamese
from ddcore.context import Context
from ddcore.errors import RecipeRefused
from ddcore.files import write_whole
from ddcore.gate.fit import Fit
from ddcore.optimisers import Sgd
from ddcore.packing import to_dict
from ddcore.policies.base import Policy
from ddcore.policies.training import trained_on
from ddcore.rng import Streams
from ddcore.synthetic import SyntheticSet
from ddcore.types import Draw, Params

CARD = "buffer.json"


@dataclass(frozen=True)
class Experts(Policy):
    """Each step is at a random snapshot of a random expert, with the snapshot ``span`` further on as its target.

    An expert is a network trained on T as ``fit`` says; its snapshots are numbered from 0, the start. Experts are
    trained when they are first drawn, each from streams of its own that depend on ``seed`` alone; the run may be left
    in between. The start is
    uniform from ``first`` to ``last``; where ``grown`` is given, the upper end grows evenly from ``last`` to it over
    the first ``growth`` steps. ``noise`` is the deviation of normal noise that is added to the start.

    ``store`` names a folder where trained experts lie, for other runs to share: each buffer in a folder below, named
    by a hash of network, fit, seed, and T as the gate shows it. A folder that is a buffer itself is taken as it is,
    and refused where it was made otherwise. ``half`` stores them in half precision. Without a store they stay in the
    run and in its checkpoint.

    Reference: Cazenavette et al., CVPR 2022, Section 3; the growing window Guo et al., ICLR 2024, Section 3.2; noise
    on the start Lei and Tao, TPAMI 2024, on FTD.
    """

    experts: int = 5
    fit: Fit = Fit(None, 20, 64, snapshots=20, augment=Siamese(), optimiser=Sgd(momentum=0.0))
    first: int = 0
    last: int = 5
    grown: int | None = None
    growth: int = 1000
    span: int = 2
    noise: float = 0.0
    seed: int = 0
    store: str | None = None
    half: bool = False

    def faults(self) -> Iterator[str]:
        if min(self.experts, self.span, self.growth) < 1 or not 0 <= self.first <= self.last:
            yield (
                f"policy: experts = {self.experts}, span = {self.span} and growth = {self.growth} must be at least 1,"
                f" and first = {self.first} at most last = {self.last}."
            )
        if self.grown is not None and self.grown < self.first:
            yield (f"policy: grown = {self.grown} must be at least first = {self.first}.")
        reach = max(self.last, self.grown or 0) + self.span
        if reach > self.fit.snapshots:
            yield (
                f"policy: a start at snapshot {reach - self.span} and {self.span} further reach snapshot {reach}, but"
                f" an expert has {self.fit.snapshots}. Lower last, grown or span, or raise fit's epochs and snapshots."
            )

    @property
    def gives(self) -> frozenset[str]:
        return frozenset({"target"})

    def draw(self, state: dict[str, Any], synthetic: SyntheticSet, ctx: Context) -> Draw:
        generator = ctx.rng["policy"]
        if "chosen" not in state:
            number = int(torch.randint(self.experts, (), generator=generator))
            last = self.last
            if self.grown is not None:
                last += round((self.grown - self.last) * min(1.0, ctx.step() / self.growth))
            state["chosen"] = [number, int(torch.randint(self.first, last + 1, (), generator=generator))]
        number, start = state["chosen"]
        begun = replace(ctx.fresh(Streams(self._seed(number))), network=ctx.network)
        params, target = self._snapshots(state, number, (start, start + self.span), begun.params, ctx)
        del state["chosen"]
        if self.noise:
            params = {
                name: w + self.noise * torch.randn(w.shape, generator=generator).to(w) for name, w in params.items()
            }
        age = round(self.fit.length(sum(ctx.card.counts)) * start / self.fit.snapshots)
        return replace(begun, params=params, target=target, age=age)

    def _seed(self, number: int) -> int:
        return self.seed * 1_000_003 + number

    def _snapshots(
        self, state: dict[str, Any], number: int, which: tuple[int, ...], like: Params, ctx: Context
    ) -> list[Params]:
        """The snapshots ``which`` of an expert, with the names and shapes of ``like``."""
        if self.store is None:
            kept = state.setdefault("experts", {})
            if str(number) not in kept:
                kept[str(number)] = self._trained(state, number, ctx)
            return [kept[str(number)][t] for t in which]
        if "buffer" not in state:
            state["buffer"] = str(buffer(Path(self.store), self._card(ctx)))
        path = Path(state["buffer"]) / f"expert-{number:04}.safetensors"
        if not path.exists():
            write_expert(path, self._trained(state, number, ctx), self.half)
        return [{n: v.to(ctx.device) for n, v in read_snapshot(path, t, like).items()} for t in which]

    def _trained(self, state: dict[str, Any], number: int, ctx: Context) -> list[Params]:
        """The snapshots of one expert, its start first."""
        told = f"training expert {number + 1} of {self.experts}"
        return trained_on(state, self.fit, told, ctx, Streams(self._seed(number)))[0]

    def _card(self, ctx: Context) -> dict[str, Any]:
        """What a buffer of this policy is made of. Raises RecipeRefused where the gate's answers must not be shared."""
        data = ctx.gate.fingerprint
        if data is None:
            raise RecipeRefused(
                "policy.store shares experts between runs, but what this gate answers is this run's own (it keeps an"
                " account, or has views): leave store out."
            )
        return {
            "network": fingerprint(ctx),
            "data": data,
            "fit": to_dict(self.fit),
            "seed": self.seed,
            "half": self.half,
        }


METADATA = {
    "network": "another network",
    "data": "other data, or under another preprocessing or other views",
    "fit": "another fit (its length, rate or batches)",
    "seed": "another seed",
    "half": "another precision",
}


def fingerprint(ctx: Context) -> str:
    """The run's network as a hash: its structure, and what it answers at a known start."""
    params, buffers = ctx.network.init(torch.Generator().manual_seed(0))
    ramp = torch.linspace(-1, 1, math.prod(ctx.card.shape)).view(ctx.card.shape)
    probe = torch.stack([ramp, -ramp])
    with torch.no_grad():
        logits = ctx.network_of(Streams(0))(params, buffers, probe)
    said = f"{ctx.network!r} {[f'{value:.3g}' for value in logits.flatten().tolist()]}"
    return hashlib.sha256(said.encode()).hexdigest()


def buffer(store: Path, card: dict[str, Any]) -> Path:
    """The folder of the buffer that ``card`` describes: ``store`` if it is a buffer, else one below it.

    Raises:
        RecipeRefused: ``store`` is a buffer that was made otherwise.
    """
    if not (store / CARD).exists():
        digest = hashlib.sha256(json.dumps(card, sort_keys=True).encode()).hexdigest()
        folder = store / digest[:16]
        if not (folder / CARD).exists():
            write_whole(folder / CARD, (json.dumps(card, indent=2) + "\n").encode())
        return folder
    try:
        found = json.loads((store / CARD).read_text())
    except ValueError as error:
        raise RecipeRefused(f"{store / CARD} is damaged: {error}.") from error
    for name, what in METADATA.items():
        if found.get(name) != card[name]:
            raise RecipeRefused(
                f"policy.store = {str(store)!r} holds experts of {what} ({name}: {found.get(name)}, here {card[name]})."
                " Name its parent folder to have fitting ones trained, or take the recipe that it was made by."
            )
    return store


def write_expert(path: Path, way: list[Params], half: bool) -> None:
    """The snapshots of one expert, whole or not at all."""
    cast: Callable[[torch.Tensor], torch.Tensor] = torch.Tensor.half if half else torch.Tensor.float
    tensors = {f"{t}/{name}": cast(value).cpu() for t, point in enumerate(way) for name, value in point.items()}
    write_whole(path, save(tensors))


def read_snapshot(path: Path, t: int, like: Params) -> Params:
    """Snapshot ``t``, in float32, with the names and shapes of ``like``.

    Raises:
        RecipeRefused: a file that is damaged or another network's.
    """
    try:
        with safe_open(path, framework="pt") as file:
            found = {name: file.get_tensor(f"{t}/{name}").float() for name in like}
    except (SafetensorError, OSError) as error:
        raise RecipeRefused(f"{path} is not a whole expert of this network ({error}). Delete it.") from error
    for name, value in like.items():
        if found[name].shape != value.shape:
            raise RecipeRefused(f"{path} is of another network: {name} is {tuple(found[name].shape)} in it.")
    return found
