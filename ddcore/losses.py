"""Losses that targets are made for: one number per item."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from torch import Tensor
from torch.nn import functional as F

from ddcore.types import ItemLoss


def cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of logits (n, k) and classes (n,) or shares of the classes (n, k), one value per item (n,).

    Shares of fewer classes than there are outputs leave nothing to the rest.
    """
    return F.cross_entropy(outputs, _as_wide(targets, outputs), reduction="none")


def squared(outputs: Tensor, targets: Tensor) -> Tensor:
    """Half the squared distance of outputs (n, k) from targets (n, k), summed over classes: one value per item (n,).

    Targets of fewer classes than there are outputs are 0 for the rest.
    """
    return (outputs - _as_wide(targets, outputs)).square().sum(1) / 2


def error_norm(logits: Tensor, c: int) -> Tensor:
    """|| softmax( z ) - onehot( c ) || of each of n items of class ``c``, from their ``logits`` z (n, k): (n,).

    **Reference**: Paul et al., NeurIPS 2021, Section 2 (EL2N).
    """
    error = logits.softmax(1)
    error[:, c] -= 1
    return error.norm(dim=1)


def _as_wide(targets: Tensor, outputs: Tensor) -> Tensor:
    missing = outputs.shape[1] - targets.shape[1] if targets.ndim == 2 else 0
    return F.pad(targets, (0, missing)) if missing > 0 else targets


LossName = Literal["cross_entropy", "squared"]
LOSSES: Mapping[LossName, ItemLoss] = MappingProxyType({"cross_entropy": cross_entropy, "squared": squared})
"""The losses that targets may be made for."""
