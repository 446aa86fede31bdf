"""Experts: networks whose way through training on T is kept."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Len
from pydantic import Field

from ddcore.augment.siamese import Siamese
from ddcore.bounds import Count, FilePath, NotNegative, Share, Whole
from ddcore.context import Context
from ddcore.device import all_sent
from ddcore.errors import RecipeRefused
from ddcore.files import write_whole
from ddcore.gate.fit import Fit
from ddcore.networks.probe import predicted_shares
from ddcore.optimisers import Sgd
from ddcore.packing import to_dict
from ddcore.policies.base import Policy
from ddcore.policies.memory import Nothing, Number, Parameters, State, TrainingState, check_training
from ddcore.policies.training import trained_on
from ddcore.ranks import ranks
from ddcore.rng import Streams
from ddcore.synthetic import SyntheticSet
from ddcore.tensors import read_tensors, write_tensors
from ddcore.types import Draw, Group, Network, Params

CARD = "buffer.json"


class ExpertsState(State):
    """Where the experts stand, by number: in memory, or in which folder."""

    experts: dict[str, list[Parameters]] = Field(default_factory=dict)
    buffer: str = ""
    chosen: Annotated[list[Number], Len(2, 2)] = Field(default_factory=lambda: [0, 0])
    reach: dict[str, float] = Field(default_factory=dict)
    training: TrainingState | Nothing = Nothing()


@dataclass(frozen=True)
class Experts(Policy):
    """Each step is at a random snapshot of a random expert, with the snapshot ``span`` further on as its target.

    An expert is a network trained on T; its snapshots are numbered from 0, the start. Experts are trained when they are
    first drawn, each from its own streams that depend on ``seed`` alone; the run may be interrupted in between.

    **References**: Cazenavette et al., CVPR 2022, Section 3; ``grown``, Guo et al., ICLR 2024, Section 3.2; ``noise``,
    Lei and Tao, TPAMI 2024, on FTD; ``along``, Zhang et al., DANCE, IJCAI 2024, the middle encoders.
    """

    memory: ClassVar[Any] = ExpertsState

    experts: Count = 5
    """Number of experts. Published: 100."""
    fit: Fit = Fit(None, 20, 64, snapshots=20, augment=Siamese(), optimiser=Sgd(momentum=0.0))
    """How each expert is trained on T, and how many snapshots are kept."""
    first: Whole = 0
    """Earliest snapshot that a step starts at."""
    last: Whole = 5
    """Latest snapshot that a step starts at; starts are uniform between the two. Published by ipc 1, 10, 50: 1, 19,
    39, of which the authors' code names the next."""
    grown: Whole | None = None
    """Where the latest start ends up, growing evenly from ``last`` over the first ``growth`` steps; None to keep it."""
    growth: Count = 1000
    """Steps of S over which the latest start grows."""
    span: Count = 2
    """Snapshots from a start to its target. Published: 2 or 3."""
    along: Share = 0.0
    """Largest share of the straight way to its target by which a start is moved, uniform from none to that: with 1,
    networks of every stage between two that are kept. 0 for snapshots alone."""
    noise: NotNegative = 0.0
    """Standard deviation of normal noise that is added to the start."""
    seed: Whole = 0
    """Seed of the experts, apart from the run's."""
    store: FilePath | None = None
    """Folder where trained experts are kept for other runs to share: each buffer in a folder below, named by a hash of
    network, fit, seed, and T as the gate shows it. A folder that is a buffer itself is used as it is, and refused where
    it was made otherwise. None to keep them in the run and its checkpoint."""
    half: bool = False
    """Whether stored experts are in half precision."""
    judged: Whole = 32
    """Items of each class of T by which each expert is judged at its end; the card's ``experts_reach`` is their mean
    accuracy in percent, and S teaches no more than they know. 0 for none. A gate that guards T is not asked."""

    def faults(self) -> Iterator[str]:
        if self.first > self.last:
            yield f"first = {self.first}: it must be at most last = {self.last}"
        if self.grown is not None and self.grown < self.first:
            yield f"grown = {self.grown}: it must be at least first = {self.first}"
        reach = max(self.last, self.grown or 0) + self.span
        if reach > self.fit.snapshots:
            yield (
                f"a start at snapshot {reach - self.span} and {self.span} further reach snapshot {reach}, but an expert"
                f" has {self.fit.snapshots}: lower last, grown or span, or raise fit's epochs and snapshots"
            )

    def check_state(self, state: dict[str, Any], network: Network) -> None:
        super().check_state(state, network)
        check_training(state, self.fit)
        number, start = state.get("chosen", (0, 0))
        if number >= self.experts or not start <= max(self.last, self.grown or 0):
            raise ValueError(f"it is to start at snapshot {start} of expert {number}")
        if any(len(way) != self.fit.snapshots + 1 for way in state.get("experts", {}).values()):
            raise ValueError(f"an expert has not {self.fit.snapshots} snapshots")

    @property
    def asks(self) -> frozenset[str]:
        return super().asks | ({"features"} if self.judged else set())

    @property
    def gives(self) -> frozenset[str]:
        return frozenset({"target"})

    @property
    def fits(self) -> int:
        return self.experts

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
        if self._unjudged(state, number, ctx):
            (end,) = self._snapshots(state, number, (self.fit.snapshots,), begun.params, ctx)
            state.setdefault("reach", {})[str(number)] = self._reach(number, replace(begun, params=end), ctx)
        del state["chosen"]
        if self.along:
            share = self.along * float(torch.rand((), generator=generator))
            params = {name: w.lerp(target[name], share) for name, w in params.items()}
        if self.noise:
            params = {
                name: w + self.noise * torch.randn(w.shape, generator=generator).to(w) for name, w in params.items()
            }
        age = round(self.fit.length(sum(ctx.card.counts)) * start / self.fit.snapshots)
        return replace(begun, params=params, target=target, age=age)

    def facts(self, state: dict[str, Any]) -> dict[str, Any]:
        reach = state.get("reach", {})
        return {"experts_reach": round(100 * fmean(reach.values()), 1)} if reach else {}

    def buffer(self, ctx: Context) -> tuple[Path, dict[str, Any]]:
        """The folder of ``store`` where the experts of a run are kept, or will be, and what its card says of them.

        Raises:
            RecipeRefused: ``store`` is a buffer that was made otherwise, or the gate's answers must not be shared.
        """
        assert self.store is not None
        card = self._card(ctx)
        return buffer(Path(self.store), card), card

    def _unjudged(self, state: dict[str, Any], number: int, ctx: Context) -> bool:
        """An expert that is to be judged, and has not been."""
        asked = self.judged and not ctx.gate.source.guard and not ctx.card.values
        return bool(asked) and str(number) not in state.get("reach", {})

    def _reach(self, number: int, end: Draw, ctx: Context) -> float:
        """The share of T that an expert classifies rightly at its ``end``, by draws of its own."""
        there = [c for c, count in enumerate(ctx.card.counts) if count]
        gate = ctx.gate.with_streams(Streams(self._seed(number)))
        shares = gate.features(predicted_shares(end), [Group((c,), self.judged) for c in there])
        right = torch.stack([share[c] * ctx.card.counts[c] for c, share in zip(there, shares, strict=True)]).sum()
        return float(right) / sum(ctx.card.counts)

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
            folder, card = self.buffer(ctx)
            if not (folder / CARD).exists():
                write_whole(folder / CARD, (json.dumps(card, indent=2) + "\n").encode())
            state["buffer"] = str(folder)
        path = Path(state["buffer"]) / f"expert-{number:04}.safetensors"
        if not ranks().told(path.exists()):
            trained = self._trained(state, number, ctx)
            if ranks().first:
                write_expert(path, trained, self.half)
            ranks().wait()
        return [all_sent(read_snapshot(path, t, like), ctx.device) for t in which]

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
        return store / hashlib.sha256(json.dumps(card, sort_keys=True).encode()).hexdigest()[:16]
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
    write_tensors(path, tensors)


def read_snapshot(path: Path, t: int, like: Params) -> Params:
    """Snapshot ``t``, in float32, with the names and shapes of ``like``.

    Raises:
        RecipeRefused: a file that is damaged or another network's.
    """
    names = [f"{t}/{name}" for name in like]
    held, _ = read_tensors(path, RecipeRefused, "It should hold an expert of this network: delete it.", names)
    found = {name: held[f"{t}/{name}"].float() for name in like}
    for name, value in like.items():
        if found[name].shape != value.shape:
            raise RecipeRefused(f"{path} is of another network: {name} is {tuple(found[name].shape)} in it.")
    return found
