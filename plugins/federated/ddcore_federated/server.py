"""What the server makes of the sets that clients have sent: the next weights."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import torch

from ddcore import plugin as dd
from ddcore_federated.around import finite, norm
from ddcore_federated.shared import Shared, union

log = logging.getLogger("ddcore_federated")


class Server(dd.Part, kind="server"):
    """How weights follow from sets."""

    @property
    def replays(self) -> bool:
        """It takes the steps that sets bring, which hold from the weights of their own round only."""
        return False

    def check_shared(self, shared: Shared, card: dd.DataCard) -> None:
        """Raises BadArtefact where ``shared`` is not a set of the problem ``card`` that the server can use."""
        shared.check(card)

    @abstractmethod
    def next_weights(
        self,
        weights: dd.Params,
        sets: Sequence[Shared],
        network: dd.Network,
        card: dd.DataCard,
        rng: dd.Streams,
        device: str | torch.device = "cpu",
        progress: dd.Progress | None = None,
    ) -> dd.Params:
        """The weights after a round that began at ``weights`` and in which clients sent ``sets``.

        Raises:
            BadArtefact: a set that :meth:`check_shared` refuses, or sets that do not go together.
            LossDiverged: training on the sets leads to weights that are not finite.
        """


REPLAY = dd.Protocol(steps=30, optimiser=dd.Sgd(momentum=0.0), lr=(0.02,), augment=None, replay=True, repeats=1)
"""Training that takes the steps that a set brings, as it brings them."""


def _usual() -> dd.Protocol:
    return dd.Protocol(steps=300, lr=(3e-3,), augment=None, repeats=1)


@dataclass(frozen=True)
class TrainOnUnion(Server):
    """Trains the network on all sets together.

    A ``training`` that replays (:data:`REPLAY`) takes the steps of the sets in turn, one of each.

    **Reference**: ``radius``, Xiong et al., FedDM, CVPR 2023.
    """

    training: dd.Protocol = field(default_factory=_usual)
    """How it is trained: one network, at one learning rate."""
    fresh: bool = False
    """Whether it starts from new weights instead of those of the round."""
    radius: dd.Positive | None = None
    """Radius of the ball around the weights of the round to which weights are brought back after each step: the sets
    were made for networks in that ball. None for no limit."""

    def faults(self) -> Iterator[str]:
        if self.radius is not None and self.fresh:
            yield "radius stays near the weights of the round, and fresh leaves them: give one of them"
        if len(self.training.lr) > 1 or self.training.repeats != 1:
            yield "training: one network is trained, at one lr, so repeats must be 1"

    @property
    def replays(self) -> bool:
        return self.training.replay

    def next_weights(self, weights, sets, network, card, rng, device="cpu", progress=None):
        for shared in sets:
            self.check_shared(shared, card)
        together = union(sets, card.classes)
        start = network if self.fresh else at(network, weights)
        lr = self.training.lr[0]
        if self.training.learned_lr and together.step_sizes is not None:
            lr = float(together.step_sizes.mean())
        held = None if self.radius is None else ball(weights, self.radius, device)
        return trained(start, together, card, self.training, lr, rng, device, "training on the union", progress, held)


@dataclass(frozen=True)
class ReplayEach(Server):
    """w + ``lr`` sum_k n_k / n (w_k - w): each set's own steps are taken from w, and the updates averaged.

    n_k are the real items behind set k; a set that leads to weights that are not finite is left out, with a warning.

    **References**: Goetz and Tewari, 2020, for sets of one step; Hu et al., FedSynth, 2022, for more.
    """

    lr: dd.Positive = 1.0
    """The server's learning rate; 1 takes the averaged update as it is."""

    @property
    def replays(self) -> bool:
        return True

    def check_shared(self, shared: Shared, card: dd.DataCard) -> None:
        super().check_shared(shared, card)
        if shared.order is None:
            raise dd.BadArtefact(
                "The set brings no steps to replay: take recipes that learn some (goetz_tewari, fedsynth, dosfl), or"
                " the server train_on_union."
            )

    def next_weights(self, weights, sets, network, card, rng, device="cpu", progress=None):
        if not sets:
            raise dd.BadArtefact("No set has come, so there is nothing to replay.")
        for shared in sets:
            self.check_shared(shared, card)
        moves, behind = [], []
        for i, shared in enumerate(sets):
            try:
                reached = trained(at(network, weights), shared, card, REPLAY, 0.0, rng, device)
            except dd.LossDiverged as why:
                log.warning("Set %d of %d is left out: %s", i + 1, len(sets), why)
            else:
                moves.append({name: reached[name] - value for name, value in weights.items()})
                behind.append(shared.items)
            if progress:
                progress("replaying the sets", i + 1, len(sets))
        if not moves:
            raise dd.LossDiverged("Not one of the sets leads to weights that are finite.")
        shares = [items / sum(behind) if sum(behind) else 1 / len(moves) for items in behind]
        return {
            name: value + self.lr * sum(share * move[name] for share, move in zip(shares, moves, strict=True))
            for name, value in weights.items()
        }


def at(network: dd.Network, weights: dd.Params) -> dd.Started:
    """``network``, beginning at ``weights``."""
    return dd.Started(network, lambda generator: ({name: v.clone() for name, v in weights.items()}, {}))


def ball(weights: dd.Params, radius: float, device: str | torch.device):
    """Brings a net side by side with none (1, ...) back to the ball of ``radius`` round ``weights``, in place."""
    centre = {name: value[None].to(device) for name, value in weights.items()}

    def back(params: dd.Params) -> None:
        way = {name: value - centre[name] for name, value in params.items()}
        scale = (radius / norm(way).clamp_min(1e-12)).clamp(max=1)
        for name, value in params.items():
            value.copy_(centre[name] + scale * way[name])

    return back


def trained(network, shared, card, protocol, lr, rng, device, told="replaying a set", progress=None, after_step=None):
    """The weights of one net that was trained on ``shared``, on the CPU."""
    augment = protocol.augment.fitted(card) if protocol.augment else None
    draw = dd.train(
        network,
        shared,
        card,
        replace(protocol, augment=augment),
        lr,
        [0],
        rng.seed,
        torch.device(device),
        told,
        progress,
        after_step=after_step,
    )
    if not finite(draw.params):
        raise dd.LossDiverged(
            f"{told.capitalize()} led to weights that are not finite: values of the sets are too large, or step sizes."
        )
    return {name: value[0].cpu() for name, value in draw.params.items()}
