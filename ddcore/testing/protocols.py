"""What a protocol, or a preset that makes one, is held to."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import replace

from ddcore.data import RealData
from ddcore.evaluation.protocol import Protocol
from ddcore.experiment.evaluating import evaluate
from ddcore.host import Host
from ddcore.naming import labels
from ddcore.testing.base import Check
from ddcore.testing.contract import check_part
from ddcore.testing.shrinking import smaller
from ddcore.testing.trial import data_for, tiny_run


@Check
def check_protocol(
    given: Protocol | Callable[[], Protocol], *, data: RealData | None = None, host: Host | None = None
) -> Iterator[str]:
    """It keeps the contract of parts; a preset has a docstring and its marker; in a few steps it scores small networks
    by every measure of its own."""
    host = host or Host()
    if isinstance(given, Protocol):
        protocol, name = given, "the protocol"
    else:
        protocol, name = given(), given.__name__
        if not inspect.getdoc(given):
            yield f"{name} has no docstring: say what it is and whose numbers it has."
        if getattr(given, "kind", "") != "protocol":
            yield f"{name} is not marked: put @dd.preset(...) above it, with its papers."
    yield from check_part.faults(protocol, host.catalogue)
    data = data or data_for((*protocol.networks, *protocol.measures), host)
    adapted = host.kind(data.card.kind).adapted(protocol)
    networks = tuple(dict.fromkeys(map(smaller, adapted.networks)))
    short = replace(adapted, steps=2, epochs=None, repeats=2, lr=adapted.lr[:1], networks=networks, replay=False)
    short = replace(short.without_teacher(), batch=min(8, short.batch))
    scores = evaluate(tiny_run(method="random", data=data, host=host), data, short, host=host)
    if scores.keys() != {*labels(short.measures)}:
        yield f"{name} scores {', '.join(scores)}: each of its measures {', '.join(labels(short.measures))} must be."
