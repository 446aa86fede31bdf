"""Methods that make proxies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ddcore import plugin as dd
from ddcore_nas.papers import EL2N


@dataclass(frozen=True)
class Scored(dd.Judged):
    """Real items by their score || softmax( f(x) ) - onehot(y) ||, with f one network trained on T for a short time.

    **Reference**: Paul et al., NeurIPS 2021, Section 2 (EL2N).

    **Differs**: the score of one network, theirs is the mean of ten.
    """

    classes_only = True

    fit: dd.Fit = dd.Fit(steps=50)
    """How the network that scores is trained."""
    keeps: Literal["easy", "hard"] = "easy"
    """Which items of each class are taken: those of the lowest or of the highest scores. Few items represent a class
    by its easy ones; published, for half of T and more: ``hard``."""

    def choose(self, c: int, ctx: dd.Context, draw: dd.Draw | None) -> tuple[Tensor, Tensor]:
        assert draw is not None
        (batch,) = ctx.gate.examples([dd.Group(classes=(c,))])
        with torch.no_grad():
            size = dd.chunk_size(draw, ctx.card.shape)
            shares = torch.cat([draw(batch.inputs[part], training=False) for part in dd.slices(len(batch), size)])
        error = shares.softmax(1)
        error[:, c] -= 1
        order = error.norm(dim=1).argsort(descending=self.keeps == "hard", stable=True)
        rows = order[: self.per_class(ctx.card)[c]].cpu()
        return batch.inputs[rows], batch.targets[rows]


@dd.method(EL2N)
def el2n(ipc: int = 1) -> dd.Recipe:
    """``ipc`` real images per class, chosen by the error of a network that was trained on T for a short time.

    The items of each class with the lowest score || softmax( f(x) ) - onehot(y) ||.

    **Reference**: Paul et al., NeurIPS 2021, Section 2.

    **Differs**: the easiest items of each class, of which few represent it better; the paper keeps the hardest, half of
    T and more (``synthetic.keeps=hard``).
    """
    return dd.Recipe("el2n", synthetic=Scored(ipc))
