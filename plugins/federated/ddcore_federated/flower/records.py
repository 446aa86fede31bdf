"""Weights and sets as Flower's records."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict

from ddcore import plugin as dd
from ddcore_federated.payload import Encoding, Limits, PayloadRefused, packed, unpacked
from ddcore_federated.shared import Shared

SET, SAID, CLIENT = "synthetic", "said", "client"
"""The records of a reply: a set's arrays, what is said of it, and which client sent it."""


def signed(number: int) -> ConfigRecord:
    """What tells which client a message is of."""
    return ConfigRecord({"partition-id": number})


def signer(message: Message) -> int:
    """The number of the client that ``message`` says it is of, -1 where it says none."""
    record = None if message.has_error() else message.content.get(CLIENT)
    number = record.get("partition-id") if isinstance(record, ConfigRecord) else None
    return number if type(number) is int and number >= 0 else -1


def arrays_of(params: dd.Params) -> ArrayRecord:
    """Weights as a record, float32."""
    return ArrayRecord({name: Array(value.detach().cpu().float().numpy()) for name, value in params.items()})


def params_of(record: ArrayRecord, like: dd.Params | None = None) -> dd.Params:
    """The weights in ``record``, which must have the names and shapes of ``like`` where that is given.

    Raises:
        RecipeRefused: they have not, or are not finite, or there are none.
    """
    if not record:
        raise dd.RecipeRefused("There are no weights here: no round had an effect, and the log says why.")
    if like is None:
        like = {name: torch.from_numpy(array.numpy()) for name, array in record.items()}
    if record.keys() != like.keys():
        strange = sorted(record.keys() ^ like.keys())[0]
        raise dd.RecipeRefused(f"These weights are not of this network: {strange} stands in one of them only.")
    params = {}
    for name, value in like.items():
        array = record[name].numpy()
        if array.shape != tuple(value.shape) or array.dtype.kind != "f":
            raise dd.RecipeRefused(
                f"These weights are not of this network: {name} is {array.dtype} {array.shape}, wanted are floats"
                f" {tuple(value.shape)}."
            )
        params[name] = torch.from_numpy(array.astype(np.float32))
        if not bool(params[name].isfinite().all()):
            raise dd.RecipeRefused(f"The weights {name} are not finite: the global model has diverged.")
    return params


def records_of(shared: Shared, encoding: Encoding) -> dict[str, ArrayRecord | ConfigRecord]:
    """A set as the records of a message."""
    arrays, said = packed(shared, encoding)
    return {SET: ArrayRecord({name: Array(array) for name, array in arrays.items()}), SAID: ConfigRecord(said)}


def shared_of(content: RecordDict, limits: Limits) -> Shared:
    """The set in a reply. Raises PayloadRefused where it cannot be used."""
    sets, said = content.get(SET), content.get(SAID)
    if not isinstance(sets, ArrayRecord) or not isinstance(said, ConfigRecord):
        raise PayloadRefused(f"it lacks the arrays {SET!r} or the config {SAID!r}")
    for name, array in sets.items():
        if array.stype != "numpy.ndarray":
            raise PayloadRefused(f"its {name[:50]} are serialised as {array.stype!r}, not as numpy.ndarray")
    return unpacked({name: array.data for name, array in sets.items()}, said, limits)


def count_bytes(content: Mapping[str, Any]) -> int:
    """Bytes of the records of a message, as Flower counts them."""
    return sum(record.count_bytes() for record in content.values())
